from __future__ import annotations

import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from transferline.config import load_config
from transferline.errors import ConfigError, DataError, NumericalError
from transferline.evaluation import records
from transferline.evaluation.learning_curve import learning_curve, scratch_for
from transferline.files import alone_in
from transferline.learning import study_pretraining, study_runs
from transferline.learning.pretraining import pretrain
from transferline.learning.study import StudyIncompleteError, _Site, study
from transferline.learning.study_config import Only, StudyConfig
from transferline.learning.study_plan import plan_lines
from transferline.learning.study_records import keep_current
from transferline.learning.training import StopRequestedError
from transferline.models.checkpoint import Checkpoint
from transferline.reporting.claims import Claims

from .event_shards import write_shards

TASK = """\
task: {kind: event_classification, name: toy, signal: [signal], background: [background]}"""
STUDIES = Path(__file__).parents[2] / "studies"

YAML = """\
name: tiny
title: A tiny study
scale: smoke
samples:
  signal: {{shards: {signal}, label: hard}}
  background: {{shards: {background}}}
  free: {{shards: {free}}}
pretrain:
  one: &variant
    samples: [free]
    backbone: {{kind: transformer, width: 16, depth: 1, heads: 2}}
    objective: {{kind: masked_type}}
    optim: {{steps: 10, batch_size: 64}}
  two:
    <<: *variant
    objective: {{kind: replaced_object}}
task: {{kind: event_classification, name: toy, signal: [signal], background: [background]}}
grid: {{modes: [scratch, frozen, finetuned, trees], n_train: [80, 120], seeds: 1}}
scratch: &network {{lr: [1e-2], optim: {{steps: 10, batch_size: 64}}}}
frozen: *network
finetuned: *network
trees: {{leaves: [4], rounds: 10}}
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return {
        "signal": write_shards(folder, 500, seed=1, hardness=1.6),
        "background": write_shards(folder, 500, seed=2),
        "free": write_shards(folder, 300, seed=3),
    }


@pytest.fixture(scope="module")
def few_events(tmp_path_factory):
    """Stand-ins for the published scale, whose networks take long to score an event."""
    folder = tmp_path_factory.mktemp("few")
    return {
        "signal": write_shards(folder, 140, seed=1, hardness=1.6),
        "background": write_shards(folder, 140, seed=2),
        "free": write_shards(folder, 140, seed=3),
    }


@pytest.fixture(scope="module")
def config(places, tmp_path_factory):
    return parse(places, tmp_path_factory.mktemp("yaml"))


def parse(places, folder, old="", new="", assignments=()) -> StudyConfig:
    file = folder / "tiny.yaml"
    text = YAML.format(**places)
    assert old in text
    file.write_text(text.replace(old, new))
    return load_config(file, StudyConfig, assignments)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    return study(config, tmp_path_factory.mktemp("finished") / "out")


def test_scratch_is_run_once_per_architecture_and_settings(places, tmp_path):
    """Variants of one architecture share it, and their Records say with which line to compare."""
    old = "task: {kind"
    new = """  wide:
    <<: *variant
    backbone: {kind: transformer, width: 24, depth: 1, heads: 2}
    scratch: {lr: [3e-3], optim: {steps: 12, batch_size: 64}}
  gnn:
    <<: *variant
    backbone: {kind: gnn, width: 16, depth: 1}
