from __future__ import annotations

import json

from transferline.reporting.ablation_table import Ablation, ablation_table
from transferline.reporting.results_page import write_results_page

from ..evaluation.synthetic import record

ABLATION = Ablation(
    title="Choices",
    task="ttH",
    n_train=1000,
    reference="usual",
    variants={"other": "another choice", "later": "not yet run"},
)


def runs():
    """The other choice is worse by 0.02 frozen, and fine-tuned better by 0.01 in its one seed."""
    made = []
    for name, mode, seeds, auc in (
        ("usual", "frozen", (0, 1), 0.80),
        ("other", "frozen", (0, 1), 0.78),
        ("usual", "finetuned", (0, 1), 0.85),
        ("other", "finetuned", (0,), 0.86),
    ):
        extra = {"pretext": {"loss": 0.3, "accuracy": 0.9, "counting_types": 0.7}}
        for seed in seeds:
            for n_train, more in ((1000, 0.0), (3000, 0.05)):
                made.append(
                    record(mode, n_train, seed, auc=auc + more, pretraining=name, extra=extra)
                )
    return made


def test_variants_stand_beside_the_reference():
    table = ablation_table(ABLATION, runs())
    assert table.header[:5] == ("Variant", "Loss of its task", "Accuracy", "Counting", "Frozen")
    reference, other, later = table.rows
    assert reference[:5] == ("the reference", "0.3000", "0.9000", "0.7000", "0.8000 ± 0.0010 (2)")
    assert reference[5] == "–"
    assert other[0] == "another choice"
    assert other[5].startswith("-0.0200 ± ")
    assert other[6] == "0.8600 ± 0.0010 (1)"
    assert other[7].startswith("+0.0100 ± ") and other[7].endswith(" (one seed)")
    assert table.note.endswith("A single seed leaves the spread out.")
    assert later == ("not yet run", *["–"] * 7)


def test_what_was_not_run_at_all_is_left_open():
    table = ablation_table(ABLATION.model_copy(update={"task": "another"}), runs())
    assert [row[4] for row in table.rows] == ["–"] * 3


def test_a_results_page_holds_the_table(tmp_path):
    lines = [one.model_dump_json() for one in runs()]
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "claims.yaml").write_text(
        """claims:
  - {kind: beats_scratch, text: t, task: ttH, line: {mode: frozen}, n_train: 1000}
ablations:
  - {title: Choices, task: ttH, n_train: 1000, reference: usual, variants: {other: another choice}}
"""
    )
    page = write_results_page(tmp_path, tmp_path / "toy.md", "Toy", tmp_path / "claims.yaml")
    text = page.read_text()
    assert text.index("## Claims") < text.index("## Choices of a pre-training")
    assert "| another choice | 0.3000 |" in text


def of_two_settings(mode, name):
    """Two seeds that have no mean."""
    one, two = (record(mode, 1000, seed, pretraining=name) for seed in (0, 1))
    changed = two.hashes.model_copy(update={"config": "07e4"})
    return [one, two.model_copy(update={"hashes": changed})]


def test_only_what_the_table_compares_can_spoil_it(tmp_path):
    others = of_two_settings("trees", "none")
    assert ablation_table(ABLATION, [*runs(), *others]) == ablation_table(ABLATION, runs())
    pretext = {"pretext": {"loss": 9.0, "accuracy": 0.1, "counting_types": 0.2}}
    for elsewhere in ({"study": "wider"}, {"task": "tb"}):  # whose pre-trainings bear the names
        more = [record("frozen", 3000, pretraining=name, extra=pretext, **elsewhere)
                for name in ("usual", "other")]  # fmt: skip
        for mixed in ([*runs(), *more], [*more, *runs()]):
            assert ablation_table(ABLATION, mixed) == ablation_table(ABLATION, runs())
    lines = [one.model_dump_json() for one in [*runs(), *of_two_settings("frozen", "later")]]
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    claims = {"notes": ["One choice was not run alike."], "ablations": [ABLATION.model_dump()]}
    (tmp_path / "claims.yaml").write_text(json.dumps(claims))
    page = write_results_page(tmp_path, tmp_path / "toy.md", "Toy", tmp_path / "claims.yaml")
    assert "No table of Choices: the seeds 0, 1 of task 'ttH'" in page.read_text()
