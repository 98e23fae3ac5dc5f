"""What an objective is made with besides the data: tokenizers, by the hash of what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transferline.learning.objectives.base import ObjectiveRecipe
from transferline.models.seen import Seen
from transferline.models.tokenizer_checkpoint import TokenizerCheckpoint

Ingredients = Mapping[str, TokenizerCheckpoint]


def ingredients_of(objective: ObjectiveRecipe) -> Ingredients:
    """Load what the objective is made with.

    Raises:
        DataError: a directory is no tokenizer, or damaged.
    """
    return {n: TokenizerCheckpoint.load(place) for n, place in objective.ingredients().items()}


def hashes(found: Ingredients) -> dict[str, str]:
    """Return name -> hash of the tensors, for digests and provenance."""
    return {name: item.sha256 for name, item in found.items()}


def described(found: Ingredients) -> dict[str, dict[str, Any]]:
    """Return what a checkpoint tells of them."""
    return {
        name: {
            "place": item.place,
            "sha256": item.sha256,
            "recipe": item.recipe.to_dict(),
            "quality": item.provenance.get("quality", {}),
        }
        for name, item in found.items()
    }


def seen_by(found: Ingredients) -> Seen:
    """Return the events that they were made from, as those of a pre-training."""
    whole = Seen()
    for item in found.values():
        whole = whole + (item.seen or Seen()).as_pretraining()
    return whole
