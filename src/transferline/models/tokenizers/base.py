"""Tokenizer: a recipe that builds a module from particles to discrete codes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transferline.config import Recipe
from transferline.data.batch import Batch
from transferline.models.backbones.base import Backbone
from transferline.models.features import FeatureExtractor, Inputs

MOST_CODES = 1_048_576


class Tokenizer(nn.Module, ABC):
    """Codes of particles, in the standardised space of the Features that it carries.

    Attributes:
        features: raw columns -> `x [n, p, f]`.
        n_codes: size K of the vocabulary; codes are 0 ... K - 1.
        contextual: whether the code of a particle depends on the others of its set.
    """

    features: FeatureExtractor
    n_codes: int
    contextual: ClassVar[bool]

    @abstractmethod
    def encode(self, inputs: Inputs) -> Tensor:
        """Return the code of every particle, `[n, p]` int64; 0 where none is."""

    @abstractmethod
    def decode(self, codes: Tensor, is_real: Tensor) -> Tensor:
        """Return the standardised features `[n, p, f]` that the codes `[n, p]` stand for."""

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        """Return the code of every particle of a batch, `[n, p]`; no gradient reaches anything.

        In single precision also under autocast: codes must not depend on the machine.
        """
        with torch.autocast(batch.p4.device.type, enabled=False):
            return self.encode(self.features(batch))


class SampleTokenizer(Tokenizer):
    """A tokenizer that is made at once from a sample of particles."""

    @abstractmethod
    def fit_particles(self, x: Tensor, seed: int) -> None:
        """Take the codes from the standardised particles `[t, f]`.

        Raises:
            DataError: there are too few of them.
        """


@dataclass(frozen=True)
class Reconstruction:
    """What a tokenizer makes of its input: `x [n, p, f]`, `codes [n, p]`, `commitment []`."""

    x: Tensor
    codes: Tensor
    commitment: Tensor


class GradientTokenizer(Tokenizer):
    """A tokenizer that a training moves.

    Attributes:
        encoder: what embeds the particles of a set.
    """

    encoder: Backbone

    @abstractmethod
    def reconstruct(self, inputs: Inputs) -> Reconstruction:
        """Encode and decode, differentiably."""


class TokenizerRecipe(Recipe, ABC):
    """The description of one tokenizer; `kind` is its name in the table.

    Attributes:
        stepwise: whether it builds a `GradientTokenizer`, and has `alpha` and `distance`; else a
            `SampleTokenizer`.
    """

    stepwise: ClassVar[bool] = False
    kind: str
    codes: int

    @abstractmethod
    def build(self, features: FeatureExtractor) -> Tokenizer:
        """Return the module, its codes not yet taken from any particles."""
