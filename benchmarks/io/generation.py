"""Generation against bare Pythia: the same events, with and without detector, objects and file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.io.figures import NOTHING, Figure, Figures, Times, timed
from benchmarks.io.inputs import Sizes, quiet

from transferline.generate import blocks
from transferline.generate.events import generate_events
from transferline.generate.pythia import PythiaRun
from transferline.generate.truth import Truth

PROCESS = "ttbar_1l"


class _Watched(PythiaRun):
    """Remembers how long its initialisation took and how many events were asked of it."""

    started: Times
    asked: int

    def __post_init__(self) -> None:
        begin = Times.now()
        super().__post_init__()
        self.started = Times.now() - begin

    def batches(self, n: int) -> Iterator[Truth]:
        self.asked = n
        return super().batches(n)


@contextmanager
def _watched() -> Iterator[list[_Watched]]:
    """Collect the Pythias that are made inside."""
    runs: list[_Watched] = []

    def make(*words: Any, **named: Any) -> _Watched:
        runs.append(_Watched(*words, **named))
        return runs[-1]

    blocks.PythiaRun = make
    try:
        yield runs
    finally:
        blocks.PythiaRun = PythiaRun


@dataclass(frozen=True)
class _Round:
    """The same `n` events made twice: by `generate_events`, and by a loop over `next()`."""

    n: int
    command: Times  # the whole call, ROOT file included
    start: Times  # of which Pythia's initialisation
    bare_start: Times
    bare: Times

    @property
    def ours(self) -> Times:
        """The call without the initialisation."""
        return self.command - self.start


def _round(folder: Path, n: int, seed: int) -> _Round:
    def call() -> object:
        with quiet():
            return generate_events(PROCESS, folder / f"{seed}.root", n=n, seed=seed, block_size=n)

    with _watched() as runs:
        command = timed(call)
    start = sum((run.started for run in runs), NOTHING)
    bare_start, loop = NOTHING, NOTHING
    for run in runs:
        begin = Times.now()
        bare = PythiaRun(run.settings, run.seed, run.rule)
        bare_start += Times.now() - begin
        loop += timed(partial(bare.discard, run.asked))
        if abs(bare.count.tried - run.count.tried) > 1 + n // 100:
            raise RuntimeError("the bare loop did not make the events of generate_events")
    return _Round(n, command, start, bare_start, loop)


def measure(sizes: Sizes, _sample: Path, folder: Path) -> Figures:
    """Measure both in turns; the first call of the process, which compiles, stands apart."""
    n = sizes.generate_events
    first = _round(folder, n, 1000)
    rounds = [_round(folder, n, seed) for seed in range(sizes.generate_rounds)]
    own = [1e3 * (r.ours.cpu - r.bare.cpu) / n for r in rounds]
    extra = first.command.cpu - min(r.command.cpu for r in rounds)
    return {
        "generate_ratio": Figure.of(
            f"bare Pythia's time over ours, {PROCESS} with multi-parton interactions, same "
            "events, CPU time without initialisation", "1",
            [r.bare.cpu / r.ours.cpu for r in rounds]),
        "generate_ratio_wall": Figure.of(
            "the same in wall time", "1", [r.bare.wall / r.ours.wall for r in rounds]),
        "generate_ratio_whole": Figure.of(
            f"the same with initialisation on both sides, {n} events per block (default 1000)",
            "1", [(r.bare.cpu + r.bare_start.cpu) / r.command.cpu for r in rounds]),
        "generate_own_ms": Figure.of(
            "our CPU time per event beside Pythia's: detector, objects, file", "ms", own),
        "generate_pythia_ms": Figure.of(
            "bare Pythia per event, CPU", "ms", [1e3 * r.bare.cpu / n for r in rounds]),
        "generate_initialisation_s": Figure.of(
            "Pythia's initialisation, once per block, CPU", "s", [r.start.cpu for r in rounds]),
        "generate_first_extra_s": Figure.of(
            "what the first call of a process takes longer: machine code, imports", "s",
            [max(extra, 0.0)]),
    }  # fmt: skip
