"""No event is scored by a model that trained on it; where that cannot be told, it is said."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from transferline.cli import run as command
from transferline.config import load_config
from transferline.data.events import ID_DTYPE, identity_hash, unit_interval
from transferline.data.folds import Fold, fold_of
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import Shards, ShardSet
from transferline.data.selections import selection
from transferline.deploy.predict import predict
from transferline.deploy.trained import trained_checkpoint
from transferline.errors import ConfigError, DataError
from transferline.evaluation.measurement import Measurement
from transferline.learning.adaptation import transfer
from transferline.learning.baselines import Trees
from transferline.learning.folded_pretraining import pretrain_folds
from transferline.learning.folded_transfer import (
    FoldedTransfer,
    single_checkpoint,
    starting_checkpoints,
    transfer_folds,
)
from transferline.learning.folds import FoldSet
from transferline.learning.independence import INDEPENDENT, OverlapWarning
from transferline.learning.modes import BrokenTransferError
from transferline.learning.pretraining import pretrain
from transferline.learning.study import study
from transferline.learning.study_config import StudyConfig
from transferline.learning.tasks.event_classification import EventClassification
from transferline.models.checkpoint import Checkpoint
from transferline.models.shipped import shipped_checkpoint

from ..learning.event_shards import write_nanoaod
from .tiny_runs import SELECTION, adaptation, identities, pretraining, question, shards_of

K = 3


def some_events(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    identity = np.zeros(n, ID_DTYPE)
    identity["run"], identity["lumi"] = rng.integers(1, 4, n), rng.integers(1, 999, n)
    identity["event"] = rng.integers(0, 2**63, n)
    return identity


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(0, 99))
def test_folds_part_all_events_and_belong_to_the_event_alone(k, seed):
    events = some_events(200, seed)
    fold = fold_of(events, k)
    assert ((fold >= 0) & (fold < k)).all()
    order = np.random.default_rng(seed).permutation(200)
    assert np.array_equal(fold_of(events[order], k), fold[order])
    held = np.stack([Fold(i, k).holds(events) for i in range(k)])
    assert (held.sum(0) == 1).all()


def test_folds_are_equally_large_and_cut_across_the_test_split():
    events = some_events(40_000)
    fold = fold_of(events, 4)
    assert np.ptp(np.bincount(fold)) < 600
    test = unit_interval(identity_hash(events)) < 0.4
    shares = [test[fold == k].mean() for k in range(4)]
    np.testing.assert_allclose(shares, 0.4, atol=0.03)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def files(folder):
    """Simulated signal and background, and unlabelled collisions."""
    return {
        "signal": write_nanoaod(folder / "signal.root", 220, seed=1, hardness=1.6),
        "background": write_nanoaod(folder / "background.root", 220, seed=2),
        "data": write_nanoaod(folder / "data.root", 260, seed=3, collisions=True),
    }


@pytest.fixture(scope="module")
def shards(files):
    """All of them prepared."""
    done = {name: shards_of(files[name]) for name in ("signal", "background")}
    with pytest.warns(UserWarning, match="without a golden JSON"):
        return {**done, "data": shards_of(files["data"])}


@pytest.fixture(scope="module")
def task(shards):
    return question(shards["signal"], shards["background"])


@pytest.fixture(scope="module")
def backbones(folder, shards):
    """Pre-trained in folds, on collisions and on the very background of the task."""
    config = pretraining(shards["data"], shards["background"])
    return pretrain_folds(config, K, folder / "pre", label=None)


def train(starts, task, out, mode="finetuned", **more):
    given = {"n_train": 60, "seed": 0, "how": adaptation(), **more}
    return transfer_folds(starts, task, mode, out=out, **given)


@pytest.fixture(scope="module")
def run(folder, backbones, task):
    """One transfer per fold, each from the backbone of its fold."""
    train(starting_checkpoints(backbones, K), task, folder / "run")
    return folder / "run"


def listed(checkpoint: Checkpoint, role: str) -> np.ndarray:
    parts = [part.hashes for part in checkpoint.saw().parts if part.role == role]
    return np.concatenate(parts)


def test_no_model_has_seen_an_event_of_its_fold(run, backbones, shards):
    events = ShardSet([shards[name] for name in ("signal", "background", "data")])
    fold = fold_of(events.id, K)
    for k in range(K):
        backbone = Checkpoint.load(backbones / f"fold-{k}")
        model = Checkpoint.load(run / f"fold-{k}" / "checkpoint")
        for checkpoint, role in (
            (backbone, "pretraining"),
            (model, "pretraining"),
            (model, "training"),
        ):
            seen = np.isin(events.hash, listed(checkpoint, role))
            assert seen.any() and not seen[fold == k].any()
        # All else was there to be seen: the backbone took every event of the other folds.
        of_backbone = np.isin(events.hash, listed(backbone, "pretraining"))
        assert of_backbone[(fold != k) & (events.source > 0)].all()
        assert len(listed(model, "training")) == 60
        record = json.loads((run / f"fold-{k}" / "record.json").read_text())
        assert record["hashes"]["loaded"] == backbone.backbone_hash()
        assert record["hashes"]["checkpoint"] == backbone.sha256


def test_the_constants_of_a_backbone_come_from_outside_its_fold(backbones, shards):
    mean = [Checkpoint.load(backbones / f"fold-{k}").tensors["features.mean"] for k in range(K)]
    events = ShardSet([shards["data"], shards["background"]])
    fold = fold_of(events.id, K)
    validation = unit_interval(events.hash) < 0.05
    for k in range(K):
        batch = events.gather(np.flatnonzero((fold != k) & ~validation))
        expected = batch.p4[..., 0][batch.is_real].double().log().mean()
        assert float(mean[k][0]) == pytest.approx(float(expected), rel=1e-5)
    assert float(mean[0][0]) != float(mean[1][0])


def test_every_event_gets_the_score_of_its_folds_model(run, files, tmp_path):
    reader = NanoAOD(files=[str(files["signal"])])
    done = predict(run, reader, tmp_path / "s.root", need_folds=True)
    with uproot.open(tmp_path / "s.root") as content:
        found = content["Scores"].arrays(library="np")
    assert np.array_equal(found["fold"], fold_of(identities(files["signal"]), K))
    for k in range(K):
        predict(run / f"fold-{k}", reader, tmp_path / f"{k}.root")
        with uproot.open(tmp_path / f"{k}.root") as content:
            alone = content["Scores"].arrays(library="np")
        mine = found["fold"] == k
        np.testing.assert_allclose(found["score"][mine], alone["score"][mine], atol=1e-6)
        assert not np.allclose(found["score"][~mine], alone["score"][~mine], equal_nan=True)
    assert done.card["model"]["folds"] == K


def test_the_metric_of_all_events_is_that_of_their_out_of_fold_scores(run, task, files, tmp_path):
    with np.load(run / "out_of_fold.npz") as kept:
        scores, fold = kept["score"], kept["fold"]
    data = task.load()
    assert np.array_equal(fold, fold_of(data.shards.id, K))  # every event, in the order of rows
    predict(
        run, NanoAOD(files=[str(files[n]) for n in ("signal", "background")]), tmp_path / "s.root"
    )
    with uproot.open(tmp_path / "s.root") as content:
        found = content["Scores"].arrays(library="np")
    np.testing.assert_allclose(found["score"][found["selected"]], scores, atol=1e-5)
    told = json.loads((run / "folds.json").read_text())
    rows = np.arange(len(data.target))
    metrics, _ = task.evaluate(scores.astype(np.float64), data, rows)
    assert told["out_of_fold"]["auc"][0] == pytest.approx(metrics["auc"].value, abs=1e-6)
    assert len(told["per_fold"]) == K and told["salt"] == Fold(0, K).salt


def test_a_lower_limit_is_told_as_one():
    found = {
        "auc": Measurement(0.8, 0.1),
        "rejection": Measurement(300.0, float("inf"), bound="at least"),
    }
    told = FoldedTransfer([], found).to_dict()["out_of_fold"]
    assert told == {"auc": [0.8, 0.1], "rejection": [300.0, None, "at least"]}


def verdict(place, file: Path, tmp_path, **more) -> str:
    out = tmp_path / f"{Path(place).name}-{file.stem}.root"
    reader = NanoAOD(files=[str(file)])
    return predict(place, reader, out, overwrite=True, **more).card["independence"]["verdict"]


GOLDEN = '{"1": [[1, 99]]}'


def test_the_verdict_says_exactly_what_is_known(run, files, shards, tmp_path):
    golden = tmp_path / "golden.json"
    golden.write_text(GOLDEN)
    data = {"golden_json": golden}
    for name, more in (("signal", {}), ("background", {}), ("data", data)):
        assert verdict(run, files[name], tmp_path, **more) == INDEPENDENT
    fresh = write_nanoaod(tmp_path / "fresh.root", 60, seed=7)
    assert verdict(run / "fold-0", fresh, tmp_path) == INDEPENDENT
    # One model for all events: those that it has seen are counted.
    seen = len(listed(Checkpoint.load(run / "fold-0" / "checkpoint"), "training"))
    events = sum(
        json.loads((place / "card.json").read_text())["n_events"]
        for place in (shards["signal"], shards["background"])
    )
    out = tmp_path / "both.root"
    reader = NanoAOD(files=[str(files["signal"]), str(files["background"])])
    found = predict(run / "fold-0", reader, out).card["independence"]
    assert found["verdict"] == (
        f"{seen} of {events} events were in the training of the model that scored them"
    )
    n = len(ShardSet(shards["data"]))
    outside = (fold_of(ShardSet(shards["data"]).id, K) != 0).sum()
    assert verdict(run / "fold-0", files["data"], tmp_path, **data) == (
        f"{outside} of {n} events were in the pre-training of the backbone that scored them"
    )


@pytest.fixture(scope="module")
def shared(folder, greedy, task):
    """Folds that all start from one backbone, which was pre-trained on the background."""
    train([greedy] * K, task, folder / "shared", allow_overlap=True)
    return folder / "shared"


def test_folds_with_a_backbone_that_has_seen_the_input_are_refused(shared, files, tmp_path, capsys):
    both = NanoAOD(files=[str(files["signal"]), str(files["background"])])
    refusal = r"fold-0/checkpoint: its backbone was pre-trained on .*background\.root.*--allow-ov"
    with pytest.raises(DataError, match=refusal):
        predict(shared, both, tmp_path / "s.root", need_folds=True)
    assert not list(tmp_path.iterdir())
    done = predict(shared, both, tmp_path / "s.root", allow_overlap=True)
    signal, background = (row["independence"] for row in done.card["inputs"])
    assert signal["verdict"] == INDEPENDENT
    assert background["counts"] == {"pretraining.yes": background["events"]}
    assert background["verdict"] in done.cards[0].read_text()
    # What was accepted once is not accepted for ever.
    place = str(tmp_path / "each")
    words = ["predict", str(shared), str(files["background"]), "--folds", "-o", place]
    assert command(words) == 3
    assert "--allow-overlap" in capsys.readouterr().err
    assert command([*words, "--allow-overlap"]) == 0
    assert "were in the pre-training of the backbone" in capsys.readouterr().out
    assert command(words) == 3


def test_rows_of_shards_are_traced_to_their_files(run, files, tmp_path):
    fresh = write_nanoaod(tmp_path / "fresh.root", 60, seed=8)
    both = tmp_path / "both"
    reader = NanoAOD(files=[str(fresh), str(files["signal"])])
    prepare(reader, selection(SELECTION), both)
    done = predict(
        run / "fold-0", Shards(files=[str(both)]), tmp_path / "s.root", chunk_size=40
    ).card["independence"]
    assert done["counts"] == {"training.yes": 30}  # the signal half of 60 labelled events


def test_simulation_that_numbers_alike_is_not_called_the_same(run, files, tmp_path):
    twin = write_nanoaod(tmp_path / "elsewhere.root", 220, seed=2)  # the numbers of `background`
    found = verdict(run / "fold-0", twin, tmp_path)
    assert found.startswith("cannot be told: ") and "samples number alike" in found
    data = write_nanoaod(tmp_path / "collisions.root", 220, seed=2, collisions=True)
    golden = tmp_path / "golden.json"
    golden.write_text(GOLDEN)
    assert verdict(run / "fold-0", data, tmp_path, golden_json=golden) == INDEPENDENT


def stamped(file: Path, **made: object) -> Path:
    """Write into a file what our generator writes into its files."""
    facts = {"kind": "transferline generate events", "process": "p", "n": 5, "lhe_sha256": None}
    with uproot.update(file) as content:
        content["transferline"] = json.dumps({**facts, **made})
    return file


def test_generated_events_are_told_apart_by_how_they_were_made(backbones, tmp_path):
    made = write_nanoaod(tmp_path / "made.root", 150, seed=5)
    other = write_nanoaod(tmp_path / "other.root", 150, seed=6)
    task = question(
        shards_of(stamped(made, seed=1, configuration="c")),
        shards_of(stamped(other, seed=9, configuration="c")),
    )
    start, out = Checkpoint.load(backbones / "fold-0"), tmp_path / "run"
    transferred(start, task, out, mode="scratch", keep_checkpoint=True)
    again = write_nanoaod(tmp_path / "again.root", 150, seed=5)
    expected = {
        (1, "c"): "20 of .* events were in the training",
        (1, "other"): "other settings, so they may be the same under other numbers",
        (2, "c"): INDEPENDENT,
    }
    for (seed, configuration), text in expected.items():
        file = stamped(again, seed=seed, configuration=configuration)
        assert re.search(text, verdict(out, file, tmp_path))


def test_a_checkpoint_without_lists_says_that_it_cannot_tell(run, files, tmp_path):
    kept = Checkpoint.load(run / "fold-0" / "checkpoint")
    old = replace(kept, seen=None).save(tmp_path / "old")
    assert not (old / "seen.safetensors").exists()
    found = verdict(old, files["signal"], tmp_path)
    assert found.startswith("cannot be told: the checkpoint does not list the events of its train")
    assert "pre-training (data, background)" in found


def test_the_shipped_backbone_tells_what_it_was_made_from(files, tmp_path):
    shipped = Checkpoint.load(shipped_checkpoint())
    assert {part.role for part in shipped.saw().parts} == {"pretraining"}
    assert {part.origin.seed for part in shipped.saw().parts} == {101, 102, 103}
    task = question(shards_of(files["signal"]), shards_of(files["background"]))
    with pytest.warns(OverlapWarning, match="does not list the events"):
        record = transfer(
            *(shipped, task, "frozen"),
            n_train=40,
            seed=0,
            how=adaptation(steps=2),
            out=tmp_path / "run",
            keep_checkpoint=True,
        )
    told = record.extra["pretraining_overlap"]["verdict"]
    assert told.startswith("cannot be told: the checkpoint does not list the events of its pre-")
    assert verdict(tmp_path / "run", files["signal"], tmp_path).endswith("were in the training of "
        "the model that scored them")  # fmt: skip
    golden = tmp_path / "golden.json"
    golden.write_text(GOLDEN)
    assert verdict(tmp_path / "run", files["data"], tmp_path, golden_json=golden) == INDEPENDENT


def test_a_model_that_trained_on_its_fold_is_found_out(run, files, tmp_path):
    bad = tmp_path / "run"
    shutil.copytree(run, bad)
    shutil.rmtree(bad / "fold-1")
    shutil.copytree(bad / "fold-0", bad / "fold-1")
    reader = NanoAOD(files=[str(files["signal"])])
    with pytest.raises(DataError, match=r"fold-1/checkpoint: is not the model that .*folds\.json"):
        predict(bad, reader, tmp_path / "s.root")
    # Whoever changes folds.json, too, does not change what the model has seen.
    content = json.loads((bad / "folds.json").read_text())
    content["models"][1]["sha256"] = content["models"][0]["sha256"]
    (bad / "folds.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"has trained on .* in its own fold"):
        predict(bad, reader, tmp_path / "s.root")
    assert not list(tmp_path.glob("*.root"))


def test_lists_that_were_changed_or_lost_do_not_load(run, tmp_path):
    shutil.copytree(run / "fold-0" / "checkpoint", tmp_path / "c")
    lists = tmp_path / "c" / "seen.safetensors"
    data = bytearray(lists.read_bytes())
    data[-1] ^= 1
    lists.write_bytes(data)
    with pytest.raises(DataError, match=r"seen\.safetensors: its bytes are not those"):
        Checkpoint.load(tmp_path / "c")
    lists.unlink()
    with pytest.raises(DataError, match="nothing tells which events"):
        Checkpoint.load(tmp_path / "c")


class Leaking(EventClassification):
    """A task that forgets to leave the fold out."""

    def folded(self, data, fold):
        return replace(data, fold=fold)


def test_a_task_that_trains_on_the_fold_is_stopped(task, backbones, tmp_path):
    leaking = Leaking.model_validate(task.to_dict())
    with pytest.raises(BrokenTransferError, match="fold 0 of 3 are among those to train on"):
        train(starting_checkpoints(backbones, K), leaking, tmp_path / "run")


def test_folds_replace_the_split_of_the_task(task, shards):
    data = task.load()
    weight = np.linspace(0.5, 3.0, len(data.target))
    data = replace(data, weight=weight, training_weight=weight)
    parts = [task.folded(data, Fold(k, K)) for k in range(K)]
    assert np.array_equal(
        np.sort(np.concatenate([p.test for p in parts])), np.arange(len(data.target))
    )
    for part in parts:
        assert len(part.pool) + len(part.test) == len(data.target) and not len(part.valid)
        for label in (0, 1):  # constants of the loss, too, come from outside the fold
            mine = part.pool[data.target[part.pool] == label]
            assert part.training_weight[mine].mean() == pytest.approx(1)
    assert len({part.digest for part in (*parts, data)}) == K + 1
    # Events that must not train, here every fifth, are scored all the same.
    some = np.where(np.arange(len(data.target)) % 5, data.training_weight, 0.0)
    part = task.folded(replace(data, training_weight=some), Fold(0, K))
    assert (part.pool % 5 != 0).all() and np.array_equal(part.test, parts[0].test)


def test_finished_folds_are_kept_and_the_result_is_the_same(run, backbones, task, tmp_path):
    again = tmp_path / "run"
    shutil.copytree(run, again)
    told = json.loads((run / "folds.json").read_text())
    (again / "folds.json").unlink()
    (again / "fold-1" / "record.json").rename(again / "fold-1" / ".begun")  # as if killed
    with pytest.raises(ConfigError, match="folds are not finished"):
        trained_checkpoint(again)
    before = (again / "fold-0" / "record.json").stat().st_mtime_ns
    train(starting_checkpoints(backbones, K), task, again)
    assert (again / "fold-0" / "record.json").stat().st_mtime_ns == before
    now = json.loads((again / "folds.json").read_text())
    assert now["models"] == told["models"] and now["out_of_fold"] == told["out_of_fold"]
    with pytest.raises(ConfigError, match="run of other settings"):
        train(starting_checkpoints(backbones, K), task, again, seed=1)


def test_pre_trainings_of_finished_folds_are_kept(backbones, shards, tmp_path):
    out = tmp_path / "pre"
    shutil.copytree(backbones, out)
    before = (out / "folds.json").read_text(), (out / "fold-0" / "config.json").stat().st_mtime_ns
    models = json.loads(before[0])["models"]
    shutil.rmtree(out / "fold-2")
    config = pretraining(shards["data"], shards["background"])
    pretrain_folds(config, K, out, label=None)
    assert json.loads((out / "folds.json").read_text())["models"] == models
    assert (out / "fold-0" / "config.json").stat().st_mtime_ns == before[1]
    with pytest.raises(ConfigError, match="other settings or data"):
        pretrain_folds(config.model_copy(update={"seed": 5}), K, out, label=None)
    with pytest.raises(ConfigError, match="holds 3 folds, not 4"):
        pretrain_folds(config, 4, out, label=None)


def test_wrong_usage_is_explained(run, backbones, folder, task, tmp_path):
    with pytest.raises(ConfigError, match="Give --folds 3, or name one"):
        single_checkpoint(backbones)
    with pytest.raises(ConfigError, match="holds 3 folds; give --folds 3"):
        starting_checkpoints(backbones, 4)
    with pytest.raises(ConfigError, match="needs at least two"):
        pretrain_folds(pretraining(Path("x")), 1, tmp_path / "pre")
    with pytest.raises(ConfigError, match="one model per fold; name one"):
        trained_checkpoint(run)
    with pytest.raises(ConfigError, match="holds 3 folds, not 2"):
        train([Checkpoint.load(backbones / "fold-0")] * 2, task, run)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "record.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a run without folds"):
        train(starting_checkpoints(backbones, K), task, tmp_path / "one")
    with pytest.raises(ConfigError, match="measured, not kept"):
        trained_checkpoint(tmp_path / "one")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "folds.json").write_text("{}")
    with pytest.raises(DataError, match="is damaged"):
        FoldSet.read(tmp_path / "bad")


def test_labels_that_a_later_fold_has_not_are_refused_before_the_first_is_trained(task, tmp_path):
    data = task.load()
    parts = [task.folded(data, Fold(k, K)) for k in range(K)]
    most = [2 * int(np.bincount(data.target[part.pool]).min()) for part in parts]
    assert most[0] > min(most)  # the first fold alone could be trained
    more = {"mode": "trees", "how": Trees(leaves=(4,), rounds=5)}
    with pytest.raises(DataError, match="Lower n_train"):
        train([None] * K, task, tmp_path / "run", n_train=most[0], **more)
    done = train([None] * K, task, tmp_path / "run", n_train=min(most), **more)
    assert len(done.records) == K


def test_boosted_trees_are_measured_in_folds_and_not_kept(task, files, tmp_path):
    trees = Trees(leaves=(3,), rounds=5)
    done = train([None] * K, task, tmp_path / "trees", mode="trees", how=trees)
    assert done.metrics["auc"].value > 0.5
    with pytest.raises(ConfigError, match="holds no networks"):
        predict(tmp_path / "trees", NanoAOD(files=[str(files["signal"])]), tmp_path / "s.root")


# Overlap of test events with a pre-training, without folds.


@pytest.fixture(scope="module")
def greedy(folder, shards):
    """A backbone that was pre-trained on the background of the task."""
    return Checkpoint.load(
        pretrain(pretraining(shards["background"]), folder / "greedy", label=None)
    )


def transferred(start, task, out, mode="frozen", **more):
    how = adaptation(steps=2)
    return transfer(start, task, mode, n_train=40, seed=0, how=how, out=out, **more)


def test_test_events_of_the_pre_training_stop_a_transfer(greedy, task, tmp_path):
    data = task.load()
    n = int((data.target[data.test] == 0).sum())
    with pytest.raises(DataError, match=rf"{n} of the .* \(background\).*--allow-overlap"):
        transferred(greedy, task, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    record = transferred(greedy, task, tmp_path / "b", allow_overlap=True)
    noted = record.extra["pretraining_overlap"]
    assert noted["counts"] == {"pretraining.yes": n}
    assert noted["verdict"].startswith(f"{n} of {len(data.test)} events were in the pre-training")
    scratch = transferred(greedy, task, tmp_path / "c", mode="scratch")
    assert "pretraining_overlap" not in scratch.extra  # it has nothing of those weights


def test_simulated_test_events_that_may_be_the_same_give_a_warning(greedy, shards, tmp_path):
    twin = shards_of(write_nanoaod(tmp_path / "twin.root", 220, seed=2))
    with pytest.warns(OverlapWarning, match="samples number alike"):
        transferred(greedy, question(shards["signal"], twin), tmp_path / "a")


def test_a_model_that_is_trained_further_keeps_all_that_it_has_seen(run, task, shards, tmp_path):
    start = Checkpoint.load(run / "fold-0" / "checkpoint")
    kept = transferred(start, task, tmp_path / "a", allow_overlap=True, keep_checkpoint=True)
    assert kept.extra["pretraining_overlap"]["counts"]["pretraining.yes"] > 0
    saw = Checkpoint.load(tmp_path / "a" / "checkpoint")
    before = np.concatenate([part.hashes for part in start.saw().parts])
    assert np.isin(before, listed(saw, "pretraining")).all()


def test_a_selection_travels_only_where_all_samples_share_it(shards, files, backbones, tmp_path):
    other = tmp_path / "other"
    prepare(NanoAOD(files=[str(files["background"])]), selection("pretraining"), other)
    start = Checkpoint.load(backbones / "fold-0")
    for place, name in ((shards["background"], SELECTION), (other, None)):
        out = tmp_path / str(name)
        task = question(shards["signal"], place)
        transferred(start, task, out, mode="scratch", keep_checkpoint=True)
        stored = Checkpoint.load(out / "checkpoint").selection
        assert (stored and stored["name"]) == name


STUDY = """
name: tiny
title: A tiny study
scale: smoke
samples: {{s: {{shards: {signal}}}, b: {{shards: {background}}}}}
pretrain: {{given: {{checkpoint: {checkpoint}}}}}
task: {{kind: event_classification, name: toy, signal: [s], background: [b]}}
grid: {{modes: [frozen], n_train: [40], seeds: 1}}
frozen: {{optim: {{steps: 2, batch_size: 32}}}}
"""


def test_a_study_asks_the_same_of_a_checkpoint_that_it_is_given(greedy, folder, shards, tmp_path):
    (tmp_path / "study.yaml").write_text(
        STUDY.format(
            checkpoint=folder / "greedy", **{n: shards[n] for n in ("signal", "background")}
        )
    )
    config = load_config(tmp_path / "study.yaml", StudyConfig)
    with pytest.raises(DataError, match="in the pre-training of this checkpoint"):
        study(config, tmp_path / "out")
    assert not (tmp_path / "out" / "runs").exists()
    config = load_config(tmp_path / "study.yaml", StudyConfig, ["allow_overlap=true"])
    study(config, tmp_path / "out")
    assert (tmp_path / "out" / "records.jsonl").exists()


TASK = """
task: {{kind: event_classification, name: toy, signal: [{signal}], background: [{background}]}}
finetuned: {{optim: {{steps: 2, batch_size: 32}}}}
"""


def test_the_commands_from_pre_training_to_scores(files, shards, tmp_path, capsys):
    places = {name: shards[name] for name in ("signal", "background")}
    (tmp_path / "task.yaml").write_text(TASK.format(**places))
    (tmp_path / "pre.yaml").write_text(
        json.dumps(pretraining(shards["background"], steps=2).to_dict())
    )
    pre, out = f"{tmp_path}/pre", f"{tmp_path}/run"
    assert command(["pretrain", f"{tmp_path}/pre.yaml", "--folds", "2", "--out", pre]) == 0
    text = capsys.readouterr().out
    assert "wrote 2 checkpoints, one per fold" in text and "--folds 2 --out" in text
    words = ["transfer", pre, f"{tmp_path}/task.yaml", "--mode", "finetuned", "--n-train", "40"]
    assert command([*words, "--out", out]) == 2
    assert "Give --folds 2" in capsys.readouterr().err
    assert command([*words, "--folds", "2", "--out", out]) == 0
    text = capsys.readouterr().out
    assert f"test events  {INDEPENDENT}" in text and "all events, each scored by" in text
    assert f"next:  transferline predict {out} FILES" in text
    words = ["predict", out, str(files["background"]), "--folds", "-o", f"{tmp_path}/s.parquet"]
    assert command(words) == 0
    text = capsys.readouterr().out
    assert f"independence  {INDEPENDENT}" in text and "models        2, one per fold" in text
    single = ["transfer", f"{pre}/fold-0", f"{tmp_path}/task.yaml", "--mode", "finetuned"]
    single += ["--n-train", "40", "--out", f"{tmp_path}/one"]
    assert command(single) == 3
    assert "--allow-overlap" in capsys.readouterr().err
    assert command([*single, "--allow-overlap"]) == 0
    assert "events were in the pre-training" in capsys.readouterr().out
