"""Replaced object: one object of the event is replaced by a dummy; tell which type it was.

Source: Kishimoto, "A study of foundation models for event classification in collider physics"
(ISGC 2025, PoS 488, 001): five answers, lepton, b-jet, light jet, missing momentum, or no
dummy. What the authors left open is a named switch here: how the object to be replaced is
drawn, how often none is, and what stands in its place.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.data.events import SPECIES
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.models.augment import Augment
from transferline.models.backbones.base import masked_mean
from transferline.models.model import Model

NONE, LEPTON, BJET, JET, MET = range(5)
CLASSES = ("none", "lepton", "bjet", "jet", "met")

_CLASS_OF_SPECIES = {
    "electron": LEPTON,
    "muon": LEPTON,
    "tau": LEPTON,  # the deck lists tau as replaceable but gives it no class of its own
    "bjet": BJET,
    "jet": JET,
    "met": MET,
}


class ReplacedObject(ObjectiveRecipe):
    """Predict the type of the replaced object, or that none was replaced.

    Attributes:
        probability: chance that an event has an object replaced.
        draw: `type` draws a class among those present first, `object` draws any object.
        dummy: `token`, a learned vector in the object's place; `removed`, nothing in its place,
            so that "none" must be told from the kinematics of the rest.
        head: hidden size of the classifier on the pooled embedding, 0 for a linear one.
    """

    kind: Literal["replaced_object"] = "replaced_object"
    probability: float = Field(0.8, ge=0, le=1)
    draw: Literal["type", "object"] = "type"
    dummy: Literal["token", "removed"] = "token"
    head: int = Field(0, ge=0)
    augment: Augment = Augment()

    def build(self, model: Model) -> ReplacedObjectObjective:
        """Return the module with its dummy and its five-way classifier."""
        return ReplacedObjectObjective(model, self)


class ReplacedObjectObjective(Objective):
    """The module of `ReplacedObject`."""

    class_of_species: Tensor
    conceals = frozenset({"pt", "eta", "phi", "mass", "species", "charge", "btag"})

    def __init__(self, model: Model, recipe: ReplacedObject) -> None:
        super().__init__(model)
        self.recipe = recipe
        width = model.backbone.width
        self.dummy: nn.Parameter | None = None
        if recipe.dummy == "token":
            self.dummy = nn.Parameter(0.02 * torch.randn(model.backbone.token_width))
        hidden = recipe.head
        self.classifier: nn.Module = nn.Linear(width, len(CLASSES))
        if hidden:
            self.classifier = nn.Sequential(
                nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, len(CLASSES))
            )
        table = torch.full((len(SPECIES),), -1)
        for name, index in _CLASS_OF_SPECIES.items():
            table[SPECIES[name]] = index
        self.register_buffer("class_of_species", table)

    def forward(self, batch: Batch) -> Loss:
        """Return the five-way cross-entropy and the accuracy."""
        if self.training:
            batch = self.recipe.augment(batch)
        classes = self._classes(batch)
        chosen = self.hidden(batch)
        replaced = chosen.any(1)
        picked = (classes * chosen).sum(1)
        target = torch.where(replaced, picked, torch.full_like(picked, NONE))
        logits = self.classifier(self._pooled(batch, chosen)).float()
        accuracy = (logits.argmax(-1) == target).float().mean()
        return Loss(F.cross_entropy(logits, target), {"accuracy": accuracy})

    def _classes(self, batch: Batch) -> Tensor:
        """The class of every object, `[n, p]`; -1 where nothing can be replaced."""
        classes = self.class_of_species[batch.columns["species"]]
        return classes.masked_fill(~batch.is_real, -1)

    def hidden(self, batch: Batch) -> Tensor:
        """Draw at most one object per event."""
        classes = self._classes(batch)
        key = torch.rand(classes.shape, device=classes.device)
        key = key.masked_fill(classes < 0, -1.0)
        if self.recipe.draw == "type":
            key = key.masked_fill(classes != _draw_class(classes).unsqueeze(1), -1.0)
        best, place = key.max(dim=1)
        take = torch.rand(len(classes), device=classes.device) < self.recipe.probability
        take = take & (best >= 0)
        chosen = F.one_hot(place, classes.shape[1]).bool()
        return chosen & take.unsqueeze(1)

    def _pooled(self, batch: Batch, chosen: Tensor) -> Tensor:
        """Embed, put the dummy in, encode; the replaced object never reaches the encoder."""
        tokens = self.model.backbone.embed(self.model.features(batch))
        if self.dummy is not None:
            dummy = self.dummy.to(tokens.dtype)
            tokens = torch.where(chosen.unsqueeze(-1), dummy, tokens)
            return self.model.backbone.encode(tokens, batch.is_real).pooled
        latent = self.model.backbone.encode(tokens, batch.is_real & ~chosen)
        return masked_mean(latent.tokens, latent.is_real)


def _draw_class(classes: Tensor) -> Tensor:
    """Draw one class uniformly among those present in each event, `[n]`; -1 if there is none."""
    kinds = torch.arange(1, len(CLASSES), device=classes.device)
    present = (classes.unsqueeze(-1) == kinds).any(1)
    key = torch.rand(present.shape, device=classes.device).masked_fill(~present, -1.0)
    best, place = key.max(dim=1)
    return torch.where(best >= 0, kinds[place], torch.full_like(place, -1))
