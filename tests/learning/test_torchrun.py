"""Data-parallel pre-training in real processes of torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from transferline.cli import run
from transferline.errors import ConfigError
from transferline.launch import Launch, launch
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.models.checkpoint import Checkpoint

from .event_shards import write_shards

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
DEADLINE = 120.0


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A short training whose batches, last batch and validation share cannot be halved."""
    folder = tmp_path_factory.mktemp("torchrun")
    settings = {
        "data": {"kind": "shards", "files": [str(write_shards(folder, 600, seed=1))]},
        "backbone": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
        "objective": {"kind": "masked_type", "only_hidden": True, "augment": {"boost_z": 0.5}},
        "optim": {"steps": 60, "batch_size": 33, "validate_every": 5, "precision": "fp32"},
        "valid_share": 0.2,
    }
    (folder / "pre.yaml").write_text(json.dumps(settings))  # JSON is YAML
    return folder / "pre.yaml"


def settings_of(config: Path) -> PretrainConfig:
    return PretrainConfig.model_validate_json(config.read_text())


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def none_left():
    """A test that fails between start and finish leaves nothing to fail the next one."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


def start(*words: object) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    process = subprocess.Popen(
        [*TORCHRUN, *map(str, words)], stderr=subprocess.PIPE, text=True, env=environment
    )
    STARTED.append(process)
    return process


def finish(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=DEADLINE)[1]
    finally:
        process.kill()


def wait_for(condition, process) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, f"ended before it could be stopped: {process.communicate()[1]}"


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def check_same_training(one: Path, other: Path) -> None:
    """The same curve and the same weights, within rounding."""
    assert len(rows(one)) == len(rows(other)) > 1
    for wanted, found in zip(rows(one), rows(other), strict=True):
        for name in ("step", "lr", "train_loss", "val_loss"):
            assert found[name] == pytest.approx(wanted[name], rel=1e-5), (name, wanted, found)
    first, second = Checkpoint.load(one), Checkpoint.load(other)
    for name, tensor in first.tensors.items():
        difference = (second.tensors[name] - tensor).abs()
        if name.endswith("qkv.bias"):
            # The keys' bias cancels in the softmax: its gradient is nothing but rounding, which
            # Adam brings to the size of any other.
            difference = difference.unflatten(0, (3, -1))[[0, 2]]
        assert difference.max() <= 1e-4 * tensor.abs().max(), name
    spent = [c.provenance["result"] for c in (first, second)]
    assert spent[0]["examples_seen"] == spent[1]["examples_seen"]
    assert all(result["cpu_seconds"] > 0 for result in spent)


@pytest.fixture(scope="module")
def alone(config) -> Path:
    return pretrain(settings_of(config), config.parent / "alone", label=None)


@pytest.fixture(scope="module")
def together(config) -> Path:
    out = config.parent / "together"
    words = ("pretrain", config, "--out", out)
    process = start(HERE / "torchrun_checks.py", config.parent / "done", *words)
    text = finish(process)
    assert process.returncode == 0, text
    assert text.count("pre-train: 60/60") == 1, "one process shows the progress"
    return out


def test_every_objective_has_the_loss_and_gradients_of_one_process(together):
    checked = set((together.parent / "done.1").read_text().split())
    assert {"masked_type", "replaced_object"} <= checked


def test_two_processes_train_as_one(alone, together):
    check_same_training(alone, together)
    assert not (together / "training").exists()


def test_stopped_killed_and_resumed(config, alone, together, tmp_path):
    """SIGTERM to torchrun saves a state; kill -9 of one process ends all; both go on after."""
    out = tmp_path / "out"
    script = HERE / "torchrun_pretrain.py"
    state = out / "training" / "state" / "state.json"

    process = start(script, config, out, 1e9)
    wait_for((out / "training" / "metrics.jsonl").exists, process)
    process.send_signal(signal.SIGTERM)
    text = finish(process)
    assert text.count("StopRequestedError: stopped at step") == 1, text
    stopped = json.loads(state.read_text())["progress"]["step"]
    assert 0 < stopped < 60

    def step() -> int:
        try:
            return json.loads(state.read_text())["progress"]["step"]
        except FileNotFoundError:  # between two renames, where names cannot be exchanged
            return 0

    process = start(script, config, out, 0.0)
    wait_for(lambda: step() > stopped + 5, process)
    os.kill(int(Path(f"{out}.pid-1").read_text()), signal.SIGKILL)
    text = finish(process)
    assert process.returncode != 0
    # torchrun ends the others as soon as it notices, which may be before they can speak.
    assert text.count("LostProcessError: another process of this training ended") <= 1, text
    assert "Signal 9 (SIGKILL)" in text
    logged = rows(out / "training")
    assert logged[-1]["step"] > stopped
    assert logged == rows(together)[: len(logged)], "resuming changed the training"

    pretrain(settings_of(config), out, resume=True, label=None)  # in this process alone
    check_same_training(alone, out)


def test_a_training_that_fails_in_all_processes_says_so_once(config, tmp_path):
    out = tmp_path / "nan"
    changes = ("optim.lr=1e30", "optim.clip=null", "optim.kind=sgd")
    words = [word for change in changes for word in ("--set", change)]
    process = start("-m", "transferline", "pretrain", config, "--out", out, *words)
    text = finish(process)
    assert process.returncode != 0
    assert text.count("is not finite at step") == 1, text
    assert "exitcode  : 4" in text, text
    assert (out / "training" / "bad_batch.safetensors").exists()


TORCHRUN_SETS = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


def test_launch_reads_what_torchrun_sets():
    assert launch({}) == launch({"WORLD_SIZE": "1", "RANK": "0"}) == Launch()
    assert launch(TORCHRUN_SETS) == Launch(1, 2, 1, 2)
    one = {"WORLD_SIZE": "1", "RANK": "0", "TORCHELASTIC_RESTART_COUNT": "2"}
    assert launch(one).restarts == 2
    assert launch({**TORCHRUN_SETS, "TORCHELASTIC_RESTART_COUNT": "3"}).restarts == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": None}, "RANK not set"),
        ({"MASTER_PORT": None, "LOCAL_RANK": None}, "LOCAL_RANK, MASTER_PORT not set"),
        ({"RANK": "2"}, "RANK is 2 of WORLD_SIZE 2"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK is 2 of LOCAL_WORLD_SIZE 2"),
        ({"RANK": "one"}, "RANK=one"),
    ],
)
def test_wrong_variables_of_torchrun_are_named(config, tmp_path, monkeypatch, change, message):
    for name, value in {**TORCHRUN_SETS, **change}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        pretrain(settings_of(config), tmp_path / "x", label=None)
    assert not (tmp_path / "x").exists()


def test_nobody_to_join_is_an_error_that_names_the_place(config, tmp_path, monkeypatch, capsys):
    for name, value in {**TORCHRUN_SETS, "MASTER_ADDR": "no.such.host.invalid"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("transferline.learning.distributed._TIMEOUT", timedelta(seconds=1))
    assert run(["pretrain", str(config), "--out", str(tmp_path / "x")]) == 2
    assert "did not find the others at no.such.host.invalid:29500" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["transfer", "study", "demo", "prepare"])
def test_other_commands_refuse_torchrun(monkeypatch, capsys, command):
    for name, value in TORCHRUN_SETS.items():
        monkeypatch.setenv(name, value)
    assert run([command, "--help"]) == 2
    assert "only pretrain does" in capsys.readouterr().err
