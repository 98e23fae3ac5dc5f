"""Run one command as the program does, and judge how it took what it was given.

The rules, for every input that a command must refuse:

1. the exit code is 2 (usage, configuration) or 3 (data), 4 for a computation alone;
2. standard error ends in one message, `transferline: ...`, of at most 14 lines and 1,500
   characters; before it stand only warnings and progress; there is no traceback;
3. nothing is left that looks whole: no card, no checkpoint, no record, no page, no ROOT file;
   and no half-written file under a temporary name;
4. the command ends in time and within a bounded memory;
5. nothing that came in the input was executed: no canary lies in the folder.

A changed byte may hit what no reader looks at, or turn one number into another: an uncompressed
ROOT basket has no checksum. Where an item says `may_pass`, exit code 0 is allowed, and then the
output must be whole and hold finite numbers only.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import resource
import signal
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import uproot
from safetensors.torch import load_file
from typer.main import get_command

import transferline.cli
from transferline.cli import run
from transferline.data.readers.shards import ShardSet

SECONDS = 120.0  # a guard against hanging, not a measurement: machines are busy
MEMORY = 3 << 30  # bytes beyond what the process has already

CANARY = "executed"

# Typer builds all commands anew at every call, which takes longer than most of them.
_APP = get_command(transferline.cli.app)
_WHOLE = {"card.json", "config.json", "record.json", "records.jsonl", "report.html"}
_WHOLE_SUFFIXES = {".root", ".onnx", ".parquet", ".arrow", ".md", ".safetensors"}
_BESIDE = re.compile(
    r"warning: .*|  .*|.*: \d+/\d+, \d+ s left.*|failed: .*|.* events to draw from, .*|.* runs are finished\."
    r"|.*event passes.*|(mode|trees|scratch|frozen|finetuned) .*|Stopped\. Finished blocks are in .*|.*CPU.*|"
    r"|prepare: .* of memory per process.*|(.*, each process: )?loader: at most .* of memory .*"
)


class HangError(BaseException):
    """Not an Exception: no handler of the command may take it for a damaged file."""


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    words: list[str]
    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The closing message, without the warnings and the progress before it."""
        start = re.search(r"^transferline: ", self.err, re.MULTILINE)
        return self.err[start.start() :] if start else ""


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Bound time and memory of the block."""

    def ring(_number: int, _frame: object) -> None:
        raise HangError

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def command(words: Sequence[object]) -> Outcome:
    """Run a command in this process; a surprise raises, as it would show its traceback."""
    texts = [str(word) for word in words]
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(transferline.cli, "app", _APP),
            warnings.catch_warnings(),
            limits(),
        ):
            warnings.simplefilter("default")
            warnings.simplefilter("ignore", ResourceWarning)
            code = run(texts)
    except HangError as error:
        places = traceback.format_tb(error.__traceback__)[-6:]
        raise AssertionError(f"hangs: {''.join(places)}") from None
    return Outcome(texts, code, out.getvalue(), err.getvalue())


def check_refused(outcome: Outcome, codes: Sequence[int], says: str) -> None:
    """Assert rules 1 and 2; `says` is a pattern that the message must hold."""
    assert outcome.code in codes, f"exit code {outcome.code}: {outcome.err[-1500:]}"
    assert outcome.message, f"no message: {outcome.err[-1500:]}"
    assert "Traceback" not in outcome.err
    assert len(outcome.message) <= 1500, f"{len(outcome.message)} characters"
    assert outcome.message.count("\n") <= 14, outcome.message
    assert outcome.message.count("transferline: ") == 1, outcome.message
    before = outcome.err[: outcome.err.index(outcome.message)].splitlines()
    strange = [line for line in before if not _BESIDE.fullmatch(line)]
    assert not strange, strange
    assert re.search(says, outcome.message, re.DOTALL), (says, outcome.message)


def check_nothing_whole(out: Path) -> None:
    """Assert rule 3."""
    left = [path.name for path in out.rglob("*") if path.is_file()]
    whole = [name for name in left if name in _WHOLE or Path(name).suffix in _WHOLE_SUFFIXES]
    assert not whole, f"looks whole: {whole}"
    assert not [name for name in left if ".partial" in name], left


def check_whole(out: Path) -> None:
    """Assert that what a command that passed has written is whole and finite."""
    for card in out.rglob("card.json"):
        shards = ShardSet(card.parent)
        shards.verify()
        assert len(shards) == json.loads(card.read_text())["n_events"]
        batch = shards.gather(np.arange(len(shards)))
        tensors = [batch.p4, batch.weight, *batch.columns.values()]
        assert all(tensor.double().isfinite().all() for tensor in tensors)
        assert all(map(np.isfinite, (shards.cards[0].n_eff, shards.weight.sum())))
    for weights in out.rglob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(weights).values())
    for record in out.rglob("record.json"):
        metrics = json.loads(record.read_text())["metrics"]
        assert all(np.isfinite(metric["value"]) for metric in metrics.values())
    for path in out.rglob("*.root"):
        with uproot.open(path) as file:
            trees = [name for name in ("Events", "Scores") if name in file]
            assert file[trees[0]].num_entries > 0
