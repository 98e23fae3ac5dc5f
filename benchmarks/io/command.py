"""Options, the parts in order, and what becomes of their figures."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from benchmarks.io import generation, loading, memory, preparation, report
from benchmarks.io.figures import Figures, load_average
from benchmarks.io.inputs import TINY, Sizes, sample_file, workspace

RESULTS = Path(__file__).parents[1] / "results" / "io.json"


def _memory(sizes: Sizes, sample: Path, folder: Path) -> Figures:
    return {
        **memory.preparation(sizes, sample, folder / "1", jobs=1),
        **memory.preparation(sizes, sample, folder / "2", jobs=2),
    }


def _training(sizes: Sizes, sample: Path, folder: Path) -> Figures:
    shards = memory.every_event(sizes, sample, folder)
    return {
        **loading.measure(sizes, shards[-1], folder),
        **memory.training(sizes, shards, folder),
    }


PARTS: dict[str, Callable[[Sizes, Path, Path], Figures]] = {
    "generate": generation.measure,
    "prepare": preparation.measure,
    "scaling": preparation.scaling,
    "memory": _memory,
    "training": _training,
}


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.io")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="a minute, numbers without meaning")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--file", type=Path, help="measure on this NanoAODv9 file of --sample events"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that generate the sample")
    for field in fields(Sizes):
        option = f"--{field.name.replace('_', '-')}"
        several = 2 if isinstance(field.default, tuple) else None
        parser.add_argument(option, type=int, nargs=several, help=f"default {field.default}")
    return parser.parse_args(words)


def _sizes(given: argparse.Namespace) -> Sizes:
    named = {field.name: getattr(given, field.name) for field in fields(Sizes)}
    changes = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in named.items()
        if value is not None
    }
    return replace(TINY if given.tiny else Sizes(), **changes)


def measure(sizes: Sizes, sample: Path, parts: Sequence[str]) -> tuple[Figures, dict[str, float]]:
    """Run the parts; return their figures and how long each took."""
    figures: Figures = {}
    seconds: dict[str, float] = {}
    with workspace() as folder:
        for name in parts:
            begin = time.monotonic()
            place = folder / name
            place.mkdir()
            figures |= PARTS[name](sizes, sample, place)
            seconds[name] = time.monotonic() - begin
            print(f"{name}: {seconds[name]:.0f} s", flush=True)
    return report.with_worst(figures), seconds


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the JSON file."""
    given = _arguments(words)
    sizes, before = _sizes(given), load_average()
    torch.set_num_threads(1)
    begin = time.monotonic()
    sample = (given.file or sample_file(sizes.sample, given.jobs)).resolve()
    generating = time.monotonic() - begin
    print(f"sample of {sizes.sample} events: {generating:.0f} s, {sample}")
    figures, seconds = measure(sizes, sample, given.only)
    found = report.content(figures, sizes, before, {"sample": generating, **seconds})
    report.save(found, given.out)
    print(report.table(found))
    print(f"load    {before[0]} before, {found['load_average']['after'][0]} after")
    print(f"wrote   {given.out}")