task: {kind"""
    modes = "grid.modes=[scratch, frozen, fixed]"
    fixed = "fixed={lr: [1e-2], optim: {steps: 10, batch_size: 64}}"
    smaller = ["grid.n_train=[80]", modes, fixed]
    config = parse(places, tmp_path, old, new, smaller)
    found = records.read(study(config, tmp_path / "out") / "records.jsonl")
    lines = {(r.mode, r.pretraining): r for r in found}
    assert set(lines) == {
        *(("scratch", name) for name in ("one", "wide", "gnn")),
        *(("frozen", name) for name in ("one", "two", "wide", "gnn")),
        ("fixed", "gnn"),
    }
    assert lines["scratch", "wide"].extra["lr"] == 3e-3
    compared = {name: lines["frozen", name].extra["scratch"] for name in ("one", "two", "wide")}
    assert compared == {"one": "one", "two": "one", "wide": "wide"}
    curves = learning_curve(found)
    for line in curves:
        if line.mode != "scratch":
            scratch = scratch_for(line, curves)
            assert scratch is not None
            assert scratch.pretraining == line.points[0].records[0].extra["scratch"]


def test_several_questions_share_the_backbones(places, tmp_path):
    old = (
        "task: {kind: event_classification, name: toy, signal: [signal], background: [background]}"
    )
    new = """tasks:
  - {kind: event_classification, name: toy, signal: [signal], background: [background]}
  - {kind: event_classification, name: reverse, signal: [background], background: [signal]}"""
    config = parse(
        places, tmp_path, old, new, ["grid.n_train=[80]", "grid.modes=[scratch, frozen]"]
    )
    out = study(config, tmp_path / "out")
    found = records.read(out / "records.jsonl")
    assert {(r.task, r.mode, r.pretraining) for r in found} == {
        (task, *rest)
        for task in ("toy", "reverse")
        for rest in (("scratch", "none"), ("frozen", "one"), ("frozen", "two"))
    }
    assert len({r.hashes.loaded for r in found if r.mode == "frozen"}) == 2
    shorter = parse(places, tmp_path, old, new, ["grid.n_train=[80]", "grid.largest={toy: 79}"])
    assert {task: shorter.grid.sizes(task) for task in ("toy", "reverse")} == {
        "toy": [],
        "reverse": [80],
    }
    with pytest.raises(ConfigError, match=r"no task 'tou'\. Did you mean 'toy'"):
        parse(places, tmp_path, old, new, ["grid.largest={tou: 79}"])
    again = study(config, tmp_path / "again", tasks=["rev"])
    assert {r.task for r in records.read(again / "records.jsonl")} == {"reverse"}
    study(config, tmp_path / "again", tasks=["toy"])  # leaves the other's Records alone
    keys = [{r.key() for r in records.read(place / "records.jsonl")} for place in (out, again)]
    assert keys[0] == keys[1]
    with pytest.raises(ConfigError, match="--task 'x': is no task"):
        config.only(["x"])
    with pytest.raises(ConfigError, match="name 'toy' stands twice"):
        parse(places, tmp_path, old, new.replace("reverse", "toy"))
    with pytest.raises(ConfigError, match="needs either `task`, or `tasks`"):
        parse(places, tmp_path, old, "")


def lines(out: Path) -> list[str]:
    return (out / "records.jsonl").read_text().splitlines()


def cells(out: Path) -> list[tuple[str, str, int]]:
    return [(r.mode, r.pretraining, r.n_train) for r in records.read(out / "records.jsonl")]


def with_pretrainings(out: Path, finished: Path) -> Path:
    """A new study directory that has the pre-trainings of a finished one."""
    (out / "pretrain").mkdir(parents=True)
    for name in ("one", "two"):
        (out / "pretrain" / name).symlink_to(finished / "pretrain" / name)
    return out


def test_a_study_runs_every_cell_once_and_leaves_what_the_report_reads(finished):
    variants = [("scratch", "none"), ("trees", "none")]
    variants += [(m, v) for m in ("frozen", "finetuned") for v in ("one", "two")]
    assert sorted(cells(finished)) == sorted((*v, n) for v in variants for n in (80, 120))
    for record in records.read(finished / "records.jsonl"):
        assert (finished / "runs" / record.key() / "scores.npz").exists()
        objective = {"none": "none", "one": "masked_type", "two": "replaced_object"}
        assert record.objective == objective[record.pretraining]
    assert json.loads((finished / "study.json").read_text())["name"] == "tiny"
    samples = json.loads((finished / "samples.json").read_text())
    assert [s["name"] for s in samples] == ["signal", "background", "free"]
    assert samples[0]["label"] == "hard" and samples[0]["card"]["cutflow"]
    for name in ("one", "two"):
        assert (finished / "pretrain" / name / "metrics.jsonl").exists()
        assert Checkpoint.load(finished / "pretrain" / name).provenance["n_train"] > 0


def test_all_runs_were_measured_on_the_same_test_set(finished):
    found = {r.replicas.test_set for r in records.read(finished / "records.jsonl")}
    assert len(found) == 1


def test_a_finished_study_is_left_alone_and_a_lost_record_is_made_again(finished, config, capsys):
    before = lines(finished)
    study(config, finished)
    assert lines(finished) == before
    lost = before.pop(3)
    (finished / "records.jsonl").write_text("\n".join(before) + "\n")
    study(config, finished)
    printed = capsys.readouterr().err
    assert "in all 1 runs" in printed
    assert ("each process: loader: at most" in printed) == (
        json.loads(lost)["mode"] in {"scratch", "finetuned"}
    )
    after = lines(finished)
    assert after[:-1] == before
    old, new = json.loads(lost), json.loads(after[-1])
    for name in ("metrics", "hashes", "mode", "n_train", "extra"):
        assert old[name] == new[name]


def test_keys_do_not_depend_on_where_things_stand(config, finished, places, tmp_path):
    moved = {}
    for name, place in places.items():
        moved[name] = tmp_path / "elsewhere" / name
        moved[name].parent.mkdir(exist_ok=True)
        moved[name].symlink_to(place)
    other = with_pretrainings(tmp_path / "out", finished)
    (other / "records.jsonl").write_text("\n".join(lines(finished)) + "\n")
    study(parse(moved, tmp_path), other)
    assert len(lines(other)) == len(lines(finished))


def test_changed_settings_are_other_runs_and_old_records_step_aside(
    finished, config, places, tmp_path, capsys
):
    out = with_pretrainings(tmp_path / "out", finished)
    before = lines(finished)
    (out / "records.jsonl").write_text("\n".join(before) + "\n")
    changed = parse(places, tmp_path, "trees: {leaves: [4]", "trees: {leaves: [5]")
    study(changed, out)
    trees = [("trees", "none", 80), ("trees", "none", 120)]
    assert cells(out)[10:] == trees
    assert len(learning_curve(records.read(out / "records.jsonl"))) == 6
    old = out / "records.superseded.jsonl"
    assert old.read_text().splitlines() == [x for x in before if '"mode":"trees"' in x]

    # Back to the first settings, nothing is done again, and nothing is lost.
    study(config, out)
    assert "12 of 12 runs are finished" in capsys.readouterr().err
    assert sorted(lines(out)) == sorted(before)
    assert [r.extra["leaves"] for r in records.read(old)] == [5, 5]


def test_a_smaller_grid_leaves_out_what_is_not_asked_for(finished, places, tmp_path):
    out = with_pretrainings(tmp_path / "out", finished)
    (out / "records.jsonl").write_text("\n".join(lines(finished)) + "\n")
    study(parse(places, tmp_path, assignments=["grid.n_train=[80]", "grid.modes=[trees]"]), out)
    assert cells(out) == [("trees", "none", 80)]
    assert len(records.read(out / "records.superseded.jsonl")) == 11


def test_a_part_of_the_grid_for_one_pretraining(finished, places, tmp_path):
    """Scratch, which both are compared with, is done where either wants it."""
    out = with_pretrainings(tmp_path / "out", finished)
    part = "pretrain.two.only={largest: 80, modes: [scratch, frozen]}"
    config = parse(places, tmp_path, assignments=[part, "grid.modes=[scratch, frozen, trees]"])
    found = {
        (r.mode, r.pretraining, r.n_train)
        for r in records.read(study(config, out) / "records.jsonl")
    }
    whole = {("scratch", "none"), ("frozen", "one"), ("trees", "none")}
    assert found == {*((*line, n) for line in whole for n in (80, 120)), ("frozen", "two", 80)}
    table = [line.split()[:3] for line in plan_lines(config)]
    assert ["frozen", "80", "2"] in table and ["frozen", "120", "1"] in table
    one, two = (Only(seeds=seeds) for seeds in (1, None))
    assert [one.holds("scratch", 80, seed) for seed in (0, 1)] == [True, False]
    assert two.holds("scratch", 80, 7)
    [name] = [task.name for task in config.questions()]
    trees = f'grid.only={{"{name}": {{modes: [trees]}}}}'
    less = parse(places, tmp_path, assignments=[trees, "grid.modes=[scratch, trees]"])
    assert less.wants(name, "trees", [], 80, 0)
    assert not less.wants(name, "scratch", ["one"], 80, 0)
    with pytest.raises(ConfigError, match=r"pretrain\.two\.only: no task 'x'"):
        parse(places, tmp_path, assignments=["pretrain.two.only={tasks: [x]}"])
    with pytest.raises(ConfigError, match=r"pretrain\.two\.only: grid\.modes does not name trees"):
        parse(
            places,
            tmp_path,
            assignments=["pretrain.two.only={modes: [trees]}", "grid.modes=[frozen]"],
        )
    for part in ("{modes: [fixed]}", "{sizes: {fixed: [80]}}"):
        with pytest.raises(ConfigError, match=r"grid\.only: .*grid\.modes does not name fixed"):
            parse(places, tmp_path, assignments=[f'grid.only={{"{name}": {part}}}'])


@pytest.mark.parametrize("setting", ["n_train: 5", "seed: 7", "features: {particles: [log_pt]}"])
def test_a_checkpoint_takes_no_settings_of_a_pretraining(places, tmp_path, setting):
    with pytest.raises(ConfigError, match="checkpoint stands beside " + setting.split(":")[0]):
        parse(places, tmp_path, assignments=[f"pretrain.three={{checkpoint: shipped, {setting}}}"])


def test_no_pretraining_has_the_name_of_runs_without_one(places, tmp_path):
    with pytest.raises(ConfigError, match="none: that name means runs without a pre-training"):
        parse(places, tmp_path, assignments=["pretrain.none={checkpoint: shipped}"])


def test_a_pretraining_on_fewer_events_is_compared_with_the_scratch_of_another(places, tmp_path):
    """Their inputs are scaled by other constants, so that each would have a scratch of its own."""
    part = "pretrain.two={n_train: 150, only: {modes: [finetuned], scratch: one}}"
    few = ["grid.modes=[scratch, finetuned]", "grid.n_train=[80]"]
    config = parse(places, tmp_path, assignments=[part, *few])
    found = records.read(study(config, tmp_path / "out") / "records.jsonl")
    assert sorted((r.mode, r.pretraining) for r in found) == [
        ("finetuned", "one"),
        ("finetuned", "two"),
        ("scratch", "none"),  # there is one line only
    ]
    assert {r.extra["scratch"] for r in found if r.mode == "finetuned"} == {"none"}
    other = "pretrain.two.backbone={kind: transformer, width: 8, depth: 1, heads: 1}"
    with pytest.raises(ConfigError, match=r"two\.only\.scratch: 'one' has another network"):
        study(parse(places, tmp_path, assignments=[part, other, *few]), tmp_path / "other")
    with pytest.raises(ConfigError, match=r"two\.only\.scratch: no pre-training 'onne'.*'one'"):
        parse(places, tmp_path, assignments=["pretrain.two.only={scratch: onne}"])
    with pytest.raises(ConfigError, match="'two' has no scratch runs of its own"):
        parse(places, tmp_path, assignments=["pretrain.two.only={scratch: two}"])


AGAIN = """  again:
    <<: *variant
    finetuned: {lr: [1e-2], head_first: {steps: 5}, optim: {steps: 10, batch_size: 64}}
task: {kind"""


def test_scratch_is_run_for_a_task_that_its_own_pretraining_is_not_used_for(places, tmp_path):
    old, new = (
        TASK,
        "tasks:\n"
        + "".join(
            f"  - {{kind: event_classification, name: {name}, signal: [{a}], background: [{b}]}}\n"
            for name, a, b in (("a", "signal", "background"), ("b", "background", "signal"))
        ),
    )
    few = ["grid.modes=[scratch, frozen]", "grid.n_train=[80]", "pretrain.one.only={tasks: [a]}"]
    part = "pretrain.two.only={tasks: [b], scratch: one}"
    config = parse(places, tmp_path, old, new, [*few, part])
    found = records.read(study(config, tmp_path / "out") / "records.jsonl")
    assert {(r.task, r.mode, r.pretraining) for r in found} == {
        ("a", "scratch", "none"),
        ("b", "scratch", "none"),
        ("a", "frozen", "one"),
        ("b", "frozen", "two"),
    }
    assert plan_lines(config)[-1].startswith("at most 4 runs")
    # Where both are used for a task, they share its runs: in the plan as in the grid.
    shared = parse(places, tmp_path, old, new, [*few[:2], "pretrain.two.only={scratch: one}"])
    assert plan_lines(shared)[-1].startswith("at most 6 runs")


def test_two_adaptations_of_one_pretraining_share_it(places, tmp_path, monkeypatch):
    made = []

    def counted(config, out, **more):
        made.append(out.name)
        return pretrain(config, out, **more)

    monkeypatch.setattr(study_pretraining, "pretrain", counted)
    narrow = ["pretrain.one.only={modes: [finetuned]}", "grid.modes=[frozen, finetuned]"]
    words = ["grid.n_train=[80]", *narrow]
    config = parse(places, tmp_path, "task: {kind", AGAIN, words)
    out = study(config, tmp_path / "out")
    assert made == ["one", "two"]
    one, again = (Checkpoint.load(out / "pretrain" / name) for name in ("one", "again"))
    assert again.backbone_hash() == one.backbone_hash()
    found = [(mode, name) for mode, name, _ in cells(out)]
    assert sorted(found) == [
        ("finetuned", "again"),
        ("finetuned", "one"),
        ("finetuned", "two"),
        ("frozen", "one"),  # wanted by its twin alone, and the same run
        ("frozen", "two"),
    ]


def test_a_pretraining_that_is_finished_is_copied_whatever_the_order(
    places, tmp_path, finished, monkeypatch
):
    one = "samples: [free], backbone: {kind: transformer, width: 16, depth: 1, heads: 2}, "
    one += "objective: {kind: masked_type}, optim: {steps: 10, batch_size: 64}"
    words = ["grid.n_train=[80]", f"pretrain.one={{{one}}}"]
    config = parse(places, tmp_path, "  one: &variant", "  again: &variant", words)
    assert list(config.pretrain) == ["again", "two", "one"]
    out = with_pretrainings(tmp_path / "out", finished)
    half = out / "pretrain" / ".again.0123.partial"  # as a kill leaves it
    half.mkdir()
    monkeypatch.setattr(study_pretraining, "pretrain", None)
    study(config, out)
    assert (out / "pretrain/again/config.json").is_file()
    assert not half.exists()


def test_a_kill_between_the_two_files_of_records_loses_none(finished, tmp_path, monkeypatch):
    (tmp_path / "records.jsonl").write_text("\n".join(lines(finished)) + "\n")
    keys = [r.key() for r in records.read(tmp_path / "records.jsonl")]
    genuine, calls = records.write, []

    def killed(file, found):
        calls.append(file)
        if len(calls) == 2:
            raise KeyboardInterrupt
        genuine(file, found)

    monkeypatch.setattr(records, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        keep_current(tmp_path, dict.fromkeys(keys[:5]))
    assert keep_current(tmp_path, dict.fromkeys(keys[3:])) == set(keys[3:])
    assert [r.key() for r in records.read(tmp_path / "records.superseded.jsonl")] == keys[:3]
    assert keep_current(tmp_path, dict.fromkeys(keys)) == set(keys)
    assert sorted(lines(tmp_path)) == sorted(lines(finished))


def test_a_failing_run_is_reported_and_the_others_go_on(
    config, places, tmp_path, finished, monkeypatch
):
    out = with_pretrainings(tmp_path / "out", finished)
    trees = parse(places, tmp_path, assignments=["grid.modes=[trees]"])
    genuine = study_runs.transfer

    def failing(*rest, **named):
        if named["n_train"] == 120:
            raise NumericalError("the loss is not finite")
        return genuine(*rest, **named)

    monkeypatch.setattr(study_runs, "transfer", failing)
    with pytest.raises(
        StudyIncompleteError, match=r"1 of 2 runs failed(.|\n)*trees.none.120(.|\n)*not finite"
    ) as e:
        study(trees, out)
    assert e.value.exit_code != 0
    assert cells(out) == [("trees", "none", 80)]


def test_sizes_that_the_events_do_not_suffice_for_are_refused_first(places, tmp_path):
    """Before any training: generation may have taken hours, and the small runs would as well."""
    greedy = parse(places, tmp_path, assignments=["grid.n_train=[80, 100000]"])
    with pytest.raises(DataError, match=r"n_train = 100000(.|\n)*there are [0-9]+"):
        study(greedy, tmp_path / "out")
    assert not (tmp_path / "out" / "pretrain").exists()


def test_a_record_names_the_scratch_line_of_the_present_settings(finished, tmp_path):
    """Which variant comes first in a family depends on the settings of the others."""
    (tmp_path / "records.jsonl").write_text("\n".join(lines(finished)) + "\n")
    found = {r.key(): r for r in records.read(tmp_path / "records.jsonl")}
    moved = next(key for key, r in found.items() if r.mode == "frozen")
    keep_current(tmp_path, {**dict.fromkeys(found), moved: "two"})
    again = {r.key(): r for r in records.read(tmp_path / "records.jsonl")}
    assert set(again) == set(found)
    assert again[moved].extra["scratch"] == "two"
    assert {key for key in found if again[key] != found[key]} == {moved}


def test_scratch_runs_are_kept_when_their_line_is_named_anew(config, finished, places, tmp_path):
    """A second network gives the first one's line a name, which decides none of its numbers."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    old = "task: {kind"
    new = "  gnn:\n    <<: *variant\n    backbone: {kind: gnn, width: 8, depth: 1}\ntask: {kind"
    before = {r.key(): r for r in records.read(out / "records.jsonl") if r.mode == "scratch"}
    study(parse(places, tmp_path, old, new, ["grid.modes=[scratch]"]), out)
    now = [r for r in records.read(out / "records.jsonl") if r.pretraining == "one"]
    assert len(now) == len(before) > 0
    for record in now:
        [same] = [one for one in before.values() if one.n_train == record.n_train]
        assert record.metrics == same.metrics and record.time == same.time
        assert (out / "runs" / record.key() / "scores.npz").exists()
        assert not (out / "runs" / same.key()).exists()


def test_models_that_are_wanted_later_are_made_then(config, finished, places, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    wanted = ["keep_checkpoints=true", "grid.modes=[frozen, trees]", "grid.n_train=[80]"]
    again = parse(places, tmp_path, assignments=wanted)
    for _ in range(2):
        study(again, out)
        found = records.read(out / "records.jsonl")
        kept = [r.key() for r in found if (out / "runs" / r.key() / "checkpoint").exists()]
        assert sorted(r.mode for r in found) == ["frozen", "frozen", "trees"]
        assert len(kept) == 2


def test_only_the_tasks_of_a_pretraining_forbid_its_events(places, tmp_path):
    """Those that it began with are its own."""
    toy = TASK.removeprefix("task: ")
    other = toy.replace("name: toy", "name: other").replace("[background]", "[free]")
    two = f"tasks: [{toy}, {other}]"
    with pytest.raises(ConfigError, match="hold the same events"):
        parse(places, tmp_path, TASK, two)
    text = YAML.format(**places).replace(TASK, two)
    steps = "    optim: {steps: 10, batch_size: 64}"
    text = text.replace(steps, f"{steps}\n    only: {{tasks: [toy]}}")
    file = tmp_path / "parts.yaml"
    file.write_text(text)
    assert load_config(file, StudyConfig, ()).questions()[1].name == "other"
    begun = "\n  three: {<<: *variant, samples: [more], start: one, only: {tasks: [other]}}\ntasks:"
    text = text.replace("\ntasks:", begun).replace("samples:\n", "samples:\n  more: {shards: x}\n")
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"'free' .*same events"):
        load_config(file, StudyConfig, ())


def test_two_studies_do_not_work_in_one_directory(config, finished, tmp_path):
    out = with_pretrainings(tmp_path / "out", finished)
    with alone_in(out), pytest.raises(ConfigError, match="another process works there"):
        study(config, out)
    study(config, out)
    assert cells(out)


def test_a_call_that_is_refused_leaves_the_description_of_the_study(config, finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    before = (out / "study.json").read_text()
    with alone_in(out), pytest.raises(ConfigError, match="another process works there"):
        study(config.model_copy(update={"title": "second"}), out)
    with pytest.raises(ConfigError):
        study(config.model_copy(update={"title": "second"}), out, tasks=["no such task"])
    assert (out / "study.json").read_text() == before


def test_the_record_of_another_run_is_a_failure(config, finished, tmp_path):
    """As of a worker that has kept weights which were replaced since."""
    [first, other, *_] = records.read(finished / "records.jsonl")
    site, future = _Site(tmp_path, None, 1), Future()
    future.set_result(first.model_dump_json())
    asked = SimpleNamespace(key=other.key(), title="t", mode="trees", examples=lambda: 1)
    site._finish(asked, future, SimpleNamespace(advance=lambda n: None, note=lambda text: None))
    assert "a worker has kept what has been replaced" in site.failures[other.key()]
    assert not (tmp_path / "records.jsonl").exists()


def test_a_process_that_lives_long_reads_anew_what_was_replaced(config, places, finished, tmp_path):
    """As a notebook or a worker of Dask does; and what a wrong run left in the place is redone."""
    [task] = config.questions()
    task = task.located({name: Path(place) for name, place in places.items()})
    checkpoints = {name: finished / "pretrain" / name for name in config.pretrain}
    runs = study_runs.plan(config, task, task.load(), checkpoints)
    wanted = next(run for run in runs if run.mode == "frozen")
    other = study_runs.Checkpoint.load(wanted.checkpoint)
    wrong = {name: tensor + 1 for name, tensor in other.tensors.items()}
    study_runs._checkpoint.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        stale = replace(other, tensors=wrong)
        patch.setattr(study_runs.Checkpoint, "load", lambda _: stale)
        study_runs._checkpoint(wanted.checkpoint)
    place = tmp_path / "run"
    place.mkdir()
    foreign = next(r for r in records.read(finished / "records.jsonl") if r.mode == "trees")
    (place / "record.json").write_text(foreign.model_dump_json())
    made = study_runs.execute(wanted, place, tmp_path, None, None)
    assert json.loads(made)["hashes"]["config"] == wanted.config


def test_a_pretraining_of_which_nothing_is_noted_must_have_the_settings(places, finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished / "pretrain", out / "pretrain")
    (out / "pretrain" / "digests.json").unlink()
    steps = ["pretrain.one.optim.steps=7", "grid.modes=[trees]", "grid.n_train=[80]"]
    with pytest.raises(DataError, match="one: was made with other settings"):
        study(parse(places, tmp_path, assignments=steps), out)
    assert study(parse(places, tmp_path, assignments=steps[1:]), out) == out


def test_a_part_of_the_tasks_leaves_the_list_of_samples_whole(places, tmp_path):
    more = """tasks:
  - {kind: event_classification, name: toy, signal: [signal], background: [background]}
  - {kind: event_classification, name: other, signal: [extra], background: [background]}"""
    old = TASK
    smaller = ["grid.n_train=[80]", "grid.modes=[trees]", f"samples.extra.shards={places['free']}"]
    config = parse(places, tmp_path, old, more, [*smaller, "allow_overlap=true"])
    out = study(config, tmp_path / "out")
    study(config, out, tasks=["toy"])
    listed = {row["name"] for row in json.loads((out / "samples.json").read_text())}
    assert listed == {"signal", "background", "extra", "free"}


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*/*.yaml")), ids=str)
def test_every_study_that_ships_parses_and_plans(path):
    if path.stem.partition("_")[0] == "claims":
        found = load_config(path, Claims)
        assert found.claims or found.notes
        return
    config = load_config(path, StudyConfig)
    assert plan_lines(config)
    assert set(config.grid.largest) <= {task.name for task in config.questions()}


def test_the_published_scale_has_the_published_seeds():
    paper = load_config(STUDIES / "channel_transfer" / "paper.yaml", StudyConfig)
    assert paper.grid.fewer_seeds == {}  # an empty mapping clears what the base says
    assert [len(paper.grid.seeds_at(n)) for n in paper.grid.n_train] == [3] * 4
    assert all(paper.grid.sizes(t.name)[-1] == 1_000_000 for t in paper.questions())


def test_an_interrupt_keeps_finished_records(config, places, tmp_path, finished, monkeypatch):
    out = with_pretrainings(tmp_path / "out", finished)
    trees = parse(places, tmp_path, assignments=["grid.modes=[trees]", "grid.seeds=2"])
    genuine, calls = study_runs.transfer, []

    def interrupted(*rest, **named):
        calls.append(named["n_train"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return genuine(*rest, **named)

    monkeypatch.setattr(study_runs, "transfer", interrupted)
    with pytest.raises(StopRequestedError, match="2 finished runs are recorded"):
        study(trees, out)
    assert len(lines(out)) == 2
    study(trees, out)
    assert calls == [80, 80, 120, 120, 120]
    assert len(lines(out)) == 4


def test_processes_give_the_numbers_of_one_process(config, places, tmp_path, finished):
    out = with_pretrainings(tmp_path / "out", finished)
    few = parse(places, tmp_path, assignments=["grid.n_train=[80]", "grid.modes=[scratch, trees]"])
    study(few, out, jobs=2)
    known = {r.key(): r for r in records.read(finished / "records.jsonl")}
    for record in records.read(out / "records.jsonl"):
        assert record.metrics["auc"].value == pytest.approx(
            known[record.key()].metrics["auc"].value, abs=1e-6
        )


def test_threads_of_one_process_do_not_disturb_each_other(places, tmp_path):
    """Dropout draws from torch's random state, of which a process has one."""
    assignments = ["grid.n_train=[80]", "grid.modes=[scratch]", "grid.seeds=4"]
    config = parse(places, tmp_path, "heads: 2", "heads: 2, dropout: 0.3", assignments)
    one = study(config, tmp_path / "one")
    with ThreadPoolExecutor(4) as threads:
        several = study(config, tmp_path / "several", executor=threads)
    known, found = (
        {r.key(): (r.metrics, r.hashes) for r in records.read(out / "records.jsonl")}
        for out in (one, several)
    )
    assert len(known) == 4
    assert found == known


def test_an_existing_checkpoint_is_a_variant(config, places, tmp_path, finished):
    text = f"""  old: {{checkpoint: {finished / "pretrain" / "one"}}}\n"""
    given = parse(places, tmp_path, "task: {", text + "task: {", ["grid.modes=[frozen]"])
    only = given.model_copy(update={"pretrain": {"old": given.pretrain["old"]}})
    out = study(
        only.model_copy(update={"grid": only.grid.model_copy(update={"n_train": (80,)})}),
        tmp_path / "out",
    )
    (record,) = records.read(out / "records.jsonl")
    assert (record.pretraining, record.objective) == ("old", "masked_type")
    assert record.hashes.loaded == Checkpoint.load(finished / "pretrain" / "one").backbone_hash()


def test_a_checkpoint_of_equal_weights_and_another_recipe_is_another(places, tmp_path, finished):
    one = Checkpoint.load(finished / "pretrain" / "one")
    backbone = one.recipe.backbone.model_copy(update={"dropout": 0.25})
    twin = replace(one, recipe=one.recipe.model_copy(update={"backbone": backbone}))
    place = one.save(tmp_path / "checkpoint")
    text = f"""  old: {{checkpoint: {place}}}\n"""
    less = ["grid.modes=[trees]", "grid.n_train=[80]"]
    config = parse(places, tmp_path, "task: {", text + "task: {", less)
    config = config.model_copy(update={"pretrain": {"old": config.pretrain["old"]}})
    out = study(config, tmp_path / "out")
    twin.save(place)
    with pytest.raises(DataError, match="old: is a copy of another network"):
        study(config, out)


def test_a_pretraining_of_other_settings_is_not_taken_for_this_one(places, tmp_path, finished):
    out = tmp_path / "out"
    other = parse(places, tmp_path, assignments=["pretrain.one.seed=7", "grid.modes=[trees]"])
    shutil.copytree(finished / "pretrain", out / "pretrain")
    with pytest.raises(DataError, match="other settings or data"):
        study(other, out)


def test_a_pretraining_that_failed_before_its_first_step_may_be_corrected(places, tmp_path):
    less = ["grid.modes=[trees]", "grid.n_train=[80]"]
    with pytest.raises(DataError, match="n_train"):
        study(parse(places, tmp_path, assignments=[*less, "pretrain.one.n_train=5000"]), tmp_path)
    study(parse(places, tmp_path, assignments=[*less, "pretrain.one.n_train=100"]), tmp_path)
    assert Checkpoint.load(tmp_path / "pretrain" / "one").provenance["n_train"] == 100


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("samples: [free]", "samples: [signal]", "'signal' .*pre-training.* same events"),
        ("samples: [free]", "samples: [fre]", "no sample 'fre'.*Did you mean 'free'"),
        ("frozen: *network", "", "grid.modes names frozen"),
        ("signal: [signal]", "signal: [sinal]", "no sample 'sinal'"),
        ("n_train: [80, 120]", "n_trian: [80]", "n_trian.*Did you mean 'n_train'"),
        ("{kind: replaced_object}", "{kind: replaced_object}\n    checkpoint: x", "stands beside"),
        ("name: tiny", "name: ti/ny", "pattern"),
        ("trees: {leaves: [4]", "trees: {leaves: []", "at least 1"),
        ("n_train: [80, 120]", "n_train: [80, 80]", "names a size twice"),
        ("finetuned, trees]", "finetuned, trees, trees]", "names a mode twice"),
        ("lr: [1e-2]", "lr: [1e-2, 0.01]", "twice"),
    ],
)
def test_bad_studies_are_explained(places, tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse(places, tmp_path, old, new)
    assert "tiny.yaml:" in str(error.value)


@pytest.mark.parametrize("name", ["smoke", "cpu", "paper"])
def test_the_scales_of_the_spine_parse(name):
    config = load_config(STUDIES / "spine" / f"{name}.yaml", StudyConfig)
    assert config.scale == name
    assert {"scratch", "finetuned", "trees"} <= set(config.grid.modes)


@pytest.mark.parametrize("name", ["spine", "replaced_object"])
def test_the_published_scale_survives_its_first_steps_on_a_stand_in(name, few_events, tmp_path):
    paper = load_config(STUDIES / name / "paper.yaml", StudyConfig).to_dict()
    stand_in = {"tth": "signal", "ttbar": "background", "muons": "free"}
    paper["samples"] = {name: {"shards": str(few_events[to])} for name, to in stand_in.items()}
    paper["task"] = paper.get("task") or paper.pop("tasks")[0]
    paper["task"] |= {"signal": ["tth"], "background": ["ttbar"], "cross_sections": {}}
    paper["pretrain"] = {"replaced_object": paper["pretrain"]["replaced_object"]}
    paper["pretrain"]["replaced_object"] |= {"n_train": 100, "samples": ["muons"]}
    few = {"steps": 2, "batch_size": 16}
    paper["pretrain"]["replaced_object"]["optim"] |= few
    for mode in ("scratch", "frozen", "finetuned"):
        paper[mode] |= {"lr": [1e-2], "min_steps": 1, "optim": {**paper[mode]["optim"], **few}}
    paper["trees"] |= {"leaves": [4], "rounds": 5}
    paper["grid"] |= {"n_train": [40], "seeds": 1}
    out = study(StudyConfig.model_validate(paper), tmp_path / "out")
    assert len(cells(out)) == 4
    recipe = Checkpoint.load(out / "pretrain" / "replaced_object").recipe
    assert sum(p.numel() for p in recipe.build().parameters()) == pytest.approx(10.5e6, rel=0.01)


def test_the_published_channel_transfer_survives_its_first_steps_on_a_stand_in(
    few_events, tmp_path
):
    paper = load_config(STUDIES / "channel_transfer" / "paper.yaml", StudyConfig).to_dict()
    source = write_shards(tmp_path, 140, seed=9, hardness=1.6)
    stand_in = {"cascade": "signal", "ttbar": "background", "src_ttbar": "free"}
    paper["samples"] = {name: {"shards": str(few_events[to])} for name, to in stand_in.items()}
    paper["samples"]["src_cascade"] = {"shards": str(source)}
    paper["tasks"] = paper["tasks"][:1]
    paper["grid"]["largest"] = {}
    few = {"steps": 2, "batch_size": 64}
    for variant in paper["pretrain"].values():
        variant["optim"] |= few
    for mode in ("scratch", "frozen", "fixed", "finetuned"):
        paper[mode]["optim"] |= few
    paper["grid"] |= {"n_train": [80], "seeds": 1}
    out = study(StudyConfig.model_validate(paper), tmp_path / "out")
    assert len(cells(out)) == 8  # four modes of the GAT and of the GNN
    recipe = Checkpoint.load(out / "pretrain" / "gat").recipe
    assert sum(p.numel() for p in recipe.build().parameters()) == 334_848


def test_fewer_seeds_hold_from_their_size_on(config):
    grid = config.grid.model_copy(update={"seeds": 5, "fewer_seeds": {1000: 3, 10_000: 1}})
    assert [len(grid.seeds_at(n)) for n in (300, 1000, 5000, 10_000, 99_999)] == [5, 3, 3, 1, 1]
