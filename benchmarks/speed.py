"""Speed and memory of the steps that cost time: make bench.

Prints one line per step: events per second of CPU time (so a busy machine does not matter much),
and the largest memory of the process so far. Numbers to compare with stand in benchmarks/README.md.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from transferline.data.loader import Loader
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import selection
from transferline.generate.events import generate_events
from transferline.learning.objectives.masked_type import MaskedType
from transferline.learning.optim import Optim
from transferline.models.model import ModelRecipe
from transferline.runtime import prepare_process
from transferline.testing import toy_shards

TOYS = 20_000


def report(step: str, events: int, work: Callable[[], object]) -> None:
    cpu, wall = time.process_time(), time.monotonic()
    work()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{step:44}{events / cpu:>12,.0f} /s CPU {events / wall:>12,.0f} /s {memory:>8,.0f} MB")


def generation(folder: Path, n: int) -> None:
    file = folder / "ttbar.root"
    generate_events("ttbar_1l", folder / "warm.root", n=20, seed=1, mpi=False)  # compile first
    report("generate ttbar_1l, no MPI", n, lambda: generate_events(
        "ttbar_1l", file, n=n, seed=2, mpi=False))  # fmt: skip
    reader = NanoAOD(files=[str(file)])
    report("prepare, selection l1_j4_b1", n, lambda: prepare(
        reader, selection("l1_j4_b1"), folder / "shards"))  # fmt: skip


def loading(shards: ShardSet) -> None:
    loader = Loader(shards, np.arange(len(shards)), 512, seed=0)
    report("load batches of 512", len(shards), lambda: [len(b) for b in loader.batches(0)])


def training(shards: ShardSet, width: int, depth: int) -> None:
    torch.manual_seed(0)
    backbone = {"kind": "transformer", "width": width, "depth": depth, "heads": width // 16}
    model = ModelRecipe(backbone=backbone).build()
    loader = Loader(shards, np.arange(8192), 512, seed=0)
    model.features.fit(loader.batches(0))
    objective = MaskedType().build(model).train()
    optim = Optim(steps=100)
    device = optim.torch_device()
    optimizer = optim.optimizer(objective)

    def epoch() -> None:
        for batch in loader.batches(0):
            with torch.autocast(device.type, torch.bfloat16, enabled=optim.bfloat16(device)):
                loss = objective(batch).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    parameters = sum(p.numel() for p in model.parameters())
    report(f"train masked_type, {parameters:,} parameters", 8192, epoch)


def main(n: int) -> None:
    prepare_process()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = ShardSet(toy_shards(folder / "toys", TOYS))
        loading(shards)
        training(shards, 64, 4)
        training(shards, 128, 6)
        generation(folder, n)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
