"""How the masked particles are read off: from the encoder's own output, or by a decoder.

- `MaskToken` (BERT): a learned token stands in the place of each masked particle, all places are
  encoded, and a head reads the embeddings there (arXiv:2401.13537).
- `SetHead` with null tokens (MAE): the encoder sees the others alone; a transformer decoder, thrown
  away afterwards, gets their embeddings and a null token for each one that is missing
  (arXiv:2409.12589). That is cheaper, as most of the network sees fewer particles, and the
  published ablation's largest gain.

Masked particles are alike unless something tells them apart; what does is `positions`, a learned
vector for each rank by pT.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from transferline.models.backbones.base import Backbone
from transferline.models.backbones.positions import Positions
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Inputs, InputSpec


class MaskToken(nn.Module):
    """What stands for a masked particle in BERT: a token, or values in place of its columns."""

    def __init__(
        self, backbone: Backbone, n_features: int, kind: Literal["token", "input"]
    ) -> None:
        super().__init__()
        self.kind = kind
        size = backbone.token_width if kind == "token" else n_features
        start = 0.02 * torch.randn(size) if kind == "token" else torch.ones(size)
        self.vector = nn.Parameter(start)

    def embed(self, backbone: Backbone, inputs: Inputs, hidden: Tensor) -> Tensor:
        """Embed the particles, the masked ones replaced; `inputs` does not hold them as real.

        A backbone that knows an order adds the vector of `inputs.rank` to masked ones too.
        """
        places = hidden.unsqueeze(-1)
        if self.kind == "token":
            tokens = backbone.embed(inputs)
            mask = self.vector.to(tokens.dtype).expand_as(tokens)
            return torch.where(places, backbone.placed(mask, inputs), tokens)
        filled = torch.where(places, self.vector, inputs.x)
        return backbone.embed(replace(inputs, x=filled, is_real=inputs.is_real | hidden))


class ParticleHead(nn.Module):
    """Each embedding by itself: the rank's vector is added, then two layers."""

    def __init__(self, width: int, places: int | None) -> None:
        super().__init__()
        self.width = width
        self.positions = Positions(places, width) if places else None
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, tokens: Tensor, is_real: Tensor, rank: Tensor) -> Tensor:
        """[n, p, d] -> [n, p, d]."""
        if self.positions is not None:
            tokens = tokens + self.positions(rank)
        out: Tensor = self.layers(tokens)
        return out


class SetHead(nn.Module):
    """A transformer over all embeddings, each with its rank's vector added.

    With `null`, the embeddings of masked particles are replaced by one learned token each: so it
    is the decoder of MAE.
    """

    def __init__(self, inputs: int, size: Transformer, places: int | None, *, null: bool) -> None:
        super().__init__()
        self.width = size.width
        self.transformer = size.build(InputSpec(n_features=inputs, momenta=False))
        self.positions = Positions(places, size.width) if places else None
        self.null = nn.Parameter(0.02 * torch.randn(size.width)) if null else None

    def forward(
        self,
        tokens: Tensor,
        is_real: Tensor,
        rank: Tensor,
        hidden: Tensor | None = None,
        told: Tensor | None = None,
    ) -> Tensor:
        """[n, p, inputs] -> [n, p, d]; with `hidden`, ranks belong to the masked alone.

        `told [n, p, d]` is what else the null tokens carry.
        """
        x = self.transformer.embed(Inputs(x=tokens, p4=tokens[..., :0], is_real=is_real))
        if self.null is not None:
            assert hidden is not None
            null = self.null.to(x.dtype).expand_as(x)
            if self.positions is not None:
                null = null + self.positions(rank).to(x.dtype)
            if told is not None:
                null = null + told.to(x.dtype)
            x = torch.where(hidden.unsqueeze(-1), null, x)
        elif self.positions is not None:
            x = x + self.positions(rank).to(x.dtype)
        return self.transformer.encode(x, is_real).tokens
