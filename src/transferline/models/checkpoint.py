"""Checkpoint: a model as a directory that loads exactly, or raises; see `Stored`.

The selection and the task of its events stand in `config.json` beside its recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from transferline.config import Recipe
from transferline.data.card import DataCard
from transferline.errors import DataError
from transferline.models.model import Model, ModelRecipe, weight_hash
from transferline.models.seen import Seen, unlisted
from transferline.models.stored import Stored, load_exactly

__all__ = ["Checkpoint", "common_selection", "load_exactly"]

_CLASSIFIER = "classifier."  # of the pre-training; no part of the model that it left
_REDRAWN = 0x53435241  # keeps scratch apart from a pre-training of the same seed
_UNUSED = ("head.*", f"{_CLASSIFIER}*")  # by a backbone


@dataclass(frozen=True)
class Checkpoint(Stored[ModelRecipe]):
    """A loaded checkpoint: the recipe of a `Model`, tensors and all that travels with them."""

    recipe_type: ClassVar[type[Recipe]] = ModelRecipe

    def saw(self) -> Seen:
        """Return the events it was made from; where it does not list them, their samples."""
        if self.seen is not None:
            return self.seen
        return unlisted(self.provenance, self.recipe.head is not None)

    def model(self) -> Model:
        """Rebuild the model with exactly these tensors."""
        model = self.recipe.build()
        load_exactly(model, self.tensors, unused=(f"{_CLASSIFIER}*",), place=self.place)
        return model

    def with_classifier(self, weight: Tensor, bias: Tensor) -> Checkpoint:
        """Return a copy that also holds the linear classifier of its pre-training."""
        more = {f"{_CLASSIFIER}weight": weight, f"{_CLASSIFIER}bias": bias}
        more = {name: tensor.detach().cpu().clone() for name, tensor in more.items()}
        return replace(self, tensors={**self.tensors, **more})

    def classifier(self) -> tuple[Tensor, Tensor]:
        """Return weight `[c, d]` and bias `[c]` of the classifier of its pre-training.

        Raises:
            DataError: it holds none.
        """
        found = [self.tensors.get(f"{_CLASSIFIER}{name}") for name in ("weight", "bias")]
        weight, bias = found
        if weight is None or bias is None:
            raise DataError(
                f"{self.place}: holds no classifier, so jets have no score. A supervised "
                "pre-training with a head without hidden layers leaves one."
            )
        return weight, bias

    def backbone(self) -> Model:
        """Rebuild Features and backbone; a task's head, if any, is left behind."""
        model = self.recipe.model_copy(update={"head": None, "n_outputs": None}).build()
        load_exactly(model, self.tensors, unused=_UNUSED, place=self.place)
        return model

    def redrawn(self, seed: int) -> Model:
        """Rebuild with the same Features constants, the backbone's weights drawn anew.

        Architecture and preprocessing equal the pre-trained ones by construction. The weights are
        those that no pre-training of the same seed began with.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed ^ _REDRAWN)
            model = self.recipe.model_copy(update={"head": None, "n_outputs": None}).build()
        unused = ("backbone.*", *_UNUSED)
        load_exactly(model, self.tensors, fresh=("backbone.*",), unused=unused, place=self.place)
        return model

    def backbone_hash(self) -> str:
        """Hash of Features and backbone as stored, buffers included."""
        model = self.backbone()
        return weight_hash(model.features, model.backbone)


def common_selection(cards: Sequence[DataCard]) -> dict[str, Any] | None:
    """Return the selection that all samples passed, or None if they passed different ones.

    Certified blocks concern collision data only: a golden JSON that some samples lack is kept.
    """
    golden = {card.selection.get("golden_json") for card in cards} - {None}
    rest = [{**card.selection, "golden_json": None} for card in cards]
    if not rest or len(golden) > 1 or any(selection != rest[0] for selection in rest):
        return None
    return {**cards[0].selection, "golden_json": next(iter(golden), None)}
