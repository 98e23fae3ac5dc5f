"""Contextual VQ-VAE: transformers around a codebook; a code depends on the whole jet.

Source: arXiv:2401.13537 and its code, which differ: four blocks of width 256 in the text, three of
width 128 in the code (the defaults here). Codes are learned as `codebook` says.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from transferline.models.backbones.transformer import Transformer
from transferline.models.features import FeatureExtractor, Inputs, InputSpec
from transferline.models.tokenizers.base import (
    MOST_CODES,
    GradientTokenizer,
    Reconstruction,
    TokenizerRecipe,
)
from transferline.models.tokenizers.codebook import Codebook, CodebookSettings, Quantised

_SIZE = Transformer(width=128, depth=3, heads=16, hidden=256, dropout=0.1)


class VQVAE(TokenizerRecipe):
    r"""Transformer, codebook, transformer: a code of a particle in its jet.

    The loss is $L_\mathrm{reco} + \alpha L_\mathrm{cmt}$.

    Attributes:
        codes: size K of the codebook.
        latent: dimension of its vectors.
        alpha: $\alpha$.
        distance: of the reconstruction in standardised features: `l1` as in the code, or `l2`.
        codebook: how codes are learned.
        encoder: transformer in front of the codebook.
        decoder: transformer behind it.
    """

    stepwise: ClassVar[bool] = True
    kind: Literal["vqvae"] = "vqvae"
    codes: int = Field(512, ge=2, le=MOST_CODES)
    latent: int = Field(16, gt=0, le=4096)
    alpha: float = Field(10.0, ge=0)
    distance: Literal["l1", "l2"] = "l1"
    codebook: CodebookSettings = CodebookSettings()
    encoder: Transformer = _SIZE
    decoder: Transformer = _SIZE

    def build(self, features: FeatureExtractor) -> VQVAETokenizer:
        """Return the module with fresh weights."""
        return VQVAETokenizer(self, features)


class VQVAETokenizer(GradientTokenizer):
    """The module of `VQVAE`."""

    contextual: ClassVar[bool] = True

    def __init__(self, recipe: VQVAE, features: FeatureExtractor) -> None:
        super().__init__()
        self.features, self.n_codes = features, recipe.codes
        self.encoder = recipe.encoder.build(features.spec)
        self.down = nn.Linear(self.encoder.width, recipe.latent)
        self.codebook = Codebook(recipe.codes, recipe.latent, recipe.codebook)
        self.decoder = recipe.decoder.build(InputSpec(n_features=recipe.latent, momenta=False))
        self.up = nn.Linear(self.decoder.width, features.spec.n_features)

    def reconstruct(self, inputs: Inputs) -> Reconstruction:
        """See `GradientTokenizer.reconstruct`."""
        quantised, codes = self._quantised(inputs)
        x = self._decoded(quantised.z, inputs.is_real)
        return Reconstruction(x, codes, quantised.commitment)

    def encode(self, inputs: Inputs) -> Tensor:
        """See `Tokenizer.encode`."""
        return self._quantised(inputs)[1]

    def decode(self, codes: Tensor, is_real: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        return self._decoded(self.codebook.codes()[codes[is_real]], is_real)

    def _quantised(self, inputs: Inputs) -> tuple[Quantised, Tensor]:
        """Of the real particles alone; and the codes on the grid, `[n, p]`."""
        quantised = self.codebook(self._latents(inputs))
        codes = torch.zeros_like(inputs.is_real, dtype=torch.int64)
        codes[inputs.is_real] = quantised.codes
        return quantised, codes

    def _latents(self, inputs: Inputs) -> Tensor:
        """Of the real particles alone, `[t, latent]`."""
        out: Tensor = self.down(self.encoder(inputs).tokens[inputs.is_real])
        return out

    def _decoded(self, z: Tensor, is_real: Tensor) -> Tensor:
        grid = z.new_zeros(*is_real.shape, z.shape[-1])
        grid[is_real] = z
        tokens = self.decoder(Inputs(x=grid, p4=grid[..., :0], is_real=is_real)).tokens
        x: Tensor = self.up(tokens)
        return x * is_real.unsqueeze(-1)
