"""Swapped objects: some objects of an event are exchanged for others of their type; tell which.

Where one object is replaced by a dummy (`replaced_object`), most of the answer can be counted. Here
numbers and types of objects stay as they are, and a jet of another event is a jet: what tells it is
how it goes with the rest, in momentum balance, masses and angles. The idea is that of replaced
tokens in language, ELECTRA (arXiv:2003.10555), with events of the same batch in the place of its
generator; nothing of the kind is published for collisions that we know of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.learning.objectives.masked_type import check_events
from transferline.models.augment import Augment
from transferline.models.model import Model


class SwappedObject(ObjectiveRecipe):
    """Tell of every object whether it belongs to its event.

    Attributes:
        probability: chance of each object to be exchanged, missing momentum among them.
    """

    kind: Literal["swapped_object"] = "swapped_object"
    probability: float = Field(0.3, gt=0, lt=1)
    augment: Augment = Augment()

    def build(self, model: Model) -> SwappedObjectObjective:
        """Return the module with its classifier on every token."""
        return SwappedObjectObjective(model, self)


class SwappedObjectObjective(Objective):
    """The module of `SwappedObject`."""

    conceals = frozenset({"pt", "eta", "phi", "mass", "charge", "btag"})

    def __init__(self, model: Model, recipe: SwappedObject) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.classifier = nn.Linear(model.backbone.width, 1)

    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Take none, but see that these are events."""
        check_events(draw(), self.recipe.kind)

    def hidden(self, batch: Batch) -> Tensor:
        """Draw the objects that are exchanged: those for which another event keeps one."""
        chance = torch.rand(batch.is_real.shape, device=batch.is_real.device)
        drawn = (chance < self.recipe.probability) & batch.is_real
        species = batch.columns["species"]
        kept = F.one_hot(species) * (batch.is_real & ~drawn).unsqueeze(-1)
        own = kept.sum(1)
        elsewhere = own.sum(0, keepdim=True) - own
        return drawn & (elsewhere.gather(1, species) > 0)

    def forward(self, batch: Batch) -> Loss:
        """Return the mean binary cross-entropy per object, and the accuracy.

        Whoever answers "none" is right in a share `1 - probability` of the objects.
        """
        if self.training:
            batch = self.recipe.augment(batch)
        hidden = self.hidden(batch)
        tokens = self.model.latent(exchanged(batch, hidden)).tokens
        logits = self.classifier(tokens).squeeze(-1).float()
        target = hidden.to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        right = ((logits > 0) == hidden) & batch.is_real
        count = batch.is_real.sum().clamp(min=1)
        return Loss((losses * batch.is_real).sum() / count, {"accuracy": right.sum() / count})


def exchanged(batch: Batch, hidden: Tensor) -> Batch:
    """Return the batch with every `hidden` object as one of its species that another event keeps.

    Each must have one, see `SwappedObjectObjective.hidden`. All columns go along.
    """
    n = len(batch)
    rows, places = hidden.nonzero(as_tuple=True)
    species = batch.columns["species"]
    key = species * n + torch.arange(n, device=species.device).unsqueeze(1)
    donors = (batch.is_real & ~hidden).flatten().nonzero().squeeze(1)
    order, by_species = key.flatten()[donors].sort(stable=True)  # and by event within each
    donors = donors[by_species]
    wanted = key[rows, places]
    first, last = (torch.searchsorted(order, (wanted // n + i) * n) for i in (0, 1))
    own, after = (torch.searchsorted(order, wanted, right=right) for right in (False, True))
    among = last - first - (after - own)
    share = torch.rand(among.shape, device=among.device, dtype=torch.float64)
    at = first + (share * among).long()
    taken = donors[at + (after - own) * (at >= own)]

    def moved(values: Tensor) -> Tensor:
        values = values.clone()
        values[rows, places] = values.flatten(0, 1)[taken]
        return values

    columns = {name: moved(values) for name, values in batch.columns.items()}
    return batch.replace(p4=moved(batch.p4), columns=columns)
