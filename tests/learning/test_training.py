from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from transferline.cli.failures import describe_failure
from transferline.data.loader import Loader
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import Shards, ShardSet
from transferline.data.selections import selection
from transferline.errors import ConfigError, DataError, NumericalError
from transferline.files import alone_in
from transferline.learning.folded_pretraining import pretrain_folds
from transferline.learning.objectives.masked_type import MaskedType
from transferline.learning.optim import Optim
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.stop_signals import StopRequestedError
from transferline.learning.study_digests import is_current
from transferline.learning.training import fit
from transferline.learning.training_place import check_place
from transferline.models.checkpoint import Checkpoint
from transferline.models.model import ModelRecipe, weight_hash

from .event_shards import write_nanoaod, write_shards

BACKBONE = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), 600, seed=1)


@pytest.mark.parametrize(
    "name",
    [
        *(f"training/{name}" for name in ("train.py", "metrics.csv", ".git")),
        *("generator/mg5.dat", "card.md", "metrics.csv", "config.json"),
    ],
)
def test_names_that_are_everybodys_are_not_taken_for_a_training(tmp_path, name):
    out = tmp_path / "project"
    (out / name).parent.mkdir(parents=True)
    precious = '{"precious": 1}'
    (out / name).write_text(precious)
    for asked in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(ConfigError, match="choose another --out"):
            check_place(out, **{"resume": False, "overwrite": False} | asked)
    assert (out / name).read_text() == precious


def test_a_damaged_checkpoint_can_be_made_anew(tmp_path):
    (tmp_path / "config.json").write_text('{"format": 1, ')
    with pytest.raises(ConfigError, match="--overwrite makes it anew"):
        check_place(tmp_path, resume=False, overwrite=False)
    check_place(tmp_path, resume=False, overwrite=True)


def config(shards: Path, steps: int = 40, **optim) -> PretrainConfig:
    return PretrainConfig.model_validate(
        {
            "data": {"kind": "shards", "files": [str(shards)]},
            "backbone": BACKBONE,
            "objective": {"kind": "masked_type"},
            "optim": {"steps": steps, "batch_size": 64, "validate_every": 10, **optim},
        }
    )


def objective():
    torch.manual_seed(0)
    return MaskedType().build(ModelRecipe(backbone=BACKBONE).build())


def test_labels_that_an_objective_does_not_take_are_refused(shards):
    """The card and every Record would tell how many labels it was trained with."""
    wanted = config(shards).to_dict() | {"classes": {"a": [str(shards)], "b": ["b"]}}
    with pytest.raises(ValueError, match="masked_type takes no labels: leave `classes:` out"):
        PretrainConfig.model_validate(wanted)


def test_pretraining_learns_and_its_checkpoint_loads(shards, tmp_path):
    out = pretrain(config(shards, steps=80, lr=3e-3), tmp_path / "pre", label=None)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["val_loss"] < rows[0]["val_loss"] - 0.1
    model = Checkpoint.load(out).backbone()
    stored = Checkpoint.load(out).provenance["backbone_sha256"]
    assert weight_hash(model.features, model.backbone) == stored


def test_the_same_seed_gives_the_same_weights(shards, tmp_path):
    hashes = {
        Checkpoint.load(pretrain(config(shards), tmp_path / name, label=None)).backbone_hash()
        for name in "ab"
    }
    assert len(hashes) == 1


SCRIPT = """
import sys
from pathlib import Path
from transferline.config import load_config
from transferline.learning.pretraining import PretrainConfig, pretrain
config = PretrainConfig.model_validate_json(Path(sys.argv[1]).read_text())
pretrain(config, Path(sys.argv[2]), resume=True, label=None, save_seconds=0.0)
"""


