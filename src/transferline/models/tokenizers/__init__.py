"""Tokenizers: particles -> discrete codes and back; one idea per file, one row each."""

from __future__ import annotations

from transferline.models.tokenizers.base import TokenizerRecipe
from transferline.registry import Registry

TOKENIZERS: Registry[TokenizerRecipe] = Registry(
    "tokenizers",
    kmeans="transferline.models.tokenizers.kmeans:KMeans",
    vqvae="transferline.models.tokenizers.vqvae:VQVAE",
)
