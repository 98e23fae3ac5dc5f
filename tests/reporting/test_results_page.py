from __future__ import annotations

import pytest

from transferline.errors import DataError
from transferline.evaluation.learning_curve import learning_curve
from transferline.evaluation.records import append
from transferline.reporting.checks import warnings_about
from transferline.reporting.claims import FAILS, HOLDS, OPEN
from transferline.reporting.result_tables import difference_table, gap_table
from transferline.reporting.results_page import find_records, write_results_page
from transferline.reporting.table import Table

from ..evaluation.synthetic import curve, log_line, record

SIZES = (300, 1000, 3000)


def records():
    made = []
    for mode, worth in (("scratch", 1), ("finetuned", 3), ("trees", 0.5)):
        made += curve(mode, SIZES, range(5), lambda n, worth=worth: log_line(n, worth))
    return made


@pytest.fixture
def committed(tmp_path):
    folder = tmp_path / "records"
    for number, made in enumerate(records()):
        append(folder / ("one.jsonl" if number % 2 else "two.jsonl"), made)
    return folder


def test_the_page_is_built_from_the_records_and_the_same_every_time(committed, tmp_path):
    pages = [
        write_results_page(committed, tmp_path / name / "toy.md", "Toy study")
        for name in ("a", "b")
    ]
    text = pages[0].read_text()
    assert text.replace("a/toy.md", "") == pages[1].read_text().replace("b/toy.md", "")
    pictures = [page.with_name("toy-toy-ttH-learning-curve.png") for page in pages]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert f"]({pictures[0].name})" in text
    assert "Records (45, in" in text
    for line in learning_curve(records()):
        for point in line.points:
            assert f"{point.measurement} (5)" in text
    for words in ("Data-efficiency factor", "Difference to scratch", "Cost", "upper bound"):
        assert words in text


def test_what_a_reader_must_know_stands_before_the_verdicts(committed, tmp_path):
    claims = tmp_path / "claims.yaml"
    claims.write_text("""
notes: [The taus were wrong.]
names: {masked_type: Hidden types of objects}
claims:
  - {kind: beats_scratch, text: tuned wins, task: ttH, line: {mode: finetuned}, n_train: 300}
""")
    text = write_results_page(committed, tmp_path / "toy.md", "Toy", claims).read_text()
    places = [text.index(words) for words in (
        "- The taus were wrong.", "- masked type: Hidden types of objects", "## Claims",
        "A line of a pre-training has one pre-training",
    )]  # fmt: skip
    assert places == sorted(places)


