"""Transformer encoder over the particles of an event, without positional encoding unless asked.

Source of the block: arXiv:1706.03762 (post-norm), arXiv:2002.04745 (pre-norm, the default).
The event-level use, and `embedding = Linear + LayerNorm`, follow arXiv:2312.06909.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.compilation import has_fused_multiply_add
from transferline.config import added
from transferline.errors import ConfigError
from transferline.models.backbones.base import (
    Backbone,
    BackboneRecipe,
    Latent,
    check_heads,
    masked_mean,
)
from transferline.models.backbones.dot_attention import LARGEST, dot_attention
from transferline.models.backbones.kernels.biased_attention import Sets
from transferline.models.backbones.kernels.lanes import LANES
from transferline.models.backbones.kernels.plain_attention import plain_attention
from transferline.models.backbones.positions import Positions, by_falling_pt, rank_by_pt
from transferline.models.features import Inputs, InputSpec

_ROUND = 128  # tokens
_THREADS = 2  # with more, products (by estimate) beat the kernel for larger sets, which uses one
_EMPTY = -99.0  # in every feature of an empty place, as in the authors' code


class Transformer(BackboneRecipe):
    """Encoder of `depth` blocks of self-attention and a two-layer feed-forward network.

    Attributes:
        width: token size d.
        depth: number of blocks.
        heads: attention heads; must divide `width`.
        hidden: feed-forward size, 4 x width unless given.
        dropout: in attention output and feed-forward.
        norm: LayerNorm before (`pre`) or after (`post`) each sub-layer.
        activation: of the feed-forward network.
        padding: `masked`, no object sees it and the mean leaves it out; or `seen`, as in the code
            of arXiv:2312.06909, which passes a mask and never uses it: every event has `slots`
            places, the empty ones hold -99 in every feature, and attention and the mean take them
            like objects.
        slots: places of an event whose padding is seen. Events of more objects keep them all and
            have no empty place.
        positions: places by falling pT that have a learned vector of their own, added to the
            tokens (`order: backbone` of masked particles); later ones share the last. None: the
            order is not told.
        causal: a particle attends to itself and to those with more pT, downstream as in the
            pre-training `next_token` (as arXiv:2403.05618).
    """

    kind: Literal["transformer"] = "transformer"
    width: int = Field(128, gt=0, le=16_384)
    depth: int = Field(6, gt=0, le=1000)
    heads: int = Field(8, gt=0, le=1024)
    hidden: int | None = Field(None, gt=0, le=65_536)
    dropout: float = Field(0.0, ge=0, lt=1)
    norm: Literal["pre", "post"] = "pre"
    activation: Literal["gelu", "relu"] = "gelu"
    padding: Literal["masked", "seen"] = added("masked")
    slots: int | None = added(None, gt=0, le=1000)
    positions: int | None = added(None, gt=0, le=65_536)
    causal: bool = added(False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_heads(self.width, self.heads)
        if (self.padding == "seen") != (self.slots is not None):
            raise ValueError("padding: seen and slots: N belong together.")
        if self.causal and self.slots is not None:
            raise ValueError("causal: empty places have no pT; leave out padding: seen.")
        return self

    def build(self, spec: InputSpec) -> TransformerBackbone:
        """Return the module.

        Raises:
            ConfigError: it has `positions` or is `causal`, and the inputs have no momenta.
        """
        if (self.positions is not None or self.causal) and not spec.momenta:
            raise ConfigError(
                "transformer: positions: and causal: belong to a backbone. A head, decoder or "
                "predictor reads embeddings, which have no pT; leave them out there."
            )
        return TransformerBackbone(self, spec)


@dataclass(frozen=True)
class _Grid:
    """Where the packed real tokens `[t, d]` stand on the padded grid `[n, p]`.

    Linear layers, norms and activations then work on real tokens only; attention alone sees
    the grid, and not even it where a kernel runs. `index` is None on the padded path, which
    exported graphs need.
    """

    n: int
    p: int
    index: Tensor | None
    bias: Tensor  # additive, [n, 1 or h, p or 1, p]; [t] for small sets; empty for `sets`
    counts: Tensor | None = None  # [n], of small sets alone
    sets: Sets | None = None  # of larger ones, where a kernel runs
    causal: bool = False  # these sets; elsewhere `bias` says it

    def scatter(self, x: Tensor) -> Tensor:
        """[t, c] -> [n, p, c]."""
        if self.index is not None:
            x = x.new_zeros(self.n * self.p, x.shape[-1]).index_copy(0, self.index, x)
        return x.view(self.n, self.p, x.shape[-1])

    def gather(self, x: Tensor) -> Tensor:
        """[n, p, c] -> [t, c]."""
        flat = x.reshape(self.n * self.p, x.shape[-1])
        return flat if self.index is None else flat.index_select(0, self.index)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, grid: _Grid) -> Tensor:
        qkv = self.qkv(x)
        if grid.counts is not None:
            rows = qkv.view(-1, 3, self.heads, self.head_width)
            mixed = dot_attention(rows, grid.bias, grid.counts).flatten(1).to(qkv.dtype)
        elif grid.sets is not None:
            mixed = plain_attention(qkv.float(), self.heads, grid.sets, grid.causal)
            mixed = mixed.to(qkv.dtype)
        else:
            q, k, v = self._on_grid(qkv, grid)
            mixed = grid.gather(_attend(q, k, v, grid.bias).transpose(1, 2).flatten(-2))
        out: Tensor = self.out(mixed)
        return out

    def weights(self, x: Tensor, grid: _Grid) -> Tensor:
        """Return how much token i takes of token j, `[n, h, p, p]`."""
        q, k, _ = self._on_grid(self.qkv(x), grid)
        return _weights(q, k, grid.bias)

    def _on_grid(self, qkv: Tensor, grid: _Grid) -> tuple[Tensor, ...]:
        """Queries, keys and values, `[n, h, p, d/h]` each."""
        parts = grid.scatter(qkv).view(grid.n, grid.p, 3, self.heads, self.head_width)
        return parts.permute(2, 0, 3, 1, 4).unbind(0)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, spelled out on CPU, fused elsewhere.

    PyTorch's fused kernel is slow in bfloat16 on CPUs without AMX (2 to 3 times slower than
    the three plain operations), level in float32.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    mixed: Tensor = _weights(q, k, bias).to(v.dtype) @ v
    return mixed


def _weights(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    weights: Tensor = (scores.float() + bias).softmax(-1)
    return weights


class _Block(nn.Module):
    def __init__(self, recipe: Transformer) -> None:
        super().__init__()
        width = recipe.width
        hidden = recipe.hidden or 4 * width
        self.pre = recipe.norm == "pre"
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, recipe.heads)
        activation = nn.GELU() if recipe.activation == "gelu" else nn.ReLU()
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden), activation, nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(recipe.dropout)

    def forward(self, x: Tensor, grid: _Grid) -> Tensor:
        if self.pre:
            x = x + self.dropout(self.attention(self.norm1(x), grid))
            out: Tensor = x + self.dropout(self.feed_forward(self.norm2(x)))
        else:
            x = self.norm1(x + self.dropout(self.attention(x, grid)))
            out = self.norm2(x + self.dropout(self.feed_forward(x)))
        return out

    def weights(self, x: Tensor, grid: _Grid) -> Tensor:
        """Return the attention weights of the block, `[n, h, p, p]`."""
        normed = self.norm1(x) if self.pre else x
        return self.attention.weights(normed, grid)


class TransformerBackbone(Backbone):
    """The module of `Transformer`."""

    takes_pairs: ClassVar[bool] = True
    takes_causal: ClassVar[bool] = True

    def __init__(self, recipe: Transformer, spec: InputSpec) -> None:
        super().__init__()
        self.width = recipe.width
        self.packed = self.fused = True
        self.even = recipe.width // recipe.heads % LANES == 0
        self.slots, self.causal = recipe.slots, recipe.causal
        self.embedding = nn.Sequential(
            nn.Linear(spec.n_features, recipe.width), nn.LayerNorm(recipe.width)
        )
        self.blocks = nn.ModuleList(_Block(recipe) for _ in range(recipe.depth))
        self.final_norm = nn.LayerNorm(recipe.width) if recipe.norm == "pre" else nn.Identity()
        self.positions = Positions(recipe.positions, recipe.width) if recipe.positions else None

    @property
    def ordered(self) -> bool:
        """See `Backbone.ordered`."""
        return self.positions is not None

    def forward(self, inputs: Inputs) -> Latent:
        """See `Backbone.forward`; of a `causal` one in the order of falling pT."""
        if not self.causal:
            return super().forward(inputs)
        found, place = by_falling_pt(inputs)
        latent = self.encode(self.embed(found), found.is_real, causal=True)
        tokens = latent.tokens.gather(1, place.unsqueeze(-1).expand_as(latent.tokens))
        return Latent(tokens=tokens, is_real=inputs.is_real, pooled=latent.pooled)

    def embed(self, inputs: Inputs) -> Tensor:
        """Return `LayerNorm(Linear(x))`, and the vectors of the order if there are any."""
        return self.placed(self.embedding(inputs.x), inputs)

    def placed(self, tokens: Tensor, inputs: Inputs) -> Tensor:
        """See `Backbone.placed`; the rank is that among real particles unless `inputs` say it."""
        if self.positions is None:
            return tokens
        rank = inputs.rank
        if rank is None:
            rank = rank_by_pt(inputs.p4, inputs.is_real)
        placed: Tensor = tokens + self.positions(rank).to(tokens.dtype)
        return placed

    def encode(
        self,
        tokens: Tensor,
        is_real: Tensor,
        pairs: Tensor | None = None,
        causal: bool = False,
    ) -> Latent:
        """Run the blocks; `pairs [n, h, p, p]` is added to the attention scores.

        Raises:
            ConfigError: the backbone is `causal`, and `causal` is not asked for.
        """
        if self.causal and not causal:
            raise ConfigError(
                "transformer: causal: true is for next_token and objectives that see whole sets; "
                "this one embeds a part of them."
            )
        if self.slots is None:
            out = self._run(tokens, is_real, pairs, causal)
            return Latent(tokens=out, is_real=is_real, pooled=masked_mean(out, is_real))
        tokens, copies = self._with_empty_places(tokens, is_real)
        pairs = None if pairs is None else F.pad(pairs, (0, 1, 0, 1))
        out = self._run(tokens, copies > 0, pairs, causal, copies.clamp(min=1).log())
        pooled = (copies.unsqueeze(-1) * out).sum(1) / copies.sum(1, keepdim=True)
        return Latent(tokens=out[:, :-1], is_real=is_real, pooled=pooled)

    @torch.no_grad()
    def attention(self, inputs: Inputs) -> list[Tensor]:
        """See `Backbone.attention`; where padding is seen, of the part that particles get."""
        if self.causal:
            inputs, place = by_falling_pt(inputs)
        tokens, is_real, key_bias = self.embed(inputs), inputs.is_real, None
        if self.slots is not None:
            tokens, copies = self._with_empty_places(tokens, is_real)
            is_real, key_bias = copies > 0, copies.clamp(min=1).log()
        grid = self._grid(is_real, None, self.causal, key_bias, packed=False)
        x, found = grid.gather(tokens), []
        p = inputs.is_real.shape[1]
        for block in self.blocks:
            assert isinstance(block, _Block)
            alpha = block.weights(x, grid).mean(1)[:, :p, :p]
            found.append(alpha / alpha.sum(-1, keepdim=True).clamp(min=1e-30))
            x = block(x, grid)
        if self.causal:
            rows = torch.arange(len(place), device=place.device).view(-1, 1, 1)
            found = [alpha[rows, place[:, :, None], place[:, None, :]] for alpha in found]
        return found

    def _with_empty_places(self, tokens: Tensor, is_real: Tensor) -> tuple[Tensor, Tensor]:
        """Add one token for the empty places; also how often each token counts, `[n, p + 1]`.

        All empty places of an event are alike and stay so: one token stands for them, as many
        times as there are. Without dropout that is exact.
        """
        assert self.slots is not None
        linear = self.embedding[0]
        assert isinstance(linear, nn.Linear)
        place: Tensor = self.embedding(tokens.new_full((1, 1, linear.in_features), _EMPTY))
        empty = (self.slots - is_real.sum(1, keepdim=True)).clamp(min=0)
        places = place.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
        return torch.cat((tokens, places), dim=1), torch.cat((is_real, empty), dim=1)

    def _run(
        self,
        tokens: Tensor,
        is_real: Tensor,
        pairs: Tensor | None,
        causal: bool,
        key_bias: Tensor | None = None,
    ) -> Tensor:
        """All blocks, `[n, p, d]`; `key_bias [n, p]` is added to what every token's key scores."""
        grid = self._grid(is_real, pairs, causal, key_bias, packed=self.packed)
        x = grid.gather(tokens)
        for block in self.blocks:
            x = block(x, grid)
        out = grid.scatter(self.final_norm(x)).float()
        return torch.where(is_real.unsqueeze(-1), out, torch.zeros_like(out))

    def _grid(
        self,
        is_real: Tensor,
        pairs: Tensor | None,
        causal: bool,
        key_bias: Tensor | None,
        *,
        packed: bool,
    ) -> _Grid:
        n, p = is_real.shape
        index = _packed(is_real) if packed else None
        if self.fused and index is not None and pairs is None and is_real.device.type == "cpu":
            counts = is_real.sum(1)
            if p <= LARGEST and not causal:
                bias = torch.zeros(n, p) if key_bias is None else key_bias
                return _Grid(n, p, index, bias.flatten()[index], counts=counts)
            fast = torch.get_num_threads() <= _THREADS and has_fused_multiply_add()
            if p > LARGEST and key_bias is None and self.even and fast:
                nothing = torch.empty(0)
                return _Grid(n, p, index, nothing, sets=Sets.of(counts), causal=causal)
        bias = _attention_bias(is_real, pairs, causal)
        if key_bias is not None:
            bias = bias + key_bias[:, None, None, :]
        return _Grid(n, p, index, bias)


def _packed(is_real: Tensor) -> Tensor:
    """Positions `[t]` of the real tokens on the grid, and of padding up to a round number.

    The number of real tokens is hardly ever the same twice. Of a few round numbers the memory
    that one step frees fits the next one, and so do the kernels prepared for its shapes. Tokens
    of padding are computed for nothing: nobody attends to them, and the outputs are cut.
    """
    flat = is_real.flatten()
    rounded = -(-int(flat.sum()) // _ROUND) * _ROUND
    return torch.argsort(~flat, stable=True)[:rounded]


def _attention_bias(is_real: Tensor, pairs: Tensor | None, causal: bool) -> Tensor:
    """Large and negative, not -inf: a set without particles must stay finite."""
    hidden = ~is_real[:, None, None, :]
    if causal:
        p = is_real.shape[1]
        later = torch.ones(p, p, dtype=torch.bool, device=is_real.device).triu(1)
        hidden = hidden | later
    bias = torch.zeros(hidden.shape, device=is_real.device)
    if pairs is not None:
        bias = bias + pairs
    return bias.masked_fill(hidden, -1e9)
