"""Frozen backbones: each event is embedded once, then only the head sees it again."""

from __future__ import annotations

from collections.abc import Callable

import torch
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


class EmbeddedShards(ShardSet):
    """The events of a `ShardSet`, each gathered as its embedding alone.

    A `Loader` over it gives the batches, in the order, that it gives over the events.
    """

    def __init__(self, shards: ShardSet, table: EventTable) -> None:
        super().__init__(shards.paths)
        self._table = table

    def gather(self, rows: Rows, width: int | None = None) -> Batch:
        """Return the embeddings `[b, d]` of the events `rows` in the context, and no particle."""
        n = len(rows)
        return Batch(
            p4=torch.zeros(n, 0, 4),
            is_real=torch.zeros(n, 0, dtype=torch.bool),
            weight=torch.from_numpy(self.weight[rows]).float(),
            id=torch.zeros(n, 3, dtype=torch.int64),
            context={"embedding": self._table(rows)},
        )
