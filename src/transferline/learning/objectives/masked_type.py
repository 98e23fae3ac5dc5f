"""Masked type: hide the species of some objects, predict the species of every object.

Source: arXiv:2312.06909 (Kishimoto, Morinaga, Saito, Tanaka) and its code: the type bits of
objects drawn with p = 0.65 are set to zero, four-vectors stay, the loss runs over all real
objects. `only_hidden` restricts the loss to the hidden ones, whose answer is not in the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.data.events import SPECIES
from transferline.errors import ConfigError
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.models.augment import Augment
from transferline.models.model import Model

_LEAKING = ("charge", "btag")  # columns that would give a hidden species away


class MaskedType(ObjectiveRecipe):
    """Predict the species of objects whose species (and charge, b-tag score) is hidden.

    Attributes:
        probability: chance of each object to be hidden, drawn anew for every batch.
        only_hidden: whether the loss runs over hidden objects only.
        hide_mass: also hide the mass, which nearly determines leptons and missing momentum.
    """

    kind: Literal["masked_type"] = "masked_type"
    probability: float = Field(0.65, ge=0, le=1)
    only_hidden: bool = False
    hide_mass: bool = True
    augment: Augment = Augment()

    def build(self, model: Model) -> MaskedTypeObjective:
        """Return the module with its per-object classifier."""
        return MaskedTypeObjective(model, self)


class MaskedTypeObjective(Objective):
    """The module of `MaskedType`: one linear classifier on every token."""

    def __init__(self, model: Model, recipe: MaskedType) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.conceals = frozenset({"species", *_LEAKING, *(["mass"] if recipe.hide_mass else [])})
        self.classifier = nn.Linear(model.backbone.width, len(SPECIES))

    def hidden(self, batch: Batch) -> Tensor:
        """Draw each real object with the recipe's probability."""
        draw = torch.rand(batch.is_real.shape, device=batch.is_real.device)
        return (draw < self.recipe.probability) & batch.is_real

    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Take none, but see that these are events."""
        check_events(draw(), self.recipe.kind)

    def forward(self, batch: Batch) -> Loss:
        """Return the mean cross-entropy per object, and the accuracy on hidden objects."""
        if self.training:
            batch = self.recipe.augment(batch)
        species = batch.columns["species"]
        hidden = self.hidden(batch)
        logits = self.classifier(
            self.model.latent(hide(batch, hidden, self.recipe.hide_mass)).tokens
        )
        counted = hidden if self.recipe.only_hidden else batch.is_real
        losses = F.cross_entropy(logits.float().transpose(1, 2), species, reduction="none")
        right = (logits.argmax(-1) == species) & hidden
        return Loss(
            total=losses[counted].sum() / counted.sum().clamp(min=1),
            parts={"accuracy": right.sum() / hidden.sum().clamp(min=1)},
        )


def check_events(batches: Iterable[Batch], kind: str) -> None:
    """Refuse jets of constituents, whose codes of species are not those of objects of events.

    Before the first step, so that no step pays for it.

    Raises:
        ConfigError: with what to take in place of the objective.
    """
    if any(bool((batch.columns["species"] >= len(SPECIES)).any()) for batch in batches):
        raise ConfigError(
            f"objective {kind}: asks for types of objects of events, and these are jets of "
            "constituents. Take `masked_particles` with `identity`, or other shards."
        )


def hide(batch: Batch, hidden: Tensor, hide_mass: bool, leaking: Sequence[str] = _LEAKING) -> Batch:
    """Return the batch with species and `leaking` columns zeroed where `hidden [n, p]`."""
    columns = dict(batch.columns)
    for name in ("species", *leaking):
        if name in columns:
            columns[name] = columns[name].masked_fill(hidden, 0)
    p4 = batch.p4
    if hide_mass:
        p4 = torch.cat((p4[..., :3], p4[..., 3:].masked_fill(hidden.unsqueeze(-1), 0)), dim=-1)
    return batch.replace(columns=columns, p4=p4)
