"""Objective: a recipe that builds a module around a Model; `forward(Batch) -> Loss`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from transferline.config import Recipe
from transferline.data.batch import Batch
from transferline.models.model import Model


@dataclass(frozen=True)
class Loss:
    """`total` is differentiated; `parts` are detached scalars for the log (loss, accuracy)."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(nn.Module, ABC):
    """A loss around a model. Its own parameters (prediction heads) are not transferred.

    Attributes:
        conceals: particle columns (`pt eta phi mass` among them) that `hidden` objects lose
            before the encoder; the conformance check alters them there and sees no difference.
        chosen_by: what of a validation tells the best weights, `loss` or a part of it, the lower
            the better. None: nothing does, as where a teacher moves the target; the last weights
            stay, and no patience ends the training.
    """

    conceals: frozenset[str] = frozenset()
    chosen_by: str | None = "loss"

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def hidden(self, batch: Batch) -> Tensor:
        """Draw the objects whose content is concealed, `[n, p]` bool; none unless overridden."""
        return torch.zeros_like(batch.is_real)

    @abstractmethod
    def forward(self, batch: Batch) -> Loss:
        """Return the loss of one batch; randomness comes from torch's global generator."""

    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Take constants of its own, such as those of targets, from training events.

        Called once, before the first step and after the Features of the model are fitted.

        Args:
            draw: gives the batches of one pass, the same ones at every call.
        """

    def after_step(self) -> None:
        """Run after each optimiser step; teachers update themselves here."""


class ObjectiveRecipe(Recipe, ABC):
    """The description of one objective; `kind` is its name in the table."""

    kind: str

    @property
    def revision(self) -> int:
        """Raised when the same settings teach something else than before: another pre-training."""
        return 1

    @property
    def needs_labels(self) -> bool:
        """Whether the events need a target, and the model a head."""
        return False

    @property
    def mixed_batches(self) -> bool:
        """Whether events of a batch are compared with each other.

        Then batches hold events of all lengths, as a batch of equally long ones would take from
        the comparison whatever the length tells; else they are sorted, which is several times
        cheaper.
        """
        return False

    @property
    def nested(self) -> bool:
        """Whether it takes events of jets, `Nested`, in place of sets."""
        return False

    @property
    def generative(self) -> bool:
        """Whether the pre-training keeps what it has learnt beside the backbone, to draw from."""
        return False

    def ingredients(self) -> dict[str, str]:
        """Directories of trained tokenizers that the objective takes, by what they are to it."""
        return {}

    def located(self, places: Mapping[str, Path]) -> Self:
        """Return it with directories in the place of the names of tokenizers that it takes."""
        return self

    @abstractmethod
    def build(self, model: Model) -> Objective:
        """Return the module around `model`."""


class TokenRecipe(ObjectiveRecipe):
    """An objective that may take one trained tokenizer.

    Attributes:
        tokenizer: its directory (`transferline tokenize`), or its name among those of the study;
            it stays as it is.
    """

    tokenizer: str | None = None

    def ingredients(self) -> dict[str, str]:
        """See `ObjectiveRecipe.ingredients`."""
        return {} if self.tokenizer is None else {"tokenizer": self.tokenizer}

    def located(self, places: Mapping[str, Path]) -> Self:
        """See `ObjectiveRecipe.located`."""
        if self.tokenizer is None or self.tokenizer not in places:
            return self
        return self.model_copy(update={"tokenizer": str(places[self.tokenizer])})
