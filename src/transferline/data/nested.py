"""Nested: events of jets of constituents, all jets of a batch laid end to end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from transferline.data.batch import Batch


@dataclass(frozen=True)
class Nested:
    """`n` events with `m` jets altogether.

    Attributes:
        sets: the jets as sets of constituents, `m` of them: only jets that are there, event after
            event, by falling pt as in `events`.
        parent: `[m]` int64, the event of each jet, never falling. An event that does not occur
            here has no jet, and is in `events` all the same.
        events: the events as sets of jets: their four-momenta and columns, and target, weight
            and identity. `sets` have those of their event, without the target.
    """

    sets: Batch
    parent: Tensor
    events: Batch

    def __len__(self) -> int:
        return len(self.events)

    @property
    def target(self) -> Tensor | None:
        """Of the events, `[n]`."""
        return self.events.target

    @property
    def weight(self) -> Tensor:
        """Of the events, `[n]`."""
        return self.events.weight

    def replace(self, **changes: Any) -> Nested:
        """Return a copy with some fields of its events replaced."""
        return replace(self, events=self.events.replace(**changes))

    def to(self, device: torch.device | str) -> Nested:
        """Return the batch on `device`."""
        return Nested(self.sets.to(device), self.parent.to(device), self.events.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors under names of their own."""
        found = {f"sets.{name}": tensor for name, tensor in self.sets.tensors().items()}
        found |= {f"events.{name}": tensor for name, tensor in self.events.tensors().items()}
        return {**found, "parent": self.parent}


AnyBatch = Batch | Nested
"""What loaders give and models take."""


def sets_of(batch: AnyBatch) -> Batch:
    """Return what backbones take one by one: the sets of a batch, the jets of events of jets."""
    return batch.sets if isinstance(batch, Nested) else batch
