"""Backbones: one architecture per file, one row each."""

from __future__ import annotations

from transferline.models.backbones.base import BackboneRecipe
from transferline.registry import Registry

BACKBONES: Registry[BackboneRecipe] = Registry(
    "backbones",
    deepsets="transferline.models.backbones.deepsets:DeepSets",
    gat="transferline.models.backbones.gat:GAT",
    gnn="transferline.models.backbones.gat:GNN",
    lgatr="transferline.models.backbones.lgatr:LGATr",
    part="transferline.models.backbones.part:ParT",
    transformer="transferline.models.backbones.transformer:Transformer",
)
