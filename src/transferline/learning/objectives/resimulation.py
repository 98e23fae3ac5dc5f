r"""Resimulation: jets of one hard process, showered and detected twice, belong together.

Source: arXiv:2403.07066 (RS3L). What the generator draws anew (shower, hadrons, detector) is what
a tagger should not care about; no symmetry has to be known by name. The loss is that of
`contrastive`, whose views are computed from one jet.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from transferline.data.nested import AnyBatch, Nested
from transferline.errors import DataError
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.learning.objectives.contrastive import nt_xent, projector
from transferline.models.model import Model


class Resimulation(ObjectiveRecipe):
    """Find the jet of the same hard process, among samples of `generate jets --replicas 2`.

    Attributes:
        temperature: tau of the loss of `contrastive`.
        hidden, projection: sizes of the network between embedding and loss, which is thrown away.
    """

    kind: Literal["resimulation"] = "resimulation"
    temperature: float = Field(0.1, gt=0)
    hidden: int = Field(256, gt=0, le=65_536)
    projection: int = Field(128, gt=0, le=65_536)

    @classmethod
    def example(cls) -> Self:
        """Return a small instance."""
        return cls(hidden=32, projection=16)

    @property
    def nested(self) -> bool:
        """Its events are hard processes, their jets the replicas."""
        return True

    @property
    def mixed_batches(self) -> bool:
        """Hard processes are told apart, whatever the number of their particles."""
        return True

    def build(self, model: Model) -> ResimulationObjective:
        """Return the module with its projection."""
        return ResimulationObjective(model, self)


class ResimulationObjective(Objective):
    """The module of `Resimulation`. It hides nothing."""

    def __init__(self, model: Model, recipe: Resimulation) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.projector = projector(model.backbone.width, recipe.hidden, recipe.projection)

    def forward(self, batch: AnyBatch) -> Loss:
        """Return the loss, and how often the other replica is the nearest of all.

        Events with fewer than two jets do not count.

        Raises:
            DataError: the batch holds sets of their own, no events of jets.
        """
        if not isinstance(batch, Nested):
            raise DataError("resimulation needs events of replicas; these are sets of their own.")
        z = self.projector(self.model.pooled(batch))
        first, second = two_of_each(batch)
        if not len(first):
            nothing = z.sum() * 0.0
            return Loss(nothing, {"accuracy": nothing.detach()})
        return nt_xent(torch.cat([z[first], z[second]]), self.recipe.temperature)


def two_of_each(batch: Nested) -> tuple[Tensor, Tensor]:
    """Draw two different jets of every event that has so many; their places among all jets.

    Jets of an event come by falling pt: drawing makes both alike. Randomness is torch's.
    """
    parent = batch.parent
    draw = torch.rand(len(parent), dtype=torch.float64, device=parent.device)
    order = torch.argsort(parent + draw)  # within each event at random
    counts = torch.bincount(parent, minlength=len(batch))
    first = (counts.cumsum(0) - counts)[counts > 1]
    return order[first], order[first + 1]
