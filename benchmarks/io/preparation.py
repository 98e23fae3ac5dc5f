"""Preparation against plain uproot on the same branches of the same file, and its scaling."""

from __future__ import annotations

import resource
from collections.abc import Callable
from itertools import count
from pathlib import Path

import uproot
from benchmarks.io.figures import Figure, Figures, Times, in_turns, timed
from benchmarks.io.inputs import Sizes, copies, enlarged, forget_pages, quiet

from transferline.data.garbage import collected
from transferline.data.layouts import nanoaod as layout
from transferline.data.prepare import CHUNK_SIZE, prepare
from transferline.data.readers.nanoaod import TREE, NanoAOD
from transferline.data.readers.nanoaod_branches import find_branch
from transferline.data.selections import Selection, needed_columns, selection

SELECTION = "pretraining"


def branches_read(file: Path, chosen: Selection) -> list[str]:
    """Return the branches that `prepare` reads from a NanoAODv9 file."""
    with uproot.open(file) as source:
        known = set(source[TREE].keys())
    columns = needed_columns(chosen)
    flags = columns.pop("context")
    found = [find_branch(name, c, known) for name, wanted in columns.items() for c in wanted]
    every = [*found, *flags, *layout.EVENT_ID, layout.GEN_WEIGHT]
    return [branch for branch in every if branch in known]


def _works(file: Path, folder: Path) -> dict[str, Callable[[], object]]:
    chosen = selection(SELECTION)
    names, reader, number = branches_read(file, chosen), NanoAOD(files=[str(file)]), count()

    def uproot_alone() -> None:
        # As prepare does it, or Python would look through all objects of this large process.
        with collected(), uproot.open(file) as source:
            for _ in source[TREE].iterate(names, step_size=CHUNK_SIZE):
                pass

    def reader_alone() -> None:
        with collected():
            for _ in reader.chunks(needed_columns(chosen), CHUNK_SIZE):
                pass

    def whole() -> None:
        with quiet():
            prepare(reader, chosen, folder / f"shards-{next(number)}")

    return {"uproot": uproot_alone, "reader": reader_alone, "prepare": whole}


def _ratios(taken: dict[str, list[Times]], what: str, clock: str) -> list[float]:
    pairs = zip(taken["uproot"], taken[what], strict=True)
    return [getattr(plain, clock) / getattr(ours, clock) for plain, ours in pairs]


def _cold(file: Path, works: dict[str, Callable[[], object]], rounds: int) -> list[float]:
    ratios = []
    for _ in range(rounds):
        wall = {}
        for name in ("uproot", "prepare"):
            forget_pages(file)
            wall[name] = timed(works[name]).wall
        ratios.append(wall["uproot"] / wall["prepare"])
    return ratios


def measure(sizes: Sizes, sample: Path, folder: Path) -> Figures:
    """Measure `prepare` and plain uproot in turns, on one large file and on a small one."""
    n = sizes.sample * sizes.prepare_copies
    file = enlarged(sample, sizes.prepare_copies, folder / "large.root")
    works = _works(file, folder / "large")
    large = in_turns(works, sizes.prepare_rounds)
    small = in_turns(_works(sample, folder / "small"), sizes.prepare_rounds)
    what = f"time of plain uproot over that of prepare (selection {SELECTION}), one file"
    return {
        "prepare_ratio": Figure.of(
            f"{what} of {n} events, pages cached, CPU", "1", _ratios(large, "prepare", "cpu")),
        "prepare_ratio_wall": Figure.of(
            "the same in wall time", "1", _ratios(large, "prepare", "wall")),
        "prepare_ratio_cold": Figure.of(
            "the same in wall time, read from the disk", "1",
            _cold(file, works, max(1, sizes.prepare_rounds // 3))),
        "prepare_ratio_small_file": Figure.of(
            f"{what} of {sizes.sample} events, CPU", "1", _ratios(small, "prepare", "cpu")),
        "prepare_reading_ratio": Figure.of(
            "time of plain uproot over that of the reader alone, large file, CPU", "1",
            _ratios(large, "reader", "cpu")),
        "prepare_events_per_s": Figure.of(
            "events read, selected and written per CPU second", "1/s",
            [n / t.cpu for t in large["prepare"]]),
        "uproot_events_per_s": Figure.of(
            "events that plain uproot reads per CPU second", "1/s",
            [n / t.cpu for t in large["uproot"]]),
    }  # fmt: skip


def _children() -> float:
    """CPU time of all processes started from here that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def scaling(sizes: Sizes, sample: Path, folder: Path) -> Figures:
    """Measure the wall time with one and with two processes, their start included."""
    files = copies(sample, sizes.scaling_copies, folder / "copies")
    reader, chosen, number = NanoAOD(files=files), selection(SELECTION), count()

    def work(jobs: int) -> Times:
        children = _children()
        with quiet():
            own = timed(
                lambda: prepare(reader, chosen, folder / f"shards-{next(number)}", jobs=jobs)
            )
        return Times(own.cpu + _children() - children, own.wall)

    taken = [(work(1), work(2)) for _ in range(sizes.scaling_rounds)]
    what = f"of prepare on {sizes.scaling_copies} files of {sizes.sample} events"
    return {
        "prepare_scaling_2": Figure.of(
            f"wall time {what}: one process over two, their start included", "1",
            [one.wall / two.wall for one, two in taken]),
        "prepare_cpu_2": Figure.of(
            f"CPU time {what}: two processes with their start over one", "1",
            [two.cpu / one.cpu for one, two in taken]),
        "prepare_one_process_s": Figure.of(
            f"wall time {what}, 1 process", "s", [one.wall for one, _ in taken]),
        "prepare_two_processes_s": Figure.of(
            f"wall time {what}, 2 processes", "s", [two.wall for _, two in taken]),
    }  # fmt: skip
