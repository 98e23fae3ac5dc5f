r"""Graph attention network on the fully connected graph of an event's objects, and its plain twin.

Blocks of GATv2 convolution (arXiv:2105.14491; shared weights, no biases) with a residual
connection, then BatchNorm and ReLU; at the end the mean over the nodes. This is the model of
"transfer learning in collider physics" (PoS(ISGC2022) 016): with the defaults and five inputs per
node the attention version has 334,848 parameters, the version without attention 333,312.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.models.backbones.base import (
    Backbone,
    BackboneRecipe,
    Latent,
    check_heads,
    masked_mean,
)
from transferline.models.backbones.set_attention import SLOPE, set_attention
from transferline.models.features import Inputs, InputSpec


class GNN(BackboneRecipe):
    """Graph network without attention: every node receives the plain mean over all nodes.

    Attributes:
        width: size of the node vectors, all heads together.
        depth: number of blocks.
    """

    kind: Literal["gnn"] = "gnn"
    width: int = Field(256, gt=0, le=16_384)
    depth: int = Field(6, gt=0, le=1000)

    def build(self, spec: InputSpec) -> GraphBackbone:
        """Return the module."""
        convolutions = [
            MeanConvolution(spec.n_features if i == 0 else self.width, self.width)
            for i in range(self.depth)
        ]
        return GraphBackbone(self.width, spec.n_features, convolutions)


class GAT(BackboneRecipe):
    """Graph network with attention.

    Attributes:
        width: size of the node vectors, all heads together.
        depth: number of blocks.
        heads: attention heads; must divide `width`.
    """

    kind: Literal["gat"] = "gat"
    width: int = Field(256, gt=0, le=16_384)
    depth: int = Field(6, gt=0, le=1000)
    heads: int = Field(4, gt=0, le=1024)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_heads(self.width, self.heads)
        return self

    def build(self, spec: InputSpec) -> GraphBackbone:
        """Return the module."""
        convolutions = [
            AttentionConvolution(spec.n_features if i == 0 else self.width, self.width, self.heads)
            for i in range(self.depth)
        ]
        return GraphBackbone(self.width, spec.n_features, convolutions)


@dataclass(frozen=True)
class Nodes:
    """Which rows `[t, ...]` of real nodes belong to which event of the padded grid `[n, p]`.

    Attributes:
        is_real: `[n, p]`.
        index: `[t]` places of the rows in the flattened grid; None if the rows are the whole
            grid, padding included, which exported graphs need.
    """

    is_real: Tensor
    index: Tensor | None

    @classmethod
    def of(cls, is_real: Tensor, packed: bool) -> Nodes:
        """Describe a mask; `packed` rows hold real nodes only."""
        return cls(is_real, is_real.flatten().nonzero().squeeze(1) if packed else None)

    def gather(self, grid: Tensor) -> Tensor:
        """[n, p, c] -> [t, c]."""
        rows = grid.flatten(0, 1)
        return rows if self.index is None else rows[self.index]

    def scatter(self, rows: Tensor) -> Tensor:
        """[t, c] -> [n, p, c], zero where not real."""
        n, p = self.is_real.shape
        if self.index is not None:
            grid = rows.new_zeros(n * p, rows.shape[-1]).index_copy(0, self.index, rows)
            return grid.view(n, p, rows.shape[-1])
        grid = rows.view(n, p, rows.shape[-1])
        return torch.where(self.is_real.unsqueeze(-1), grid, torch.zeros_like(grid))


class MeanConvolution(nn.Module):
    r"""$o_i = \frac{1}{N} \sum_j W h_j$: the same for every node of the event."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = _linear(inputs, outputs)

    def forward(self, rows: Tensor, nodes: Nodes) -> Tensor:
        """[t, inputs] -> [t, outputs]."""
        mean = masked_mean(nodes.scatter(self.linear(rows)), nodes.is_real)
        return nodes.gather(mean.unsqueeze(1).expand(-1, nodes.is_real.shape[1], -1))


