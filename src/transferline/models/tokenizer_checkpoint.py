"""A trained tokenizer as a directory of its own, with its Features; see `Stored`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from transferline.config import Recipe, one_of
from transferline.models.features import Features
from transferline.models.stored import Stored, load_exactly
from transferline.models.tokenizers import TOKENIZERS
from transferline.models.tokenizers.base import Tokenizer


class StoredTokenizer(Recipe):
    """What a tokenizer is built from."""

    features: Features
    tokenizer: one_of(TOKENIZERS)  # type: ignore[valid-type]  # a registry-driven field type

    def build(self) -> Tokenizer:
        """Return it untrained, its weights drawn from torch's global generator."""
        made: Tokenizer = self.tokenizer.build(self.features.build())
        return made


@dataclass(frozen=True)
class TokenizerCheckpoint(Stored[StoredTokenizer]):
    """A loaded checkpoint of a tokenizer."""

    recipe_type: ClassVar[type[Recipe]] = StoredTokenizer

    def tokenizer(self) -> Tokenizer:
        """Rebuild the tokenizer with exactly these tensors; nothing of it can be trained."""
        made = self.recipe.build()
        load_exactly(made, self.tensors, place=self.place)
        return made.requires_grad_(False).eval()
