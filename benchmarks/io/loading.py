"""The loader's share of a training step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from benchmarks.io.figures import NOTHING, Figure, Figures, Times, timed
from benchmarks.io.inputs import Sizes

from transferline.data.batch import Batch
from transferline.data.loader import Loader
from transferline.data.readers.shards import ShardSet
from transferline.learning.objectives.masked_type import MaskedType
from transferline.learning.optim import Optim
from transferline.learning.training import fit
from transferline.models.model import ModelRecipe

BACKBONE = {"kind": "transformer", "width": 96, "depth": 4, "heads": 6}
"""The backbone that ships with the package."""
BATCH = 512


class _Watched:
    """A loader that adds up how long each batch was waited for."""

    def __init__(self, loader: Loader) -> None:
        self.loader, self.spent = loader, NOTHING

    def __len__(self) -> int:
        return len(self.loader)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        found = self.loader.batches(epoch, start)
        while True:
            begin = Times.now()
            batch = next(found, None)
            self.spent += Times.now() - begin
            if batch is None:
                return
            yield batch


def measure(sizes: Sizes, shards: Path, folder: Path) -> Figures:
    """Measure `fit` with the shipped architecture in its default precision, one thread."""
    data = ShardSet(shards)
    torch.manual_seed(0)
    model = ModelRecipe(backbone=BACKBONE).build()
    model.features.fit(Loader(data, np.arange(min(len(data), 8192)), BATCH).batches(0))
    objective = MaskedType().build(model)
    optim = Optim(steps=sizes.loader_steps, batch_size=BATCH)
    shares, walls, steps = [], [], []
    for i in range(sizes.loader_rounds + 1):
        # A new epoch each time: rows are drawn from all of the file.
        watched = _Watched(Loader(data, None, BATCH, seed=i))
        out = folder / f"fit-{i}"
        taken = timed(lambda: fit(objective, watched, None, optim, out, label=None))  # noqa: B023
        if i:  # the first prepares kernels and compiles the gathering
            shares.append(watched.spent.cpu / taken.cpu)
            walls.append(watched.spent.wall / taken.wall)
            steps.append(1e3 * taken.cpu / optim.steps)
    name = "bfloat16" if optim.bfloat16(torch.device("cpu")) else "float32"
    return {
        "loader_share": Figure.of(
            f"time in the loader over that of a training, batches of {BATCH} of "
            f"{len(data)} events, masked_type, transformer 96 x 4, {name}, CPU", "1", shares),
        "loader_share_wall": Figure.of("the same in wall time", "1", walls),
        "training_step_ms": Figure.of("a whole training step, CPU", "ms", steps),
    }  # fmt: skip
