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

from transferline.models.backbones.base import Backbone, BackboneRecipe, Latent, check_heads
from transferline.models.backbones.gat import Nodes
from transferline.models.backbones.pair_features import (
    N_PAIR_FEATURES,
    pair_columns,
    pair_features,
)
from transferline.models.backbones.part_block import PartBlock, hiding
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
        pair_mass: `stable`, or `published` for weights that learnt with the rounding of
            weaver-core (see `pair_features`); exported graphs cannot repeat that.
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

    def forward(self, rows: Tensor) -> Tensor:
        """[t, f] -> [t, d]."""
        out: Tensor = self.layers(self.norm(rows))
        return out


class _PairEmbedding(nn.Module):
    """BatchNorm, then Linear, BatchNorm and GELU for each size; pair by pair."""

    def __init__(self, recipe: ParT) -> None:
        super().__init__()
        layers: list[nn.Module] = [RealNorm(N_PAIR_FEATURES)]
        for before, after in pairwise((N_PAIR_FEATURES, *recipe.pair_embed, recipe.heads)):
            layers += [nn.Linear(before, after), RealNorm(after), nn.GELU()]
        self.layers = nn.Sequential(*(layers if recipe.pair_activation else layers[:-1]))
        self.published = recipe.pair_mass == "published"

    def forward(self, p4: Tensor, is_real: Tensor, packed: bool) -> Tensor:
        """Return the bias `[n, h, p, p]`, symmetric, zero where a particle is not real."""
        columns = pair_columns(p4.float())
        both = is_real.unsqueeze(1) & is_real.unsqueeze(2)
        return self._packed(columns, both) if packed else self._padded(columns, both)

    def _packed(self, columns: Tensor, both: Tensor) -> Tensor:
        """Each pair of real particles once, and each particle with itself."""
        event, i, j = both.tril().nonzero().unbind(1)
        found = pair_features(columns[event, i], columns[event, j], self.published)
        rows: Tensor = self.layers(found)
        grid = rows.new_zeros(*both.shape, rows.shape[-1])
        grid = grid.index_put((event, i, j), rows).index_put((event, j, i), rows)
        return grid.permute(0, 3, 1, 2)

    def _padded(self, columns: Tensor, both: Tensor) -> Tensor:
        """All places with all places."""
        found = pair_features(columns.unsqueeze(2), columns.unsqueeze(1), self.published)
        rows: Tensor = self.layers(found.view(-1, N_PAIR_FEATURES))
        grid = rows.view(*both.shape, rows.shape[-1]).permute(0, 3, 1, 2)
        return torch.where(both.unsqueeze(1), grid, torch.zeros_like(grid))


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
        self.width = width
        self.packed = True
        self.embedding = _Embedding(spec.n_features, recipe.embed)
        self.pair_embedding = _PairEmbedding(recipe)
        self.blocks = nn.ModuleList(PartBlock(*sizes, recipe.dropout) for _ in range(recipe.depth))
        self.class_blocks = nn.ModuleList(PartBlock(*sizes, 0.0) for _ in range(recipe.class_depth))
        self.norm = nn.LayerNorm(width)
        self.class_token = nn.Parameter(torch.empty(width))
        self._draw()

    @torch.no_grad()
    def _draw(self) -> None:
        """Draw the weights as the authors' code does; the pairs' network as torch does."""
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

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the embedded particles, `[n, p, d]`, zero where not real."""
        nodes = self._nodes(inputs.is_real)
        return nodes.scatter(self.embedding(nodes.gather(inputs.x)))

    def pairs(self, inputs: Inputs) -> Tensor:
        """See `Backbone.pairs`."""
        bias: Tensor = self.pair_embedding(inputs.p4, inputs.is_real, self._is_packed())
        return bias

    def encode(
        self,
        tokens: Tensor,
        is_real: Tensor,
        pairs: Tensor | None = None,
        causal: bool = False,
    ) -> Latent:
        """Run all blocks; `pairs [n, 1 or h, p, p]` is added to the scores among particles."""
        nodes, hidden = self._nodes(is_real), hiding(is_real)
        bias = hidden if pairs is None else hidden + pairs
        rows = nodes.gather(tokens)
        for block in self.blocks:
            rows = block(rows, nodes, bias)
        pooled = self.class_token.expand(is_real.shape[0], -1)
        hidden = F.pad(hidden, (1, 0))  # the class token sees itself
        for block in self.class_blocks:
            assert isinstance(block, PartBlock)
            pooled = block.pool(pooled, rows, nodes, hidden)
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
