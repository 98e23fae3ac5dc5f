"""Draw jets from what a next-token pre-training has learnt; the checkpoint that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from transferline.config import Recipe
from transferline.data.batch import Batch
from transferline.errors import DataError
from transferline.learning.objectives.base import Objective
from transferline.learning.objectives.next_token import (
    NextToken,
    NextTokenObjective,
    check_features,
)
from transferline.models.checkpoint import Checkpoint
from transferline.models.features import Inputs
from transferline.models.model import ModelRecipe
from transferline.models.stored import Stored, load_exactly
from transferline.models.tokenizer_checkpoint import StoredTokenizer, TokenizerCheckpoint
from transferline.models.tokenizers.physical import relative

GENERATOR = "generator"
"""The directory inside a pre-training's that holds what generates."""


class StoredGenerator(Recipe):
    """What a generator of jets is built from."""

    model: ModelRecipe
    tokenizer: StoredTokenizer
    objective: NextToken

    def build(self) -> NextTokenObjective:
        """Return it untrained."""
        return self.objective.build_with(self.model.build(), self.tokenizer.build())


@dataclass(frozen=True)
class GeneratorCheckpoint(Stored[StoredGenerator]):
    """A loaded generator of jets."""

    recipe_type: ClassVar[type[Recipe]] = StoredGenerator

    def generator(self) -> NextTokenObjective:
        """Rebuild it with exactly these tensors; nothing of it can be trained.

        Raises:
            ConfigError: its model reads what its tokens do not tell.
        """
        made = self.recipe.build()
        load_exactly(made, self.tensors, place=self.place)
        assert made.tokenizer is not None
        check_features(made.tokenizer.features, made.model.features)
        return made.requires_grad_(False).eval()


def save_generator(
    objective: Objective, model: ModelRecipe, backbone: Checkpoint, out: Path
) -> None:
    """Write the whole objective beside the backbone's checkpoint, with what that one tells."""
    assert isinstance(objective, NextTokenObjective)
    assert objective.recipe.tokenizer is not None
    tokenizer = TokenizerCheckpoint.load(objective.recipe.tokenizer).recipe
    recipe = StoredGenerator(model=model, tokenizer=tokenizer, objective=objective.recipe)
    GeneratorCheckpoint.of(
        objective,
        recipe,
        selection=backbone.selection,
        provenance=backbone.provenance,
        card=backbone.card.replace("# A pre-trained backbone", "# A generator of jets"),
        seen=backbone.seen,
    ).save(out / GENERATOR)


def load_generator(pretraining: Path) -> GeneratorCheckpoint:
    """Load the generator of a pre-training's directory.

    Raises:
        DataError: it holds none, or it is damaged.
    """
    place = pretraining / GENERATOR
    if not place.is_dir():
        raise DataError(
            f"{place}: there is none. Pre-train with `objective: {{kind: next_token, tokenizer: "
            "DIR}`: nothing else generates jets."
        )
    return GeneratorCheckpoint.load(place)


@torch.no_grad()
def sample_codes(
    generator: NextTokenObjective, n: int, most: int, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Draw the codes of `n` jets, one particle after the other; draws from the global generator.

    Args:
        generator: what was learnt.
        n: jets.
        most: particles of a jet; longer ones end there.
        temperature: logits are divided by it; 1 is what was learnt.

    Returns:
        Codes and `is_real`, `[n, p]` each.
    """
    codes = torch.zeros(n, 0, dtype=torch.int64)
    is_real = torch.zeros(n, 0, dtype=torch.bool)
    going = torch.arange(n)
    while len(going) and codes.shape[1] < most:
        drawn = _next_codes(generator, codes[going], temperature)
        goes_on = drawn != generator.stop
        column = torch.zeros(n, 1, dtype=torch.int64)
        alive = torch.zeros(n, 1, dtype=torch.bool)
        going, drawn = going[goes_on], drawn[goes_on]
        column[going, 0], alive[going, 0] = drawn, True
        codes, is_real = torch.cat((codes, column), 1), torch.cat((is_real, alive), 1)
    return codes, is_real


def _next_codes(generator: NextTokenObjective, codes: Tensor, temperature: float) -> Tensor:
    """Draw one more code for jets that all have as many, `[n]`."""
    is_real = torch.ones_like(codes, dtype=torch.bool)
    x = generator.standing_for(codes, is_real)
    asked = torch.zeros(len(codes), codes.shape[1] + 1, dtype=torch.bool)
    asked[:, -1] = True
    logits = generator.logits(Inputs(x=x, p4=x.new_zeros(*codes.shape, 4), is_real=is_real), asked)
    return torch.multinomial((logits / temperature).softmax(-1), 1).squeeze(1)


def sample_jets(
    generator: NextTokenObjective, n: int, *, seed: int, most: int = 128, at_once: int = 512
) -> list[Batch]:
    """Return `n` generated jets of massless particles around the axis (0, 0), in batches.

    Raises:
        DataError: the tokens do not tell pT, eta and phi relative to the jet.
    """
    assert generator.tokenizer is not None
    batches = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for low in range(0, n, at_once):
            codes, is_real = sample_codes(generator, min(at_once, n - low), most)
            x = generator.tokenizer.decode(codes, is_real)
            batches.append(relative(generator.tokenizer.features, x, is_real))
    return batches
