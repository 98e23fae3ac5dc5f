"""Frozen backbones: each event is embedded once, then only the head sees it again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferline.data.batch import Batch
from transferline.data.readers.shards import ShardSet
from transferline.learning.optim import Optim
from transferline.learning.per_event import EventTable
from transferline.learning.tasks.subsets import Rows
from transferline.models.backbones.base import Latent
from transferline.models.model import Model


class ProbedModel(Model):
    """A Model whose embeddings come with the batch; Features and backbone are idle but there."""

    def latent(self, batch: Batch) -> Latent:
        """Return the embeddings in the batch's context."""
        pooled = batch.context["embedding"]
        return Latent(tokens=pooled[:, None, :0], is_real=batch.is_real, pooled=pooled)


def embedder(model: Model, optim: Optim) -> Callable[[ShardSet, Rows], Tensor]:
    """Return a function from events to their pooled embeddings `[n, d]`, as training sees them."""
    return _inference(lambda batch: model.latent(batch).pooled, model, optim)


def scorer(model: Model, optim: Optim) -> Callable[[ShardSet, Rows], Tensor]:
    """Return a function from events to the outputs of the head `[n, n_outputs]`."""
    return _inference(model, model, optim)


def _inference(
    function: Callable[[Batch], Tensor], model: Model, optim: Optim
) -> Callable[[ShardSet, Rows], Tensor]:
    device = optim.torch_device()
    bfloat16 = optim.bfloat16(device)

    def run(shards: ShardSet, rows: Rows) -> Tensor:
        model.to(device).eval()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            out: Tensor = function(shards.gather(rows).to(device))
        return out.float().cpu()

    return run


class EmbeddedBatches:
    """Batches of embeddings `[n, d]` with targets and weights, shuffled anew in every epoch.

    Args:
        table: embeddings by row.
        rows: what to go through.
        batch_size: events per batch; the last one may be smaller when not shuffled.
        target, weight: by row of the data set.
        seed: of the order; None keeps the order of `rows`.
    """

    def __init__(
        self,
        table: EventTable,
        rows: Rows,
        batch_size: int,
        *,
        target: NDArray[np.int64],
        weight: NDArray[np.float64],
        seed: int | None,
    ) -> None:
        self._embedding = table(rows)
        self._target = torch.from_numpy(target[rows])
        self._weight = torch.from_numpy(weight[rows]).float()
        self._size, self._seed = batch_size, seed

    def __len__(self) -> int:
        if self._seed is None:
            return math.ceil(len(self._target) / self._size)
        return max(1, len(self._target) // self._size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on."""
        n = len(self._target)
        order = np.arange(n)
        if self._seed is not None:
            order = np.random.default_rng([self._seed, epoch]).permutation(n)
        for i in range(start, len(self)):
            yield self._batch(torch.from_numpy(order[i * self._size : (i + 1) * self._size]))

    def _batch(self, places: Tensor) -> Batch:
        n = len(places)
        return Batch(
            p4=torch.zeros(n, 0, 4),
            is_real=torch.zeros(n, 0, dtype=torch.bool),
            weight=self._weight[places],
            id=torch.zeros(n, 3, dtype=torch.int64),
            context={"embedding": self._embedding[places]},
            target=self._target[places],
        )
