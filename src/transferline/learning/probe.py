"""Frozen backbones: each event, or jet, is embedded once, then only the head sees it again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from transferline.data.batch import Batch
from transferline.data.nested import AnyBatch, Nested
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.data.readers.shards import ShardSet
from transferline.learning.optim import Optim
from transferline.learning.per_event import EventTable
from transferline.learning.tasks.subsets import Rows
from transferline.models.backbones.base import Latent
from transferline.models.model import Model

_EVENTS = 256  # of jets, in one pass: each has several, whose constituents meet in pairs
_FLAT = 1e-2  # of the largest spread: several times the rounding of bfloat16


class ProbedModel(Model):
    """A Model whose embeddings come with the batch; Features and backbone are idle but there.

    A `Head`, not one of events of jets, meets them with mean 0 and spread 1 once `standardise` was
    called: directions in which embeddings hardly differ, or are far from zero, would else take it
    thousands of steps. `fold` puts that into its first layer.
    """

    _scale: tuple[Tensor, Tensor] | None = None

    def latent(self, batch: Batch) -> Latent:
        """Return the embeddings in the batch's context."""
        pooled = batch.context["embedding"]
        if self._scale is not None:
            mean, spread = self._scale
            pooled = (pooled - mean.to(pooled)) / spread.to(pooled)
        return Latent(tokens=pooled[:, None, :0], is_real=batch.is_real, pooled=pooled)

    def standardise(self, draw: Callable[[], Tensor]) -> None:
        """Take mean and spread from the embeddings `draw() [n, d]`, if the head is of that kind."""
        if self._first() is None or len(embeddings := draw()) < 2:
            return
        spread = embeddings.std(0)
        # What all events have in common, but for rounding, tells nothing and is not blown up.
        floor = (_FLAT * spread.max()).clamp(min=torch.finfo(spread.dtype).tiny)
        self._scale = (embeddings.mean(0), spread.clamp(min=floor))

    @torch.no_grad()
    def fold(self) -> None:
        """Make the head one of plain embeddings: W/s for W, b - W m/s for b."""
        first = self._first()
        if self._scale is None or first is None:
            return
        mean, spread = (part.to(first.weight) for part in self._scale)
        first.weight.div_(spread)
        first.bias.sub_(first.weight @ mean)
        self._scale = None

    def _first(self) -> nn.Linear | None:
        """The head's first layer, if it reads embeddings and nothing else."""
        layers = self.head if isinstance(self.head, nn.Sequential) else ()
        return next((layer for layer in layers if isinstance(layer, nn.Linear)), None)


def embedder(model: Model, optim: Optim) -> Callable[[ShardSet, Rows], Tensor]:
    """Return a function from events to their pooled embeddings `[n, d]`, as training sees them.

    Of events of jets: those of their jets one after the other, zero where there is none,
    `[n, jets * d]` with the largest number of jets that an event of the shards has.
    """
    run = _inference(model.pooled, model, optim)

    def embed(shards: ShardSet, rows: Rows) -> Tensor:
        if not isinstance(shards, NestedShardSet):
            return run(shards, rows)
        order = np.argsort(shards.lengths[rows], kind="stable")
        there = _there(shards, rows[order])
        table = torch.zeros(*there.shape, model.backbone.width)
        table[there] = run(shards, rows[order])
        back = torch.empty_like(table)
        back[torch.from_numpy(order)] = table
        return back.flatten(1)

    return embed


def _there(shards: ShardSet, rows: Rows) -> Tensor:
    """Which of the places for jets an event fills, `[n, jets]`."""
    places = torch.arange(max(int(shards.n_particles.max(initial=1)), 1))
    return places < torch.from_numpy(shards.n_particles[rows])[:, None]


def scorer(model: Model, optim: Optim) -> Callable[[ShardSet, Rows], Tensor]:
    """Return a function from events to the outputs of the head `[n, n_outputs]`."""
    return _inference(model, model, optim)


def _inference(
    function: Callable[[AnyBatch], Tensor], model: Model, optim: Optim
) -> Callable[[ShardSet, Rows], Tensor]:
    device = optim.torch_device()
    bfloat16 = optim.bfloat16(device)

    def run(shards: ShardSet, rows: Rows) -> Tensor:
        model.to(device).eval()
        parts = [rows]
        if isinstance(shards, NestedShardSet):
            parts = np.array_split(rows, max(1, -(-len(rows) // _EVENTS)))
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            found = [function(shards.gather(part).to(device)).float().cpu() for part in parts]
        return found[0] if len(found) == 1 else torch.cat(found)

    return run


def embedded(shards: ShardSet, table: EventTable) -> ShardSet:
    """Return the same events, each gathered as its embedding (or its jets') alone.

    A `Loader` over it gives the batches, in the order, that it gives over the events.
    """
    if isinstance(shards, NestedShardSet):
        return EmbeddedNestedShards(shards, table)
    return EmbeddedShards(shards, table)


class EmbeddedShards(ShardSet):
    """The events of a `ShardSet`, each gathered as its embedding alone."""

    def __init__(self, shards: ShardSet, table: EventTable) -> None:
        super().__init__(shards.paths)
        self._table = table

    def gather(self, rows: Rows, width: int | None = None) -> Batch:
        """Return the embeddings `[b, d]` of the events `rows` in the context, and no particle."""
        weight = torch.from_numpy(self.weight[rows]).float()
        return _bare(self._table(rows), weight, torch.zeros(len(rows), 3, dtype=torch.int64))


class EmbeddedNestedShards(NestedShardSet):
    """Events of jets, the jets gathered as their embeddings alone, the events as ever."""

    def __init__(self, shards: NestedShardSet, table: EventTable) -> None:
        super().__init__(shards.paths)
        self._table = table

    def gather(self, rows: Rows, width: int | None = None) -> Nested:  # type: ignore[override]
        """Return the events `rows` with the embeddings `[m, d]` of their jets."""
        events, there = ShardSet.gather(self, rows), _there(self, rows)
        table = self._table(rows)
        jets = table.reshape(*there.shape, -1)[there]
        parent = torch.nonzero(there)[:, 0]
        return Nested(
            sets=_bare(jets, events.weight[parent], events.id[parent]),
            parent=parent,
            events=events,
        )


def _bare(embedding: Tensor, weight: Tensor, identity: Tensor) -> Batch:
    """A batch of no particle, with embeddings in its context."""
    n = len(embedding)
    return Batch(
        p4=torch.zeros(n, 0, 4),
        is_real=torch.zeros(n, 0, dtype=torch.bool),
        weight=weight,
        id=identity,
        context={"embedding": embedding},
    )
