"""Heads on events of jets: what the backbone makes of each jet, summed over the event's jets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from transferline.data.batch import MASS, Batch
from transferline.data.nested import Nested
from transferline.errors import DataError
from transferline.models.heads import Head

Representation = Literal["score", "score_and_kinematics", "embedding", "embedding_and_kinematics"]
_Sizes = tuple[Annotated[int, Field(gt=0, le=65_536)], ...]
_SOFTEST = 0.1  # GeV; keeps the logarithm of a groomed mass of zero finite
N_KINEMATICS = 5


class EventHead(Head):
    r"""Deep Sets over the jets of an event, $\rho(\sum_j \phi(x_j))$ (arXiv:1703.06114).

    The sum runs over jets that are there, so no backbone passes an empty slot, and gradients flow
    through it into the pass of each jet. As arXiv:2401.13536 has it: three layers of 128 with ReLU
    for phi, as many for rho, and no phi where `representation` is `embedding` (give `phi: []`).

    Attributes:
        kind: `deepsets`.
        representation: what a jet is to the head: the `score` of the pre-training's classifier (its
            logit), the pooled `embedding`, with or without the five numbers of `kinematics`.
        width: first maps the embedding to so many numbers, trained with the head.
        phi: sizes of the layers per jet.
        hidden: sizes of the layers of rho; `dropout` before each of them.
    """

    kind: Literal["deepsets"]
    representation: Representation = "embedding_and_kinematics"
    width: int | None = Field(None, gt=0)
    phi: _Sizes = (128, 128, 128)
    hidden: _Sizes = (128, 128, 128)

    def build(self, width: int, n_outputs: int) -> EventHeadModule:
        """Return the module `(pooled [m, width], Nested) -> [n, n_outputs]`."""
        return EventHeadModule(self, width, n_outputs)

    @property
    def has_score(self) -> bool:
        """Whether it needs the classifier of a pre-training."""
        return self.representation.startswith("score")

    @property
    def has_kinematics(self) -> bool:
        """Whether it needs four-momenta and masses of the jets."""
        return self.representation.endswith("kinematics")


class EventHeadModule(nn.Module):
    """The module of `EventHead`.

    Attributes:
        score: `[m, width] -> [m, 1]`, the logit of a classifier of two classes, if it is used.
    """

    def __init__(self, recipe: EventHead, width: int, n_outputs: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.score = nn.Linear(width, 1) if recipe.has_score else None
        size = 1 if recipe.has_score else 0
        self.reduce: nn.Module | None = None
        if recipe.representation.startswith("embedding"):
            size = recipe.width or width
            self.reduce = nn.Linear(width, size) if recipe.width else nn.Identity()
        size += N_KINEMATICS * recipe.has_kinematics
        self.phi = _layers(size, recipe.phi, 0.0)
        size = recipe.phi[-1] if recipe.phi else size
        last = recipe.hidden[-1] if recipe.hidden else size
        self.rho = nn.Sequential(
            _layers(size, recipe.hidden, recipe.dropout), nn.Linear(last, n_outputs)
        )

    def forward(self, pooled: Tensor, batch: Nested) -> Tensor:
        """Return the outputs of every event, also of those without jets, `[n, n_outputs]`."""
        jets = self.phi(self.jets(pooled, batch.events))
        summed = jets.new_zeros(len(batch), jets.shape[1]).index_add(0, batch.parent, jets)
        out: Tensor = self.rho(summed)
        return out

    def jets(self, pooled: Tensor, events: Batch) -> Tensor:
        """Return what each jet is to the head, `[m, f]`."""
        parts: list[Tensor] = []
        if self.score is not None:
            parts.append(self.score(pooled))
        if self.reduce is not None:
            parts.append(self.reduce(pooled))
        if self.recipe.has_kinematics:
            parts.append(kinematics(events).to(pooled))
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def take_score(self, weight: Tensor, bias: Tensor) -> None:
        """Take the logit of class 1 against class 0 from a linear classifier of these two."""
        assert self.score is not None  # the caller asks `recipe.has_score`
        self.score.weight.copy_(weight[1:] - weight[:1])
        self.score.bias.copy_(bias[1:] - bias[:1])


def _layers(size: int, sizes: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for after in sizes:
        layers += [nn.Dropout(dropout)] if dropout else []
        layers += [nn.Linear(size, after), nn.ReLU()]
        size = after
    return nn.Sequential(*layers)


def kinematics(events: Batch) -> Tensor:
    """Return log pt, eta, phi, log mass and log of the soft-drop mass of every jet, `[m, 5]`.

    Momenta and masses in GeV, not scaled further.

    Raises:
        DataError: the jets have no soft-drop mass.
    """
    if "sdmass" not in events.columns:
        raise DataError(
            "the head takes the soft-drop mass of jets, which these shards lack: prepare them with "
            "the column `sdmass` of the jets, or take another representation."
        )
    pt, eta, phi, mass = events.p4[events.is_real].unbind(-1)
    groomed = events.columns["sdmass"][events.is_real]
    logs = [value.clamp(min=_SOFTEST).log() for value in (pt, mass, groomed)]
    assert MASS == 3
    return torch.stack((logs[0], eta, phi, logs[1], logs[2]), dim=1)
