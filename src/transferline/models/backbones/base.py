"""Backbone: a recipe that builds a module from Inputs to a Latent; it knows no loss, no task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transferline.config import Recipe
from transferline.models.features import Inputs, InputSpec


@dataclass(frozen=True)
class Latent:
    """Embeddings: `tokens [n, p, d]` (zero where not real), `is_real`, `pooled [n, d]`."""

    tokens: Tensor
    is_real: Tensor
    pooled: Tensor


class Backbone(nn.Module, ABC):
    """Embeds a set of particles.

    Attributes:
        width: size d of tokens and of the pooled embedding.
        permutation_equivariant: whether permuting particles only permutes tokens.
        takes_pairs: whether `encode` uses the attention bias `pairs [n, h, p, p]`.
        takes_causal: whether `encode` can hide later particles from earlier ones.
        causal: whether `forward` does, by falling pT.
        batch_dependent: whether training mixes the events of a batch (BatchNorm).
        exportable: whether it can be written as an ONNX graph.
    """

    width: int
    permutation_equivariant: ClassVar[bool] = True
    takes_pairs: ClassVar[bool] = False
    takes_causal: ClassVar[bool] = False
    causal: bool = False
    batch_dependent: ClassVar[bool] = False
    exportable: ClassVar[bool] = True

    @property
    def token_width(self) -> int:
        """Size t of what `embed` gives; d, unless the architecture has no embedding."""
        return self.width

    @property
    def ordered(self) -> bool:
        """Whether tokens tell the place of their particle by pT."""
        return False

    @abstractmethod
    def embed(self, inputs: Inputs) -> Tensor:
        """Return one token per particle, `[n, p, t]`."""

    def placed(self, tokens: Tensor, inputs: Inputs) -> Tensor:
        """Add what an architecture that knows an order adds to the tokens `[n, p, t]`.

        Most know none and return them as they are. `embed` does it by itself; an objective that
        puts other tokens into the places of some particles does it for these.
        """
        return tokens

    @abstractmethod
    def encode(
        self,
        tokens: Tensor,
        is_real: Tensor,
        pairs: Tensor | None = None,
        causal: bool = False,
    ) -> Latent:
        """Let the tokens exchange information; masked particles must not be in `is_real`."""

    def pairs(self, inputs: Inputs) -> Tensor | None:
        """Return the attention bias that this architecture makes of four-momenta, if any.

        It is `[n, h, p, p]`, for `encode`, and zero wherever a particle is not in
        `inputs.is_real`. An objective that masks particles between `embed` and `encode` takes them
        out of `is_real` here, so that no bias tells where they were.
        """
        return None

    def attention(self, inputs: Inputs) -> list[Tensor]:
        """Return what each block attends to, `[n, p, p]`, averaged over heads.

        Entry (i, j) is the weight of particle j in what particle i receives; rows of real
        particles sum to one. Empty for architectures that show none.
        """
        return []

    def forward(self, inputs: Inputs) -> Latent:
        """Return `encode(embed(inputs))`, with the bias of `pairs`."""
        return self.encode(self.embed(inputs), inputs.is_real, self.pairs(inputs))


class BackboneRecipe(Recipe, ABC):
    """The description of one architecture; `kind` is its name in the table."""

    kind: str

    @abstractmethod
    def build(self, spec: InputSpec) -> Backbone:
        """Return a freshly initialised backbone for these inputs."""


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless the heads share the width evenly."""
    if width % heads:
        raise ValueError(f"heads ({heads}) must divide width ({width}).")


def masked_mean(tokens: Tensor, is_real: Tensor) -> Tensor:
    """Mean over the real tokens, `[n, d]`; zero for an empty set."""
    kept = torch.where(is_real.unsqueeze(-1), tokens, torch.zeros_like(tokens))
    return kept.sum(1) / is_real.sum(1, keepdim=True).clamp(min=1)
