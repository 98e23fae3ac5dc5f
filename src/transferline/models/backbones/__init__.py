"""Backbones: one architecture per file, one row each."""

from __future__ import annotations

from transferline.models.backbones.base import BackboneRecipe
from transferline.registry import Registry

BACKBONES: Registry[BackboneRecipe] = Registry(
    "backbones",
    transformer="transferline.models.backbones.transformer:Transformer",
)