def test_the_page_names_its_command_but_no_machine(committed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = write_results_page(committed, tmp_path / "docs" / "toy.md", "Toy").read_text()
    assert "transferline report records --markdown docs/toy.md --title Toy" in text
    assert "`records/one.jsonl`, `records/two.jsonl`" in text
    assert str(tmp_path) not in text


def test_claims_are_judged_by_the_records(committed, tmp_path):
    (tmp_path / "claims.yaml").write_text(
        """
claims:
  - {kind: beats_scratch, text: tuned wins, task: ttH, line: {mode: finetuned}, n_train: 300}
  - {kind: beats_scratch, text: trees win, task: ttH, line: {mode: trees}, n_train: 300}
  - {kind: beats_scratch, text: tuned at 77, task: ttH, line: {mode: finetuned}, n_train: 77}
  - {kind: beats_scratch, text: unknown mode, task: ttH, line: {mode: frozen}, n_train: 300}
  - kind: better_than
    text: tuned beats trees
    task: ttH
    line: {mode: finetuned}
    other: {mode: trees}
    n_train: 300
  - &gap
    {kind: closes_gap, text: closes 30 %, task: ttH, line: {mode: finetuned}, n_low: 300,
     n_high: 3000, share: 0.3}
  - {<<: *gap, text: closes 40 %, share: 0.4}
  - {<<: *gap, text: closes 70 %, share: 0.7}
  - &many
    {kind: beats_scratch, text: many, tasks: [ttH, tb], line: {mode: finetuned}, n_train: 300}
  - {<<: *many, text: one of them, tasks: [ttH]}
  - {<<: *many, text: another line, tasks: [tb], line: {mode: trees}}
  - {<<: *many, text: another line, tasks: [ttH], line: {mode: trees}}
  - {<<: *many, text: another line, tasks: [ttH]}
  - {kind: beats_scratch, text: many, task: ttH, line: {mode: finetuned}, n_train: 300}
"""
    )
    text = write_results_page(
        committed, tmp_path / "toy.md", "Toy", tmp_path / "claims.yaml"
    ).read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = {line.split(" | ")[0][2:]: line for line in reversed(lines)}
    assert f"| {HOLDS} |" in rows["tuned wins"]
    assert f"| {FAILS} |" in rows["trees win"]
    assert f"| {OPEN} |" in rows["tuned at 77"]
    assert f"| {HOLDS} |" in rows["tuned beats trees"]
    assert "0 lines are in mode 'frozen'" in rows["unknown mode"]
    # What names a single task stays by itself, whatever its words.
    assert [f"| {HOLDS} |" in line for line in lines if line.startswith("| many |")] == [
        True,
        False,
    ]
    assert f"| {HOLDS} |" in rows["closes 30 %"]
    assert "0.477 ± 0.06" in rows["closes 40 %"]  # log10(3) of one decade
    assert f"| {OPEN} |" in rows["closes 40 %"]
    assert f"| {FAILS} |" in rows["closes 70 %"]
    assert f"| {HOLDS} |" in rows["one of them: ttH"]
    assert "some are chance" in text
    assert "| Claim | ttH | tb |" in text and f"✓ {HOLDS}, ✗ {FAILS}, ? {OPEN}" in text
    together = {"many": [line for line in lines if line.startswith("| many |")][1]}
    together["another line"] = rows["another line"]
    by_task = {name: line.split(" | ")[1:] for name, line in together.items()}
    assert [cell[0] for cells in by_task.values() for cell in cells] == ["✓", "?", "✗", "?"]
    assert "no Records of the task 'tb'" in by_task["many"][1]
    assert [line.split(" | ")[1][0] for line in lines if "| another line |" in line] == ["✗", "✓"]
    counted = {
        outcome: text.count(f"| {outcome} |") + text.count(f"| {sign} ")
        for outcome, sign in ((HOLDS, "✓"), (FAILS, "✗"), (OPEN, "?"))
    }
    said = ", ".join(f"{outcome}: {number}" for outcome, number in counted.items())
    assert f"Verdicts ({sum(counted.values())}): {said}." in text


def test_several_tasks_have_their_own_parts(tmp_path):
    for task in ("ttH", "H+tb"):
        for n_train in (100, 300):
            append(tmp_path / "r.jsonl", record("scratch", n_train, task=task))
    text = write_results_page(tmp_path / "r.jsonl", tmp_path / "toy.md", "Toy").read_text()
    assert "## ttH (toy)" in text
    assert "## H+tb (toy)" in text
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_tasks_that_differ_in_a_sign_have_their_own_pictures(tmp_path):
    for task in ("charge +1", "charge -1", "ttH"):
        for n_train in (100, 300):
            append(tmp_path / "r.jsonl", record("scratch", n_train, task=task))
    text = write_results_page(tmp_path / "r.jsonl", tmp_path / "toy.md", "Toy").read_text()
    pictures = sorted(place.name for place in tmp_path.glob("*.png"))
    assert pictures[-1] == "toy-toy-ttH-learning-curve.png"  # nothing is added where nobody asks
    assert len(pictures) == 3
    assert all(text.count(name) == 1 for name in pictures)
    names = {name.removeprefix("toy-toy-charge--1-")[6:] for name in pictures[:2]}
    assert names == {"-learning-curve.png"}


def test_of_a_study_directory_only_the_records_are_read(tmp_path):
    append(tmp_path / "study" / "records.jsonl", record())
    (tmp_path / "study" / "runs").mkdir()
    (tmp_path / "study" / "runs" / "metrics.jsonl").write_text('{"step": 1}\n')
    page = write_results_page([tmp_path / "study"], tmp_path / "toy.md", "Toy")
    assert "Records (1, in" in page.read_text()


def test_no_records_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.jsonl").touch()
    for source in ("empty", "absent.jsonl", "none.jsonl"):
        with pytest.raises(DataError, match=source):
            write_results_page(tmp_path / source, tmp_path / "toy.md", "Toy")


def test_warnings_name_what_a_reader_must_know():
    found = [
        record("finetuned", seed=0, commit="abc", hashes=_hashes("finetuned", "d1")),
        record("finetuned", seed=1, commit="def+", hashes=_hashes("finetuned", "d2")),
        record("frozen", seed=0, commit="abc", hashes=_hashes("frozen", "d1")),
    ]
    text = " ".join(warnings_about(found, learning_curve(found)))
    for words in (
        "1 seed instead of at least 5: frozen (masked_type) at 300. The spread is unknown.",
        "2 seeds instead",
        "No training from scratch",
        "No boosted trees",
        "2 commits: abc, def+",
        "uncommitted",
        "different data: d1, d2",
    ):
        assert words in text, words
    assert warnings_about(records(), learning_curve(records())) == []


def _hashes(mode, data):
    return record(mode).hashes.model_copy(update={"data": data})


def test_table_cells_are_escaped():
    table = Table("a < b", ("x", "y|z"), (("<i>", "1|2"),), "note & more")
    assert "<i>" not in table.html()
    assert "&lt;i&gt;" in table.html()
    assert r"| <i> | 1\|2 |" in table.markdown()


def test_a_page_names_lines_whose_rates_end_too_early(tmp_path):
    chosen = {"lr": 1e-3, "grid": [{"lr": 1e-4}, {"lr": 1e-3}]}
    for seed in (0, 1):
        made = record(n_train=100, seed=seed).model_copy(update={"extra": chosen})
        append(tmp_path / "r.jsonl", made)
    text = write_results_page(tmp_path / "r.jsonl", tmp_path / "toy.md", "Toy").read_text()
    assert "the highest was taken by" in text


def test_the_page_tells_in_what_precision_networks_were_trained(tmp_path):
    made = records()
    assert "trained in" not in page_of(made, tmp_path / "old")
    mixed = [
        one.model_copy(update={"extra": {"precision": "bfloat16" if i % 3 else "float32"}})
        for i, one in enumerate(made)
    ]
    assert "- networks trained in bfloat16 (30 runs), float32 (15 runs)" in page_of(
        mixed, tmp_path / "new"
    )


def page_of(made, folder):
    for one in made:
        append(folder / "records.jsonl", one)
    return write_results_page(folder, folder / "toy.md", "Toy").read_text()


def test_a_directory_means_its_records_and_not_what_a_study_set_aside(tmp_path):
    for name in ("records.jsonl", "records.superseded.jsonl"):
        append(tmp_path / "study" / name, record())
    append(tmp_path / "loose" / "one.jsonl", record())
    assert find_records([tmp_path]) == [tmp_path / "study" / "records.jsonl"]
    assert find_records([tmp_path / "loose"]) == [tmp_path / "loose" / "one.jsonl"]


def test_the_table_of_differences_says_how_often_chance_does_it_and_not_of_one_seed():
    made = [record("scratch", n, seed, auc=0.8) for n in (100, 300) for seed in (0, 1)]
    made += [record("finetuned", 100, 0, auc=0.82), record("finetuned", 300, 0, auc=0.82)]
    made.append(record("finetuned", 300, 1, auc=0.85))
    table = difference_table(learning_curve(made))
    assert [row[1].partition(" (")[2] for row in table.rows] == ["one seed)", "p = 0.26)"]
    assert "A single seed leaves the spread out." in table.note


def test_the_table_of_gaps_says_how_far_each_scratch_line_goes():
    made = []
    for name, sizes in (("a", (100, 1000)), ("b", (100, 1000, 10000))):
        made += curve("scratch", sizes, range(2), log_line, pretraining=name)
        extra = {"scratch": name}
        tuned = curve("finetuned", sizes, range(2), lambda n: log_line(n, 3), pretraining=name)
        made += [one.model_copy(update={"extra": extra}) for one in tuned]
    table = gap_table(learning_curve(made))
    assert [name.rpartition(" (")[2] for name in table.header[1:]] == ["to 1000)", "to 10000)"]
    assert table.title.endswith("to the largest")
    alone = gap_table(learning_curve([one for one in made if one.pretraining == "a"]))
    assert alone.title.endswith("to 1000 labelled events")
