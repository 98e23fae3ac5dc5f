"""Batches of jets from shards: speed, padding, and memory beside what the loader states.

`make bench-jets`; two minutes, and once a few more in which jets of two classes are generated.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    from transferline.runtime import prepare_process

    prepare_process()  # before anything imports numpy or torch

import numpy as np
import torch
from benchmarks.io.figures import Figure, Figures, in_turns, load_average
from benchmarks.io.inputs import copies, forget_pages, workspace
from benchmarks.io.memory import peak
from benchmarks.io.report import Target, machine, save
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from transferline.data import shuffling
from transferline.data.loader import Loader
from transferline.data.prepare import prepare
from transferline.data.prepare_memory import prepare_memory
from transferline.data.readers.jetclass import JetClass
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import load_selection
from transferline.provenance import run_facts
from transferline.sample_generation import generated_file
from transferline.samples import Sample

if TYPE_CHECKING:
    from torch import Tensor

RESULTS = Path(__file__).parents[1] / "results" / "jets.json"
CLASSES = ("QCD", "Tbqq")
BATCH = 512
TARGETS = (
    Target("real_share", at_least=0.85),
    Target("peer_ratio", at_least=2.0),
    Target("memory_share", at_most=1.0),
    Target("prepare_share", at_most=1.0),
)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    jets: int = 1000
    copies: int = 40
    batches: int = 100
    rounds: int = 5


@contextmanager
def by_block() -> Iterator[None]:
    """Treat any data as too large for memory."""
    before = shuffling.FULL_SHUFFLE_BYTES
    shuffling.FULL_SHUFFLE_BYTES = 0
    try:
        yield
    finally:
        shuffling.FULL_SHUFFLE_BYTES = before


def shards_of(files: Sequence[Path], times: int, folder: Path) -> list[Path]:
    """Prepare each file, several times over, to a directory of its own."""
    places = []
    for i, file in enumerate(files):
        named = copies(file, times, folder / f"files-{i}")
        places.append(folder / f"shards-{i}")
        prepare(JetClass(files=named), load_selection("jets"), places[-1])
    return places


class _PerJet:
    """What one writes first: a data set of single jets, padded as they come."""

    def __init__(self, shards: ShardSet) -> None:
        self._shards = shards
        self._file = np.searchsorted(shards.file_starts, np.arange(len(shards)), "right") - 1

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, row: int) -> Tensor:
        piece = self._shards._pieces[self._file[row]]
        local = row - self._shards.file_starts[self._file[row]]
        start, stop = piece.offsets[local : local + 2]
        return torch.from_numpy(piece.values[start:stop].copy())

    def batches(self, number: int) -> None:
        """Draw so many batches with torch's loader."""
        loader = DataLoader(
            self, BATCH, shuffle=True, collate_fn=lambda jets: pad_sequence(jets, batch_first=True)
        )
        for _, _ in zip(range(number), loader, strict=False):
            pass


def speeds(shards: ShardSet, sizes: Sizes) -> Figures:
    """CPU time per batch, ours and torch's, in turns."""
    particles = BATCH * float(shards.n_particles.mean())
    epochs = iter(range(10**6))

    def draw(loader: Loader) -> Callable[[], object]:
        def work() -> None:
            for _, _ in zip(range(sizes.batches), loader.batches(next(epochs)), strict=False):
                pass

        return work

    whole = Loader(shards, None, BATCH)
    with by_block():
        blocks = Loader(shards, None, BATCH)
    peer = _PerJet(shards)
    number = min(sizes.batches, len(whole))
    works = {
        "loader": draw(whole),
        "blocks": draw(blocks),
        "peer": lambda: peer.batches(number),
    }
    taken = in_turns(works, sizes.rounds)
    ms = {name: [1e3 * t.cpu / number for t in times] for name, times in taken.items()}
    what = f"a batch of {BATCH} jets, {shards.n_particles.mean():.0f} particles each, CPU"
    pairs = zip(ms["peer"], ms["loader"], strict=True)
    return {
        "loader_ms": Figure.of(what, "ms", ms["loader"]),
        "loader_particles_per_s": Figure.of(
            "particles per CPU second", "1/s", [1e3 * particles / x for x in ms["loader"]]
        ),
        "blocks_ms": Figure.of(f"{what}, shuffled by block", "ms", ms["blocks"]),
        "peer_ms": Figure.of(
            "the same jets through torch's DataLoader jet by jet and pad_sequence", "ms", ms["peer"]
        ),
        "peer_ratio": Figure.of("torch's time over ours", "1", [a / b for a, b in pairs]),
    }


