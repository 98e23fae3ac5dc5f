"""Particle Transformer: pairs of particles bias the attention, a class token reads the set.

Source: arXiv:2202.03772 (Qu, Li, Qian) and its code. With the defaults, 17 inputs and a linear
head of ten classes it has the published 2.14 million parameters (2,143,486). Unlike in that code,
padding never enters the statistics of a BatchNorm; in evaluation both compute the same.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.compilation import has_fused_multiply_add
from transferline.config import added
from transferline.models.backbones.base import (
    Backbone,
    BackboneRecipe,
    Latent,
    check_heads,
    masked_mean,
)
from transferline.models.backbones.gat import Nodes
from transferline.models.backbones.kernels.biased_attention import Sets
from transferline.models.backbones.kernels.lanes import LANES
from transferline.models.backbones.kernels.pair_tables import grid_tables
from transferline.models.backbones.kernels.rows_linear import rows_linear
from transferline.models.backbones.part_block import PartBlock, after_norm, hiding
from transferline.models.backbones.part_pairs import PairEmbedding
from transferline.models.backbones.real_norm import RealNorm
from transferline.models.features import Inputs, InputSpec

_Size = Annotated[int, Field(gt=0, le=65_536)]


class ParT(BackboneRecipe):
    """Encoder with attention biased by pairs, then class attention.

    Attributes:
        embed: sizes of the layers that embed a particle; the last one is the token size d.
        pair_embed: hidden sizes of the network from the four features of a pair to one bias per
            head.
        depth: blocks in which particles attend to particles.
        class_depth: blocks in which the class token attends to particles; they have no dropout.
        heads: attention heads; must divide d.
        expansion: feed-forward size in units of d.
        dropout: in the blocks of particles.
        pair_activation: whether the last layer of the pairs' network ends with a GELU, as in the
            published models; without it is what weaver-core does unless told otherwise
            (`use_pre_activation_pair`).
        pair_mass: masses and rapidities, `stable`, or `published` for weights that learnt with the
            rounding of weaver-core (see `pair_features`); exported graphs cannot repeat that.
        pooling: how a set is read, by the `class` token, as published, or as the `mean` of its
            particles, for pre-trainings that ask about particles alone: they leave a class token
            and its blocks as they were drawn, and everything that reads sets would read through
            them.
    """

    kind: Literal["part"] = "part"
    embed: tuple[_Size, ...] = Field((128, 512, 128), min_length=1)
    pair_embed: tuple[_Size, ...] = (64, 64, 64)
    depth: int = Field(8, gt=0, le=1000)
    class_depth: int = Field(2, gt=0, le=1000)
    heads: int = Field(8, gt=0, le=1024)
    expansion: int = Field(4, gt=0, le=64)
    dropout: float = Field(0.1, ge=0, lt=1)
    pair_activation: bool = True
    pair_mass: Literal["stable", "published"] = "stable"
    pooling: Literal["class", "mean"] = added("class")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_heads(self.embed[-1], self.heads)
        return self

    @classmethod
    def example(cls) -> Self:
        """Return a size for a CPU: 60 thousand parameters."""
        return cls(embed=(32, 64, 32), pair_embed=(16, 16), depth=3, class_depth=1, heads=4)

    def build(self, spec: InputSpec) -> ParTBackbone:
        """Return the module."""
        return ParTBackbone(self, spec)


class _Embedding(nn.Module):
    """BatchNorm, then LayerNorm, Linear and GELU for each size; particle by particle."""

    def __init__(self, inputs: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = RealNorm(inputs)
        layers: list[nn.Module] = []
        for before, after in pairwise((inputs, *sizes)):
            layers += [nn.LayerNorm(before), nn.Linear(before, after), nn.GELU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: Tensor, fused: bool = False) -> Tensor:
        """[t, f] -> [t, d]."""
        rows = self.norm(rows)
        if not fused:
            out: Tensor = self.layers(rows)
            return out
        norms, linears = list(self.layers)[0::3], list(self.layers)[1::3]
        rows = linears[0](norms[0](rows))
        for norm, linear in zip(norms[1:], linears[1:], strict=True):
            assert isinstance(norm, nn.LayerNorm)
            assert isinstance(linear, nn.Linear)
            rows = rows_linear(rows, *after_norm(linear, norm), "gelu_norm")
        return F.gelu(rows)


class ParTBackbone(Backbone):
    """The module of `ParT`.

    Tokens and pooled embedding pass the same last LayerNorm, as weaver-core does it for
    segmentation and classification.
    """

    takes_pairs: ClassVar[bool] = True
    batch_dependent: ClassVar[bool] = True

    def __init__(self, recipe: ParT, spec: InputSpec) -> None:
        super().__init__()
        width = recipe.embed[-1]
        sizes = width, recipe.heads, recipe.expansion * width
        self.width, self.heads = width, recipe.heads
        self.packed = self.fused = True
        channels = (*recipe.embed, sizes[-1], width // recipe.heads)
        self._even = all(size % LANES == 0 for size in channels)
        self.embedding = _Embedding(spec.n_features, recipe.embed)
        self.pair_embedding = PairEmbedding(
            (*recipe.pair_embed, recipe.heads),
            recipe.pair_activation,
            recipe.pair_mass == "published",
        )
        self.blocks = nn.ModuleList(PartBlock(*sizes, recipe.dropout) for _ in range(recipe.depth))
        by_class = recipe.pooling == "class"
        self.class_blocks = nn.ModuleList(
            PartBlock(*sizes, 0.0) for _ in range(recipe.class_depth if by_class else 0)
        )
        self.norm = nn.LayerNorm(width)
        self.class_token = nn.Parameter(torch.empty(width)) if by_class else None
        self._draw()

    @torch.no_grad()
    def _draw(self) -> None:
        """Draw the weights as the authors' code does; the pairs' network as torch does."""
        if self.class_token is not None:
            nn.init.trunc_normal_(self.class_token, std=0.02)
        for part in (self.embedding, self.blocks, self.class_blocks):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    nn.init.zeros_(module.bias)
        for block in (*self.blocks, *self.class_blocks):
            assert isinstance(block, PartBlock)
            for weight in block.in_proj.weight.chunk(3):  # queries, keys and values by themselves
                nn.init.xavier_uniform_(weight)
        for number, block in enumerate(self.blocks, start=1):
            assert isinstance(block, PartBlock)
            block.out_proj.weight.div_((2.0 * number) ** 0.5)
            block.fc2.weight.div_((2.0 * number) ** 0.5)

    def _nodes(self, is_real: Tensor) -> Nodes:
        return Nodes.of(is_real, self._is_packed())

    def _is_packed(self) -> bool:
        """Padding must not enter the statistics that training collects."""
        return self.packed or self.training

    def _is_fused(self, x: Tensor) -> bool:
        """Whether the kernels take over: float32 on a CPU, and sizes that fill their lanes."""
        plain = x.device.type != "cpu" or x.dtype != torch.float32
        plain = plain or self.norm.weight.dtype != torch.float32
        plain = plain or torch.is_autocast_enabled("cpu") or not self._is_packed()
        plain = plain or not has_fused_multiply_add()
        return self.fused and self._even and not plain

    def forward(self, inputs: Inputs) -> Latent:
        """See `Backbone.forward`; with kernels neither tokens nor pairs are ever padded."""
        if not self._is_fused(inputs.x):
            return super().forward(inputs)
        nodes = self._nodes(inputs.is_real)
        sets = Sets.of(inputs.is_real.sum(1))
        tables = self.pair_embedding.tables(inputs.p4, inputs.is_real, sets)
        rows = self.embedding(nodes.gather(inputs.x), fused=True)
        return self._closed(self._fused_blocks(rows, sets, tables, True), nodes, sets)

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the embedded particles, `[n, p, d]`, zero where not real."""
        nodes = self._nodes(inputs.is_real)
        fused = self._is_fused(inputs.x)
        return nodes.scatter(self.embedding(nodes.gather(inputs.x), fused))

    def pairs(self, inputs: Inputs) -> Tensor:
        """See `Backbone.pairs`."""
        fused = self._is_fused(inputs.x)
        bias: Tensor = self.pair_embedding(
            inputs.p4, inputs.is_real, self._is_packed(), fused=fused
        )
        return bias

    def encode(
        self,
        tokens: Tensor,
        is_real: Tensor,
        pairs: Tensor | None = None,
        causal: bool = False,
    ) -> Latent:
        """Run all blocks; `pairs [n, 1 or h, p, p]` is added to the scores among particles."""
        nodes = self._nodes(is_real)
        rows = nodes.gather(tokens)
        if pairs is not None and pairs.shape[1] == self.heads and self._is_fused(tokens):
            sets = Sets.of(is_real.sum(1))
            rows = self._fused_blocks(rows, sets, grid_tables(pairs, is_real, sets), False)
            return self._closed(rows, nodes, sets)
        bias = hiding(is_real) if pairs is None else hiding(is_real) + pairs
        for block in self.blocks:
            rows = block(rows, nodes, bias)
        return self._closed(rows, nodes)

    def _fused_blocks(self, rows: Tensor, sets: Sets, tables: Tensor, is_symmetric: bool) -> Tensor:
        for block in self.blocks:
            assert isinstance(block, PartBlock)
            rows = block.fused(rows, sets, tables, is_symmetric)
        return rows

    def _closed(self, rows: Tensor, nodes: Nodes, sets: Sets | None = None) -> Latent:
        """Let the class token read the particles, with kernels where `sets` are given; norms."""
        is_real = nodes.is_real
        if self.class_token is None:
            tokens = nodes.scatter(self.norm(rows).float())
            return Latent(tokens=tokens, is_real=is_real, pooled=masked_mean(tokens, is_real))
        pooled = self.class_token.expand(is_real.shape[0], -1)
        hidden = F.pad(hiding(is_real), (1, 0))  # the class token sees itself
        for block in self.class_blocks:
            assert isinstance(block, PartBlock)
            pooled = block.pool(pooled, rows, nodes, hidden, sets)
        return Latent(
            tokens=nodes.scatter(self.norm(rows).float()),
            is_real=is_real,
            pooled=self.norm(pooled).float(),
        )

    @torch.no_grad()
    def attention(self, inputs: Inputs) -> list[Tensor]:
        """See `Backbone.attention`; the blocks of particles only."""
        nodes, found = self._nodes(inputs.is_real), []
        bias = hiding(inputs.is_real) + self.pairs(inputs)
        rows = nodes.gather(self.embed(inputs))
        for block in self.blocks:
            assert isinstance(block, PartBlock)
            found.append(block.weights(rows, nodes, bias).mean(1))
            rows = block(rows, nodes, bias)
        return found
