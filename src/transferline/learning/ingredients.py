"""What a pre-training is made with besides the data, by the hash of what it is.

Tokenizers of the objective, and the checkpoint whose weights it begins with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transferline.errors import ConfigError
from transferline.learning.objectives.base import ObjectiveRecipe
from transferline.learning.source_costs import cost_facts
from transferline.models.checkpoint import Checkpoint
from transferline.models.model import Model, ModelRecipe
from transferline.models.seen import Seen
from transferline.models.shipped import resolve_checkpoint
from transferline.models.tokenizer_checkpoint import TokenizerCheckpoint

START = "start"
Ingredients = Mapping[str, TokenizerCheckpoint | Checkpoint]


def ingredients_of(objective: ObjectiveRecipe, start: str | None = None) -> Ingredients:
    """Load what the objective is made with and, as `start`, what the weights begin with.

    Raises:
        DataError: a directory is no tokenizer or no checkpoint, or damaged.
    """
    made: dict[str, TokenizerCheckpoint | Checkpoint] = {
        name: TokenizerCheckpoint.load(place) for name, place in objective.ingredients().items()
    }
    if start is not None:
        made[START] = Checkpoint.load(resolve_checkpoint(start))
    return made


def begin(model: Model, recipe: ModelRecipe, found: Ingredients) -> bool:
    """Give a model the Features and the backbone of its start; tell whether there is one.

    Raises:
        ConfigError: the start has other Features or another backbone than `recipe`.
    """
    start = found.get(START)
    if not isinstance(start, Checkpoint):
        return False
    for part in ("features", "backbone"):
        if getattr(start.recipe, part) != getattr(recipe, part):
            raise ConfigError(
                f"start: {start.place} has other {part} than this pre-training; take the same."
            )
    source = start.backbone()
    model.features.load_state_dict(source.features.state_dict())
    model.backbone.load_state_dict(source.backbone.state_dict())
    return True


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
            "cost": cost_facts(item.provenance),
        }
        for name, item in found.items()
    }


def seen_by(found: Ingredients) -> Seen:
    """Return the events that they were made from, as those of a pre-training."""
    whole = Seen()
    for item in found.values():
        seen = item.saw() if isinstance(item, Checkpoint) else item.seen or Seen()
        whole = whole + seen.as_pretraining()
    return whole