def padding(shards: ShardSet) -> Figures:
    """Share of places that hold a particle, in buckets and without."""

    def share(pool: int) -> float:
        counts = [
            (int(b.is_real.sum()), b.is_real.numel())
            for b in Loader(shards, None, BATCH, pool=pool).batches(0)
        ]
        real, places = np.array(counts).sum(0)
        return float(real / places)

    return {
        "real_share": Figure.of(
            "places that hold a particle, pool of 16 batches", "1", [share(16)]
        ),
        "real_share_plain": Figure.of("the same without buckets", "1", [share(1)]),
    }


def cold(places: Sequence[Path], sizes: Sizes) -> Figures:
    """Wall time per batch of the first batches after the pages were dropped."""
    next(Loader(ShardSet(places[0]), None, 2).batches(0))  # compiles; its map is closed again
    gc.collect()
    for place in places:
        for file in place.glob("*.arrow"):
            forget_pages(file)
    loader = Loader(ShardSet(places), None, BATCH)
    begin = time.monotonic()
    for _, _ in zip(range(sizes.batches), loader.batches(0), strict=False):
        pass
    taken = 1e3 * (time.monotonic() - begin) / min(sizes.batches, len(loader))
    return {"cold_ms": Figure.of("a batch of jets from the disk, wall time", "ms", [taken])}


_MEASURED = """
import re, sys
from transferline.runtime import prepare_process
prepare_process()
from transferline.data import shuffling
from transferline.data.loader import Loader
from transferline.data.readers.shards import ShardSet
def anonymous():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])
shards = ShardSet(sys.argv[2:])
next(Loader(ShardSet(sys.argv[2:]), None, 2).batches(0))
before = anonymous()
loader = Loader(shards, None, int(sys.argv[1]))
print(loader.memory.total, flush=True)
most = 0
for epoch in range(4):
    for batch in loader.batches(epoch):
        most = max(most, anonymous() - before)
print(most)
"""


def memory(places: Sequence[Path]) -> Figures:
    """Memory of four epochs in batches of 2048, beside what is stated before they begin."""
    command = [sys.executable, "-c", _MEASURED, "2048", *map(str, places)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    stated, measured = (int(word) / 1e6 for word in told)
    return {
        "memory_stated_mb": Figure.of("stated before it starts, batches of 2048", "MB", [stated]),
        "memory_measured_mb": Figure.of("anonymous memory in four epochs", "MB", [measured]),
        "memory_share": Figure.of("measured over stated", "1", [measured / stated]),
    }


def preparation(files: Sequence[str], out: Path) -> Figures:
    """Memory of `transferline prepare` with one process, beside what it states."""
    reader = JetClass(files=list(files))
    stated = prepare_memory([reader.source(file) for file in files], JetClass.step)
    assert stated is not None  # files on a disk have a size
    words = ["prepare", *files, "--reader", "jetclass", "--selection", "jets", "--out", str(out)]
    measured = peak([sys.executable, "-m", "transferline", *words])
    return {
        "prepare_stated_mb": Figure.of("stated by prepare", "MB", [stated / 1e6]),
        "prepare_measured_mb": Figure.of("anonymous memory of prepare", "MB", [measured]),
        "prepare_share": Figure.of("measured over stated", "1", [1e6 * measured / stated]),
    }


def measure(files: Sequence[Path], sizes: Sizes) -> Figures:
    """Measure everything on copies of these files."""
    with workspace() as folder:
        places = shards_of(files, sizes.copies, folder)
        figures = cold(places, sizes)
        shards = ShardSet(places)
        return {
            **speeds(shards, sizes),
            **padding(shards),
            **figures,
            **memory(places),
            **preparation(copies(files[0], sizes.copies, folder / "more"), folder / "once-more"),
        }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.io.jets")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--files", type=Path, nargs="+", help="JetClass files, instead of ours")
    for name, default in vars(Sizes()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args(words)
    sizes, before = Sizes(given.jets, given.copies, given.batches, given.rounds), load_average()
    torch.set_num_threads(1)
    files = given.files or [
        generated_file(Sample(jets=name, n=sizes.jets, seed=1, selection="jets"), jobs=1)
        for name in CLASSES
    ]
    figures = measure([file.resolve() for file in files], sizes)
    found = {
        "targets": [
            {"figure": t.figure, "target": t.text, "met": t.met(figures[t.figure])} for t in TARGETS
        ],
        "figures": {name: figure.to_dict() for name, figure in figures.items()},
        "sizes": vars(sizes),
        "machine": machine(),
        "load_average": {"before": before, "after": load_average()},
        **run_facts(),
    }
    save(found, given.out)
    print(json.dumps({name: figure.median for name, figure in figures.items()}, indent=1))
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
