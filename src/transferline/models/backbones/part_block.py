"""The block of Particle Transformer: attention and feed-forward, each between two norms.

Source: arXiv:2202.03772; the scales are those of NormFormer (arXiv:2110.09456), attention of the
class token is that of CaiT (arXiv:2103.17239). Particles and class token have blocks of one kind.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.models.backbones.gat import Nodes
from transferline.models.backbones.kernels.biased_attention import Sets, biased_attention
from transferline.models.backbones.kernels.block_rows import block_rows
from transferline.models.backbones.kernels.dropout import Dropout
from transferline.models.backbones.kernels.packed import Packed
from transferline.models.backbones.kernels.residuals import norm_residual, scaled_residual
from transferline.models.backbones.kernels.rows_linear import packed_linear, rows_linear
from transferline.models.backbones.kernels.symmetric_attention import symmetric_attention
from transferline.models.backbones.kernels.token_attention import token_attention

_HIDDEN = -1e9  # large, not infinite: a set without particles must stay finite


class PartBlock(nn.Module):
    r"""Attention and feed-forward network with residuals.

    $x' = x + \mathrm{LN}(\gamma_h\, \mathrm{MHA}(\mathrm{LN}(x)))$ with one scale $\gamma_h$ per
    head's share of the output, then
    $x'' = w \odot x' + W_2\, \mathrm{LN}(\mathrm{GELU}(W_1\, \mathrm{LN}(x')))$.

    Args:
        width: token size d.
        heads: attention heads; must divide `width`.
        hidden: size of the feed-forward network.
        dropout: of attention weights, of both outputs, and after the GELU.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.pre_attn_norm = nn.LayerNorm(width)
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.head_scale = nn.Parameter(torch.ones(heads))
        self.post_attn_norm = nn.LayerNorm(width)
        self.pre_fc_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.post_fc_norm = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.residual_scale = nn.Parameter(torch.ones(width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, nodes: Nodes, bias: Tensor) -> Tensor:
        """Let particles `rows [t, d]` attend to each other; `bias [n, 1 or h, 1 or p, p]`."""
        q, k, v = self._on_grid(rows, nodes)
        weights = F.dropout(_weights(q, k, bias), self.dropout.p, self.training)
        return self._finish(rows, nodes.gather(_joined(weights, v)))

    def fused(self, rows: Tensor, sets: Sets, tables: Tensor, is_symmetric: bool = False) -> Tensor:
        """Do the same as `forward` with kernels; the bias is `tables [h, s]`.

        Where they surely are symmetric, attention without a way back is faster.
        """
        if self._needs_no_way_back():
            into = Packed.of(self.in_proj.weight, self.in_proj.bias, self.pre_attn_norm)
            qkv = packed_linear(rows, into, "norm", self.pre_attn_norm.eps)
            attend = symmetric_attention if is_symmetric else biased_attention
            return self._rest(rows, attend(qkv, tables, sets))
        qkv = rows_linear(rows, *after_norm(self.in_proj, self.pre_attn_norm), "norm")
        mixed = biased_attention(qkv, tables, sets, self._drawn())
        scale, out, norm = self._channel_scale(), self.out_proj, self.post_attn_norm
        mixed = rows_linear(mixed, scale.unsqueeze(1) * out.weight, scale * out.bias, "nothing")
        x = norm_residual(rows, mixed, norm.weight, norm.bias, self._drawn())
        hidden = rows_linear(x, *after_norm(self.fc1, self.pre_fc_norm), "norm")
        last = after_norm(self.fc2, self.post_fc_norm)
        y = rows_linear(hidden, *last, "gelu_norm", dropout=self._drawn())
        return scaled_residual(x, y, self.residual_scale, self._drawn())

    def _needs_no_way_back(self) -> bool:
        return not (self.training or torch.is_grad_enabled())

    def _rest(self, rows: Tensor, mixed: Tensor) -> Tensor:
        """Do the same as `_finish` with one kernel, in evaluation and without gradient."""
        scale, out = self._channel_scale(), self.out_proj
        return block_rows(
            mixed,
            rows,
            Packed.of(scale.unsqueeze(1) * out.weight, scale * out.bias),
            self.post_attn_norm,
            Packed.of(self.fc1.weight, self.fc1.bias, self.pre_fc_norm),
            Packed.of(self.fc2.weight, self.fc2.bias, self.post_fc_norm),
            self.residual_scale,
        )

    def _drawn(self) -> Dropout:
        return Dropout.drawn(self.dropout.p, self.training)

    def _channel_scale(self) -> Tensor:
        """The scale of a head for each of its channels, `[d]`."""
        width = self.out_proj.out_features // self.heads
        return self.head_scale.unsqueeze(1).expand(-1, width).flatten()

    def weights(self, rows: Tensor, nodes: Nodes, bias: Tensor) -> Tensor:
        """Return how much particle i takes of particle j, `[n, h, p, p]`."""
        q, k, _ = self._on_grid(rows, nodes)
        return _weights(q, k, bias)

    def pool(
        self, token: Tensor, rows: Tensor, nodes: Nodes, bias: Tensor, sets: Sets | None = None
    ) -> Tensor:
        """Let the class token `[n, d]` attend to itself and the particles `rows [t, d]`.

        The query is the token as it is, keys and values are normalised; `bias` is
        `[n, 1, 1, 1 + p]`. With `sets`, kernels do it.
        """
        if sets is not None and self._needs_no_way_back():
            return self._read(token, rows, sets)
        width = token.shape[1]
        weight, offset = self.in_proj.weight, self.in_proj.bias
        wq, wkv, bq, bkv = weight[:width], weight[width:], offset[:width], offset[width:]
        own = F.linear(self.pre_attn_norm(token), wkv, bkv)
        if sets is not None:
            norm = self.pre_attn_norm
            others = rows_linear(rows, wkv * norm.weight, bkv + wkv @ norm.bias, "norm")
        else:
            others = F.linear(self.pre_attn_norm(rows), wkv, bkv)
        both = torch.cat((own.unsqueeze(1), nodes.scatter(others)), dim=1)
        q, (k, v) = self._heads(F.linear(token, wq, bq).unsqueeze(1), 1)[0], self._heads(both, 2)
        weights = F.dropout(_weights(q, k, bias), self.dropout.p, self.training)
        return self._finish(token, _joined(weights, v).squeeze(1))

    def _read(self, token: Tensor, rows: Tensor, sets: Sets) -> Tensor:
        """Do the same as `pool` with kernels, in evaluation and without gradient."""
        norm, width, shape = self.pre_attn_norm, token.shape[1], (3, self.heads, -1, token.shape[1])
        wq, wk, wv = self.in_proj.weight.view(shape)
        bq, _, bv = self.in_proj.bias.view(3, self.heads, -1)
        q = torch.einsum("nd,hed->nhe", token, wq) + bq
        queries = torch.einsum("nhe,hed->nhd", q * wq.shape[1] ** -0.5, wk) * norm.weight
        z = token_attention(token, rows, sets.starts, queries, norm.eps) * norm.weight + norm.bias
        mixed = torch.einsum("nhd,hed->nhe", z, wv) + bv
        return self._rest(token.contiguous(), mixed.reshape(-1, width))

    def _on_grid(self, rows: Tensor, nodes: Nodes) -> tuple[Tensor, ...]:
        """Queries, keys and values, `[n, h, p, d/h]` each."""
        return self._heads(nodes.scatter(self.in_proj(self.pre_attn_norm(rows))), 3)

    def _heads(self, grid: Tensor, parts: int) -> tuple[Tensor, ...]:
        """[n, p, parts * d] -> `parts` tensors `[n, h, p, d/h]`."""
        n, p, width = grid.shape
        split = grid.view(n, p, parts, self.heads, width // (parts * self.heads))
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    def _finish(self, rows: Tensor, mixed: Tensor) -> Tensor:
        """Everything after the heads, `[t, d]` each."""
        x = self.dropout(self.post_attn_norm(self._channel_scale() * self.out_proj(mixed))) + rows
        y = self.dropout(F.gelu(self.fc1(self.pre_fc_norm(x))))
        out: Tensor = self.dropout(self.fc2(self.post_fc_norm(y))) + self.residual_scale * x
        return out


def after_norm(linear: nn.Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer that takes scale and offset of the norm before it along."""
    return linear.weight * norm.weight, linear.bias + linear.weight @ norm.bias


def hiding(is_real: Tensor) -> Tensor:
    """Return the bias that hides padding, `[n, 1, 1, p]`."""
    bias = torch.zeros(is_real.shape, device=is_real.device)
    return bias.masked_fill(~is_real, _HIDDEN)[:, None, None, :]


def _weights(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias), in float32."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    weights: Tensor = (scores.float() + bias).softmax(-1)
    return weights


def _joined(weights: Tensor, v: Tensor) -> Tensor:
    """Weigh the values, put the heads side by side: `[n, p, d]`."""
    mixed: Tensor = weights.to(v.dtype) @ v
    return mixed.transpose(1, 2).flatten(2)
