"""Ctrl-C, and a full disk, at every write of every command: one message, nothing half, resumes."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
from itertools import count

import pytest
from safetensors.torch import load_file

from transferline import files

from .harness import check_refused, check_whole, command
from .items import transfer_words
from .material import SELECTION, write_yaml


def prepare(good, out):
    files = [good.root, good.folder / "b.root"]
    return ["prepare", *files, "--selection", SELECTION, "--out", out / "shards"]


def pretrain(good, out):
    more = ["--resume"] if (out / "pre").exists() else []
    return ["pretrain", good.folder / "pretrain.yaml", "--out", out / "pre", *more]


def transfer(good, out):
    return transfer_words(good.checkpoint, good.folder / "transfer.yaml", out)


def study(good, out):
    config = good.config("study")
    made = {key: value for key, value in good.config("pretrain").items() if key != "data"}
    config["samples"]["c"] = {"shards": str(good.unlabelled)}
    config["pretrain"] = {"made": {**made, "samples": ["c"]}}
    config["grid"]["seeds"] = 2
    return ["study", write_yaml(out.parent / "study.yaml", config), "--out", out / "study"]


def report(good, out):
    return ["report", good.records, "--markdown", out / "page.md"]


def predict(good, out):
    return ["predict", good.trained, good.root, "--out", out / "scores.root", "--overwrite"]


def generate(_good, out):
    words = ["generate", "events", "ttbar_1l", "--no-mpi", "-n", 1, "--seed", 3]
    return [*words, "--out", out / "x.root"]


RESUMING = {f.__name__: f for f in (prepare, pretrain, study, generate)}
EVERY = RESUMING | {f.__name__: f for f in (transfer, report, predict)}
FINAL = {
    "prepare": "shards/card.json",
    "pretrain": "pre/config.json",
    "transfer": "run/record.json",
    "study": "study/records.jsonl",
    "report": "page.md",
    "predict": "scores.root",
    "generate": "x.root",
}


def at_write(monkeypatch, number, strike):
    """Let `strike` happen at write `number`; return a function that tells whether it did."""
    done = count(1)
    struck = []
    real = files._sync

    def sync(path):
        if next(done) == number:
            struck.append(path)
            strike()
        real(path)

    monkeypatch.setattr(files, "_sync", sync)
    return lambda: bool(struck)


def interrupt():
    signal.raise_signal(signal.SIGINT)


def fill_the_disk():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as fsync says it: without a name


def check_rest(out):
    """Finished parts may lie there to go on from; whatever has its final name is whole."""
    check_whole(out)
    assert not [path for path in out.rglob("*") if ".partial" in path.name]


def content(out):
    """What must not depend on interruptions: all shards, weights, and metrics."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name == "card.json":
            found[name] = json.loads(path.read_text())["content_hash"]
        elif path.name == "model.safetensors":
            found[name] = {k: v.tolist() for k, v in load_file(path).items()}
        elif path.name == "records.jsonl":
            records = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = sorted((r["mode"], r["seed"], str(r["metrics"])) for r in records)
    return found


@pytest.fixture(scope="module")
def undisturbed(good, tmp_path_factory):
    """Content of each command's output when nothing happens."""
    found = {}
    for name, words in RESUMING.items():
        out = tmp_path_factory.mktemp("undisturbed") / "out"
        out.mkdir()
        assert command(words(good, out)).code == 0
        found[name] = content(out)
    return found


@pytest.fixture
def stride(request):
    """Strike at every write in the full campaign, else at some of them."""
    full = request.config.getoption("--campaign", "quick") == "full"
    return lambda name: 1 if full else {"study": 9, "transfer": 5, "report": 9}.get(name, 3)


def sweep(name, strike, good, tmp_path, monkeypatch, stride):
    """Yield the outcome and the output of the command, struck at its first, second, ... write."""
    for number in count(1, stride(name)):
        out = tmp_path / f"{number}" / "out"
        out.mkdir(parents=True)
        words = EVERY[name](good, out)
        with monkeypatch.context() as patch:
            struck = at_write(patch, number, strike)
            outcome = command(words)
        if not struck():
            assert outcome.code == 0, outcome.err
            assert number > 1, "nothing was ever written through transferline.files"
            return
        yield outcome, out
        shutil.rmtree(out)


@pytest.mark.parametrize("name", RESUMING)
def test_ctrl_c_at_any_write_and_then_again(name, good, undisturbed, tmp_path, monkeypatch, stride):
    for outcome, out in sweep(name, interrupt, good, tmp_path, monkeypatch, stride):
        if outcome.code:  # a training takes note, and stops at its next step if there is one
            check_refused(outcome, (130,), "again|goes on|go on|--resume")
        check_rest(out)
        again = command(EVERY[name](good, out))
        assert again.code == 0, again.err
        check_whole(out)
        assert content(out) == undisturbed[name]


@pytest.mark.parametrize("name", EVERY)
def test_a_full_disk_at_any_write(name, good, tmp_path, monkeypatch, stride):
    for outcome, out in sweep(name, fill_the_disk, good, tmp_path, monkeypatch, stride):
        check_refused(outcome, (3,), "No space left on device")
        assert str(out.parent) in outcome.message, "which file?"
        check_rest(out)


@pytest.mark.parametrize("size", [0, 600, 9_000])
@pytest.mark.parametrize("name", EVERY)
def test_files_that_cannot_grow(name, size, good, tmp_path):
    """The system's own limit: the writers of Arrow, ROOT and safetensors meet it themselves."""
    out = tmp_path / "out"
    out.mkdir()
    words = EVERY[name](good, out)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        outcome = command(words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if outcome.code == 0:
        assert size > 0
        check_whole(out)
        return
    check_refused(outcome, (3,), "too large|space|cannot be written")
    assert str(out) in outcome.message, "which file?"
    assert not (out / FINAL[name]).exists()
    check_rest(out)
