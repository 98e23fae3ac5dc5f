"""Supervised classification: cross-entropy of the head's outputs with the target."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch.nn import functional as F

from transferline.data.nested import AnyBatch, Nested
from transferline.errors import ConfigError, DataError
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.learning.source_labels import UNLABELLED
from transferline.models.augment import Augment
from transferline.models.model import Model


class Supervised(ObjectiveRecipe):
    r"""Weighted cross-entropy $-\frac{1}{n} \sum_i w_i \log p_{y_i}(x_i)$.

    The weights are the training weights of the Task, or of the classes of a pre-training, whose
    mean is one over all events. Over the signed weights of one batch it may come near zero, so it
    is never divided by. Events of no class (target -1) count nothing.
    """

    kind: Literal["supervised"] = "supervised"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    augment: Augment = Augment()

    @property
    def needs_labels(self) -> bool:
        """Always."""
        return True

    def build(self, model: Model) -> SupervisedObjective:
        """Return the module; `model` must have a head."""
        return SupervisedObjective(model, self)


class SupervisedObjective(Objective):
    """The module of `Supervised`."""

    def __init__(self, model: Model, recipe: Supervised) -> None:
        super().__init__(model)
        self.recipe = recipe

    def forward(self, batch: AnyBatch) -> Loss:
        """Return the cross-entropy and, for the log, the accuracy."""
        if isinstance(batch, Nested):
            self._check_augment()
        elif self.training:
            batch = self.recipe.augment(batch)
        if batch.target is None:
            raise DataError("supervised training needs labelled events; these have no target.")
        logits = self.model(batch).float()
        losses = F.cross_entropy(
            logits,
            batch.target,
            ignore_index=UNLABELLED,
            reduction="none",
            label_smoothing=self.recipe.label_smoothing if self.training else 0.0,
        )
        weight = batch.weight.to(losses)
        labelled = batch.target != UNLABELLED
        right = ((logits.argmax(-1) == batch.target) & labelled).sum()
        return Loss((weight * losses).mean(), {"accuracy": right / labelled.sum().clamp(min=1)})

    def _check_augment(self) -> None:
        """A jet turned by itself would no longer fit the jets of its event."""
        if self.recipe.augment != Augment():
            raise ConfigError("objective.augment: acts on single sets, not on events of jets.")