def _run_and_signal(config_file: Path, out: Path, number: int) -> int:
    """Start the training, send the signal once a state exists, return the exit code."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(config_file), str(out)])
    state = out / "training" / "state" / "state.json"
    deadline = time.monotonic() + 60
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if process.poll() is None:
        os.kill(process.pid, number)
    return process.wait(60)


def test_kill_dash_nine_and_resume_is_bit_identical(shards, tmp_path):
    cfg = config(shards, steps=120)
    whole = Checkpoint.load(pretrain(cfg, tmp_path / "whole", label=None))
    file = tmp_path / "config.json"
    file.write_text(cfg.model_dump_json())
    killed = tmp_path / "killed"
    codes = [_run_and_signal(file, killed, signal.SIGKILL) for _ in range(3)]
    assert codes[0] == -signal.SIGKILL, "the training ended before it could be killed"
    resumed = Checkpoint.load(pretrain(cfg, killed, resume=True, label=None))
    assert resumed.tensors.keys() == whole.tensors.keys()
    assert all(torch.equal(resumed.tensors[n], whole.tensors[n]) for n in whole.tensors)
    assert (killed / "metrics.jsonl").read_text() == (
        tmp_path / "whole" / "metrics.jsonl"
    ).read_text()


@pytest.fixture(scope="module")
def once_stopped(shards, tmp_path_factory):
    """Where SIGTERM stopped a training of 2000 steps; its exit code stands beside it."""
    folder = tmp_path_factory.mktemp("stopped")
    file = folder / "config.json"
    file.write_text(config(shards, steps=2000).model_dump_json())
    code = _run_and_signal(file, folder / "out", signal.SIGTERM)
    (folder / "code").write_text(str(code))
    return folder / "out"


@pytest.fixture
def stopped(once_stopped, tmp_path):
    """A copy of what was stopped, to do anything with."""
    return Path(shutil.copytree(once_stopped, tmp_path / "stopped"))


def test_sigterm_writes_a_state_and_exits_cleanly(once_stopped):
    assert int((once_stopped.parent / "code").read_text()) > 0, "killed by the signal"
    assert (once_stopped / "training" / "state" / "state.json").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_tells_which_signal_stopped_a_training(shards, tmp_path, number, code):
    struck = Interrupting(Loader(ShardSet([shards]), None, 64), number)
    with pytest.raises(StopRequestedError, match="--resume") as caught:
        fit(objective(), struck, None, config(shards).optim, tmp_path, label=None)
    assert describe_failure(caught.value)[1] == code
    assert pickle.loads(pickle.dumps(caught.value)).exit_code == code  # it may come from a worker


class Interrupting:
    """Batches that end with a signal."""

    def __init__(self, loader, number):
        self.loader, self.number = loader, number

    def __len__(self):
        return len(self.loader)

    def batches(self, epoch, start=0):
        for batch in self.loader.batches(epoch, start):
            signal.raise_signal(self.number)
            yield batch


def test_resuming_a_finished_pretraining_leaves_it(shards, tmp_path, capsys):
    out = pretrain(config(shards), tmp_path / "pre", label=None)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert pretrain(config(shards), out, resume=True) == out
    assert "is finished" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_nothing_that_was_trained_is_replaced_unasked(shards, tmp_path, stopped):
    out = pretrain(config(shards), tmp_path / "pre", label=None)
    finished = Checkpoint.load(out).sha256
    for other, how, words in (
        (40, {}, "a finished one"),
        (45, {"resume": True}, "one of other settings, data or version"),
    ):
        with pytest.raises(ConfigError, match=f"{words}. --overwrite"):
            pretrain(config(shards, steps=other), out, label=None, **how)
    state = (stopped / "training" / "state" / "state.json").read_text()
    with pytest.raises(ConfigError, match="--resume goes on, --overwrite begins anew"):
        pretrain(config(shards, steps=2000), stopped, label=None)
    assert (stopped / "training" / "state" / "state.json").read_text() == state
    assert Checkpoint.load(out).sha256 == finished


def test_what_is_overwritten_stays_until_the_new_one_is_whole(shards, tmp_path, monkeypatch):
    out = pretrain(config(shards), tmp_path / "pre", label=None)
    told = (out / "resolved.json").read_text()

    def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", killed)
        pretrain(config(shards, steps=45), out, overwrite=True, label=None)
    assert (out / "resolved.json").read_text() == told
    assert Checkpoint.load(out).provenance["result"]["steps"] == 40
    pretrain(config(shards, steps=45), out, resume=True, label=None)
    assert Checkpoint.load(out).provenance["result"]["steps"] == 45
    assert json.loads((out / "resolved.json").read_text())["optim"]["steps"] == 45


def test_a_kill_after_the_checkpoint_is_noticed_and_ended(shards, tmp_path, monkeypatch):
    """Its logs are not in place yet: a study takes it for unfinished, and goes on."""
    out = tmp_path / "pre"
    is_current(tmp_path, "pre", "digest")

    def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copyfile", killed)
        pretrain(config(shards), out, label=None)
    assert (out / "config.json").exists()
    assert not is_current(tmp_path, "pre", "digest")
    pretrain(config(shards), out, resume=True, label=None)
    assert is_current(tmp_path, "pre", "digest")
    assert {"metrics.jsonl", "metrics.csv", "resolved.json"} <= {p.name for p in out.iterdir()}


def test_what_is_overwritten_leaves_no_state_to_resume_from(shards, stopped):
    other = config(shards, steps=45)
    pretrain(other, stopped, overwrite=True, label=None)
    assert Checkpoint.load(stopped).provenance["result"]["steps"] == 45
    assert not (stopped / "training").exists()


@pytest.mark.parametrize("first", ["alone", "folds"])
def test_folds_and_a_single_pretraining_do_not_share_a_directory(shards, tmp_path, first):
    calls = {
        "alone": lambda: pretrain(config(shards, steps=2), tmp_path / "pre", label=None),
        "folds": lambda: pretrain_folds(config(shards, steps=2), 2, tmp_path / "pre", label=None),
    }
    calls.pop(first)()
    with pytest.raises(ConfigError, match=r"folds\. Choose another --out"):
        calls.popitem()[1]()


def test_weights_that_no_loss_takes_are_told(shards, tmp_path, capsys, monkeypatch):
    """Of a generator beyond leading order, say: a fifth of the events is to be subtracted."""
    signs = np.where(np.arange(len(ShardSet([shards]))) % 5, 1.0, -1.0)
    pretrain(config(shards, steps=2), tmp_path / "equal")
    assert "unequal weights" not in capsys.readouterr().err
    monkeypatch.setattr(ShardSet, "weight", property(lambda _: signs))
    pretrain(config(shards, steps=2), tmp_path / "signed")
    assert "from -1 to 1 (20" in capsys.readouterr().err
    assert "unequal weights" in Checkpoint.load(tmp_path / "signed").provenance["weights"]


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device cuda: .* no GPU here"):
        Optim(steps=1, device="cuda").torch_device()
    assert Optim(steps=1).torch_device() == torch.device("cpu")


def test_two_pretrainings_do_not_work_in_one_directory(shards, tmp_path):
    out = tmp_path / "pre"
    with alone_in(out), pytest.raises(ConfigError, match="another process works there"):
        pretrain(config(shards), out, label=None)
    pretrain(config(shards), out, label=None)
    assert not (out / ".lock").exists()


def test_state_of_another_configuration_is_refused(shards, stopped):
    told = (stopped / "training" / "resolved.json").read_text()
    with pytest.raises(DataError, match="another configuration"):
        pretrain(config(shards, steps=7), stopped, resume=True, label=None)
    # It says which configuration is to be restored.
    assert (stopped / "training" / "resolved.json").read_text() == told


def test_state_of_another_objective_or_data_is_refused(shards, stopped):
    """What the optimiser does not know of counts too."""
    other = config(shards, steps=2000).model_copy(update={"objective": MaskedType(probability=0.1)})
    with pytest.raises(DataError, match="another configuration"):
        pretrain(other, stopped, resume=True, label=None)


def test_leftovers_of_a_kill_do_not_cost_the_training(shards, tmp_path):
    """A kill within the writing of a state leaves a partial directory beside it."""
    partial = tmp_path / "out" / "training" / ".state.1.partial"
    partial.mkdir(parents=True)
    (partial / "state.safetensors").write_bytes(b"half")
    pretrain(config(shards), tmp_path / "out", resume=True, label=None)
    assert Checkpoint.load(tmp_path / "out").backbone_hash()
    assert not (tmp_path / "out" / "training").exists()


def test_a_kill_before_the_checkpoint_is_saved_costs_nothing(shards, tmp_path, monkeypatch):
    whole = Checkpoint.load(pretrain(config(shards), tmp_path / "whole", label=None))

    def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", killed)
        pretrain(config(shards), tmp_path / "out", label=None)
    again = Checkpoint.load(pretrain(config(shards), tmp_path / "out", resume=True, label=None))
    assert again.provenance["result"]["cpu_seconds"] > 0
    assert all(torch.equal(again.tensors[n], whole.tensors[n]) for n in whole.tensors)


def test_nan_stops_with_the_batch_saved(shards, tmp_path):
    whole = ShardSet([shards])
    module = objective()
    with torch.no_grad():
        module.model.backbone.embedding[0].weight[0, 0] = float("nan")
    loader = Loader(whole, None, 32)
    with pytest.raises(NumericalError, match=r"bad_batch\.safetensors"):
        fit(module, loader, None, Optim(steps=5), tmp_path, label=None)
    assert (tmp_path / "bad_batch.safetensors").exists()


def test_best_weights_are_restored_and_patience_stops(shards, tmp_path):
    whole = ShardSet([shards])
    module = objective()
    # A rate far too large makes later validations worse.
    optim = Optim(steps=200, lr=0.5, warmup=0.0, validate_every=5, patience=3, batch_size=64)
    loader = Loader(whole, None, 64)
    result = fit(module, loader, loader, optim, tmp_path, label=None)
    assert result.stopped == "patience"
    assert result.best_step < result.steps < 200


@pytest.mark.parametrize(
    ("chosen_by", "keep"), [("accuracy", "best"), (None, "best"), ("loss", "last")]
)
def test_an_objective_says_what_tells_the_best_weights(shards, tmp_path, chosen_by, keep):
    """By another part of the loss, or by nothing: then the last ones stay, whatever came before.

    The same where the last ones are asked for.
    """
    loader = Loader(ShardSet([shards]), None, 64)
    patience = 3 if keep == "best" else None
    optim = Optim(
        steps=60, lr=0.5, warmup=0.0, validate_every=5, patience=patience, batch_size=64, keep=keep
    )
    module = objective()
    module.chosen_by = chosen_by
    result = fit(module, loader, loader, optim, tmp_path, label=None)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    if chosen_by is None or keep == "last":
        assert (result.steps, result.best_step, result.stopped) == (60, 60, "finished")
        assert result.best_loss == rows[-1]["val_loss"]
    else:
        values = {row["step"]: row["val_accuracy"] for row in rows}
        assert result.best_step == min(values, key=lambda step: values[step])


@pytest.mark.parametrize(("has_head", "early"), [(True, [1, 2, 4, 8]), (False, [])])
def test_with_a_trained_head_the_first_steps_are_looked_at_more_often(
    shards, tmp_path, has_head, early
):
    """Without counting for patience, of which two are had."""
    loader = Loader(ShardSet([shards]), None, 64)
    optim = Optim(steps=320, batch_size=64, lr=1e-12, warmup=0, patience=2)
    result = fit(objective(), loader, loader, optim, tmp_path, label=None, has_head=has_head)
    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    seen = [row["step"] for row in rows]
    assert seen == early + list(range(16, 193, 16))
    assert (result.stopped, result.steps) == ("patience", 192)  # two beyond half of 320


@pytest.mark.parametrize(
    ("changes", "steps"),
    [({}, 26), ({"schedule": "flat_decay"}, 30), ({"final_lr": 1.0}, 10)],
    ids=["half of the peak", "late", "never"],
)
def test_patience_counts_where_the_rate_has_halved(shards, tmp_path, changes, steps):
    """At three quarters of the steps at the latest; where it never halves, behind the warm-up."""
    whole = ShardSet([shards])
    module = objective()
    # A rate too small to move any weight: no validation is better than the first.
    optim = Optim(
        steps=40,
        lr=1e-30,
        warmup=0.25,
        validate_every=1,
        patience=3,
        batch_size=64,
        **changes,
    )
    loader = Loader(whole, None, 64)
    result = fit(module, loader, loader, optim, tmp_path, label=None)
    assert (result.best_step, result.stopped) == (1, "patience")
    assert result.steps == steps + 3


def test_an_epoch_between_validations(shards, tmp_path):
    loader = Loader(ShardSet([shards]), None, 64)
    optim = Optim(steps=3 * len(loader) + 1, batch_size=64, validate_every="epoch")
    fit(objective(), loader, loader, optim, tmp_path, label=None)
    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [*(n * len(loader) for n in (1, 2, 3)), optim.steps]


def test_a_frozen_backbone_does_not_move(shards, tmp_path):
    whole = ShardSet([shards])
    module = objective()
    before = weight_hash(module.model.features, module.model.backbone)
    head = module.classifier.weight.clone()
    loader = Loader(whole, None, 64)
    fit(module, loader, None, Optim(steps=5), tmp_path, label=None, backbone="frozen")
    assert weight_hash(module.model.features, module.model.backbone) == before
    assert not torch.equal(head, module.classifier.weight)


def test_learning_rate_rises_linearly_then_follows_the_cosine():
    optim = Optim(steps=100, warmup=0.1, final_lr=0.01)
    factors = [optim.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == pytest.approx(1.0)
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.505, abs=0.01)
    assert factors[99] == pytest.approx(0.01, abs=0.01)


def test_backbone_rate_is_scaled():
    module = objective()
    groups = Optim(steps=1, backbone_lr=0.1).optimizer(module).param_groups
    scale = {id(p): group["scale"] for group in groups for p in group["params"]}
    assert scale[id(module.model.backbone.embedding[0].weight)] == 0.1
    assert scale[id(module.classifier.weight)] == 1.0
    assert len(scale) == len(list(module.parameters()))


def test_a_training_limits_the_kernels_that_onednn_keeps(shards, tmp_path, monkeypatch):
    """Shapes of batches hardly repeat: each that is kept costs memory and gains nothing."""
    monkeypatch.delenv("LRU_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    fit(
        objective(),
        Loader(ShardSet([shards]), None, 64),
        None,
        Optim(steps=1),
        tmp_path,
        label=None,
    )
    assert os.environ["LRU_CACHE_CAPACITY"] == "32"
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7", "what the user set stands"


def test_the_memory_of_a_pretraining_holds_no_table_of_all_events(shards, tmp_path, monkeypatch):
    opened = ShardSet([shards, write_shards(tmp_path, 50, seed=2)])
    monkeypatch.setattr(Shards, "open", lambda _: opened)
    kept = set()
    seen_by = Loader._batch

    def batch(self, rows):
        found = seen_by(self, rows)
        kept.update(vars(opened))
        return found

    monkeypatch.setattr(Loader, "_batch", batch)
    pretrain(config(shards, steps=3), tmp_path / "pre", label=None)
    assert "n_particles" in kept
    assert not kept & {"hash", "weight", "id", "labels", "context"}


def test_a_pretraining_on_several_selections_names_them_all(shards, tmp_path):
    other = tmp_path / "other"
    reader = NanoAOD(files=[str(write_nanoaod(tmp_path / "other.root", 200, seed=5))])
    prepare(reader, selection("pretraining"), other, sample="loose")
    both = config(shards, steps=2).model_dump(mode="json")
    both["data"]["files"] = [str(shards), str(other)]
    place = pretrain(PretrainConfig.model_validate(both), tmp_path / "both", label=None)
    made = Checkpoint.load(place)
    assert made.selection is None  # neither of the two is that of all its events
    known = made.provenance["selections"]
    assert sorted(row["name"] for row in known.values()) == ["l1_j4_b1", "pretraining"]
    assert [row["selection_hash"] in known for row in made.provenance["data"]] == [True, True]
    assert "events, selection `l1_j4_b1`" in made.card and "selection `pretraining`" in made.card
    alone = Checkpoint.load(pretrain(config(shards, steps=2), tmp_path / "one", label=None))
    assert alone.selection["name"] == "l1_j4_b1"