class AttentionConvolution(nn.Module):
    r"""GATv2 convolution with shared weights and without biases.

    $e_{ij} = a_h \cdot \mathrm{LeakyReLU}(W h_i + W h_j)$,
    $\alpha_{ij} = \mathrm{softmax}_j(e_{ij})$, $o_i = \sum_j \alpha_{ij} W h_j$; the heads' outputs
    stand side by side.
    """

    def __init__(self, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        self.linear = _linear(inputs, outputs)
        # As the authors draw it: their library has it as [1, heads, width], which Xavier takes for
        # the weights of a convolution with heads x width inputs and width outputs.
        self.attention = nn.Parameter(torch.empty(heads, outputs // heads))
        nn.init.xavier_normal_(self.attention.view(1, heads, -1), gain=2**0.5)

    def forward(self, rows: Tensor, nodes: Nodes) -> Tensor:
        """[t, inputs] -> [t, outputs]."""
        return self.attend(rows, nodes)[0]

    def attend(self, rows: Tensor, nodes: Nodes) -> tuple[Tensor, Tensor]:
        """Return the output rows `[t, outputs]` and the attention weights.

        The weights are `[h, sum of counts^2]` tables set by set where the kernel for small sets
        runs (rows of real nodes, on a CPU), else `[n, p, p, h]`.
        """
        heads, width = self.attention.shape
        z = self.linear(rows).view(-1, heads, width)
        if nodes.index is not None and z.device.type == "cpu":
            out, alpha = set_attention(z, self.attention, nodes.is_real.sum(1))
            return out.flatten(1), alpha
        return self._attend_on_grid(z.flatten(1), nodes)

    def _attend_on_grid(self, rows: Tensor, nodes: Nodes) -> tuple[Tensor, Tensor]:
        n, p = nodes.is_real.shape
        z = nodes.scatter(rows).view(n, p, *self.attention.shape)
        score = (F.leaky_relu(z[:, :, None] + z[:, None], SLOPE) * self.attention).sum(-1)
        # Large and negative, not -inf: a set without particles must stay finite.
        score = score.float().masked_fill(~nodes.is_real[:, None, :, None], -1e9)
        alpha = score.softmax(2)
        mixed = torch.einsum("nijh,njhd->nihd", alpha, z.float())
        return nodes.gather(mixed.flatten(2)), alpha


class GraphBackbone(Backbone):
    """The module of `GNN` and `GAT`: the convolutions, each with residual, BatchNorm and ReLU.

    The residual of the first block is linear, since its input has another size; the others are
    identities. BatchNorm runs over the real nodes of all events.
    """

    batch_dependent: ClassVar[bool] = True

    def __init__(self, width: int, n_features: int, convolutions: Sequence[nn.Module]) -> None:
        super().__init__()
        self.width = width
        self.n_features = n_features
        self.packed = True
        self.residual = _linear(n_features, width)
        self.convolutions = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in convolutions)

    @property
    def token_width(self) -> int:
        """Size of the inputs, which are the tokens."""
        return self.n_features

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the inputs: this model has no embedding of single particles, `[n, p, f]`."""
        return inputs.x

    def encode(
        self,
        tokens: Tensor,
        is_real: Tensor,
        pairs: Tensor | None = None,
        causal: bool = False,
    ) -> Latent:
        """Run the blocks."""
        nodes = Nodes.of(is_real, self.packed)
        rows = nodes.gather(tokens)
        for i, convolution in enumerate(self.convolutions):
            rows = self._close(i, rows, convolution(rows, nodes))
        out = nodes.scatter(rows.float())
        return Latent(tokens=out, is_real=is_real, pooled=masked_mean(out, is_real))

    def _close(self, number: int, rows: Tensor, convolved: Tensor) -> Tensor:
        """Residual, BatchNorm and ReLU of one block."""
        kept = self.residual(rows) if number == 0 else rows
        # In place: at this width the memory, not the arithmetic, is what costs.
        return F.relu_(_normalise(self.norms[number], convolved.add_(kept)))

    def attention(self, inputs: Inputs) -> list[Tensor]:
        """See `Backbone.attention`; the network without attention shows none."""
        nodes = Nodes(inputs.is_real, None)
        rows, found = nodes.gather(inputs.x), []
        for i, convolution in enumerate(self.convolutions):
            if not isinstance(convolution, AttentionConvolution):
                return []
            out, alpha = convolution.attend(rows, nodes)  # [n, p, p, h]
            found.append(alpha.mean(-1))
            rows = self._close(i, rows, out)
        return found


def _normalise(norm: nn.Module, rows: Tensor) -> Tensor:
    """BatchNorm; with fewer than two rows there is no spread to divide by: running values then."""
    assert isinstance(norm, nn.BatchNorm1d)
    if norm.training and len(rows) < 2:
        return F.batch_norm(
            rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
        )
    out: Tensor = norm(rows)
    return out


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.xavier_normal_(layer.weight, gain=2**0.5)
    return layer
