r"""Deep Sets: what each particle says, summed, is all that a set is known by.

$O = F\big(\sum_i \Phi(p_i)\big)$: the particle flow network of arXiv:1810.05165 (Komiske, Metodiev,
Thaler), after arXiv:1703.06114. Its sibling, the energy flow network
$O = F\big(\sum_i z_i\, \Phi(\hat p_i)\big)$ with $z_i = p_{T,i} / \sum_j p_{T,j}$, does not change
when a particle splits collinearly or radiates softly.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from transferline.data.batch import PT
from transferline.models.backbones.base import Backbone, BackboneRecipe, Latent
from transferline.models.features import Inputs, InputSpec

_Sizes = Annotated[
    tuple[Annotated[int, Field(gt=0, le=65_536)], ...], Field(min_length=1, max_length=1000)
]


class DeepSets(BackboneRecipe):
    r"""One network for each particle, one for their sum; the defaults are the published sizes.

    Attributes:
        particle: sizes of the layers of $\Phi$.
        whole: sizes of the layers of F; the last one is the width of the embedding.
        pooling: `sum` counts particles, as published; `mean` does not; `momentum` weighs each
            with its share of the transverse momentum. That is the energy flow network if the
            features are directions alone (`delta_eta`, `delta_phi`).
        dropout: after each layer of F.
    """

    kind: Literal["deepsets"] = "deepsets"
    particle: _Sizes = (100, 100, 256)
    whole: _Sizes = (100, 100, 100)
    pooling: Literal["sum", "mean", "momentum"] = "sum"
    dropout: float = Field(0.0, ge=0, lt=1)

    @classmethod
    def example(cls) -> Self:
        """Return a size for a CPU; with the 17 features of jets it has 68,352 parameters."""
        return cls(particle=(128, 128, 128), whole=(128, 128))

    def build(self, spec: InputSpec) -> DeepSetsBackbone:
        """Return the module."""
        return DeepSetsBackbone(self, spec)


def _layers(inputs: int, sizes: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Linear and ReLU for each size."""
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *sizes)):
        layers += [nn.Linear(before, after), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers)


class DeepSetsBackbone(Backbone):
    r"""The module of `DeepSets`.

    The token of a particle, for objectives that ask for one, is its own $\Phi$ beside what the set
    is: their sum, brought to the same size by a linear map if the recipe gives them two sizes.
    """

    def __init__(self, recipe: DeepSets, spec: InputSpec) -> None:
        super().__init__()
        own, self.width = recipe.particle[-1], recipe.whole[-1]
        self.pooling = recipe.pooling
        self.embedding = _layers(spec.n_features, recipe.particle, 0.0)
        self.whole = _layers(own, recipe.whole, recipe.dropout)
        self.resized = nn.Identity() if own == self.width else nn.Linear(own, self.width)
        self._own_width = own

    @property
    def token_width(self) -> int:
        """See `Backbone.token_width`; with `momentum` the pt travels along as the last one."""
        return self._own_width + (self.pooling == "momentum")

    def embed(self, inputs: Inputs) -> Tensor:
        r"""Return $\Phi$ of each particle, `[n, p, t]`."""
        tokens: Tensor = self.embedding(inputs.x)
        if self.pooling != "momentum":
            return tokens
        return torch.cat((tokens.float(), inputs.p4[..., PT : PT + 1].float()), dim=-1)

    def encode(
        self,
        tokens: Tensor,
        is_real: Tensor,
        pairs: Tensor | None = None,
        causal: bool = False,
    ) -> Latent:
        """Sum, and apply F to the sum."""
        own = tokens[..., : self._own_width]
        shares = self._shares(tokens, is_real).unsqueeze(-1)
        # In float32: of a hundred summands bfloat16 keeps two digits.
        kept = torch.where(is_real.unsqueeze(-1), own.float(), 0.0)
        pooled: Tensor = self.whole((shares * kept).sum(1)).float()
        both = self.resized(own).float() + pooled.unsqueeze(1)
        return Latent(torch.where(is_real.unsqueeze(-1), both, 0.0), is_real, pooled)

    def _shares(self, tokens: Tensor, is_real: Tensor) -> Tensor:
        """What each particle counts in the sum, `[n, p]`; 0 where it is not real."""
        real = is_real.float()
        if self.pooling == "sum":
            return real
        if self.pooling == "mean":
            return real / real.sum(1, keepdim=True).clamp(min=1)
        # A token that an objective put in the place of a hidden particle may say anything.
        pt = torch.where(is_real, tokens[..., -1].float().clamp(min=0), 0.0)
        return pt / pt.sum(1, keepdim=True).clamp(min=1e-8)
