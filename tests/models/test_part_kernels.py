"""The kernels of Particle Transformer beside plain torch: values, gradients, dropout."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from transferline.models.backbones import part
from transferline.models.backbones.kernels.biased_attention import Sets, biased_attention
from transferline.models.backbones.kernels.dropout import NO_DROPOUT, Dropout
from transferline.models.backbones.kernels.pair_rows import pair_rows
from transferline.models.backbones.kernels.pair_tables import HIDDEN, grid_tables, pair_tables
from transferline.models.backbones.kernels.plain_attention import plain_attention
from transferline.models.backbones.kernels.residuals import norm_residual, scaled_residual
from transferline.models.backbones.kernels.rows_linear import rows_linear
from transferline.models.backbones.kernels.symmetric_attention import symmetric_attention
from transferline.models.backbones.pair_features import pair_columns, pair_features
from transferline.models.backbones.part import ParT
from transferline.models.backbones.part_block import hiding
from transferline.models.backbones.part_pairs import PairEmbedding, pairs_of
from transferline.models.features import InputSpec

from .test_part import jet_inputs, stirred

COUNTS = [5, 0, 1, 45, 17]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def agree(found, wanted, inputs):
    """Values, and the gradients of all inputs, against float64."""
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-5)
    weights = torch.randn(wanted.shape)
    mine = torch.autograd.grad((found * weights).sum(), inputs, retain_graph=True)
    plain = torch.autograd.grad((wanted * weights).sum(), inputs)
    for one, other in zip(mine, plain, strict=True):
        scale = other.abs().max().clamp(min=1e-3)
        torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=1e-5)


def drawn(*shape):
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("before", ["nothing", "norm", "gelu_norm"])
@pytest.mark.parametrize(("t", "i", "o"), [(101, 128, 384), (50, 64, 8), (3, 24, 40)])
def test_linear_after_norm_and_gelu(before, t, i, o):
    x, weight, bias = drawn(t, i), drawn(o, i), drawn(o)
    rows = x.double()
    rows = F.gelu(rows) if before == "gelu_norm" else rows
    rows = rows if before == "nothing" else F.layer_norm(rows, (i,))
    wanted = F.linear(rows, weight.double(), bias.double())
    agree(rows_linear(x, weight, bias, before), wanted, (x, weight, bias))


def test_no_rows_at_all():
    x, weight = drawn(0, 8), drawn(8, 8)
    out = rows_linear(x, weight, torch.zeros(8), "gelu_norm")
    out.sum().backward()
    assert out.shape == (0, 8)
    assert not weight.grad.any()


def test_residuals():
    x, z, scale, offset = drawn(33, 64), drawn(33, 64), drawn(64), drawn(64)
    normed = F.layer_norm(z.double(), (64,), scale.double(), offset.double())
    agree(norm_residual(x, z, scale, offset, NO_DROPOUT), x + normed, (x, z, scale, offset))
    agree(scaled_residual(x, z, scale, NO_DROPOUT), scale.double() * x + z, (x, z, scale))


def tables_of(counts, heads):
    """Random tables, and the same as a grid whose real places are the first ones."""
    sets = Sets.of(torch.tensor(counts))
    grid = torch.randn(len(counts), heads, max(counts), max(counts))
    is_real = torch.arange(max(counts)) < torch.tensor(counts).unsqueeze(1)
    return sets, grid, is_real, grid_tables(grid, is_real, sets)


def attention_of(qkv, grid, counts):
    heads, out, start = grid.shape[1], [], 0
    for s, n in enumerate(counts):
        rows = qkv[start : start + n].double()
        q, k, v = rows.view(n, 3, heads, qkv.shape[1] // 3 // heads).permute(1, 2, 0, 3)
        score = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + grid[s, :, :n, :n]
        out.append((score.softmax(-1) @ v).transpose(0, 1).reshape(n, qkv.shape[1] // 3))
        start += n
    return torch.cat(out)


@pytest.mark.parametrize(("heads", "d"), [(8, 16), (4, 8), (2, 24)])
def test_attention_with_a_bias(heads, d):
    sets, grid, is_real, _ = tables_of(COUNTS, heads)
    qkv = drawn(sum(COUNTS), 3 * heads * d)
    grid.requires_grad_()
    found = biased_attention(qkv, grid_tables(grid, is_real, sets), sets)
    agree(found, attention_of(qkv, grid, COUNTS), (qkv, grid))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "d"), [(8, 16), (4, 8), (2, 24)])
def test_attention_without_a_bias(heads, d, causal):
    """Rows behind the sets belong to none of them: neither value nor gradient."""
    sets, grid, *_ = tables_of(COUNTS, heads)
    real, p = sum(COUNTS), max(COUNTS)
    later = torch.ones(p, p, dtype=torch.bool).triu(1)
    grid = (0 * grid).masked_fill(later, -torch.inf) if causal else 0 * grid
    qkv = drawn(real + 3, 3 * heads * d)
    found = plain_attention(qkv, heads, sets, causal)
    wanted = torch.cat([attention_of(qkv[:real], grid, COUNTS), torch.zeros(3, heads * d)])
    agree(found, wanted, (qkv,))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_without_a_bias_keeps_large_scores_finite_and_nan_within_its_set(causal):
    sets = Sets.of(torch.tensor([9, 3]))
    qkv = (100 * torch.randn(12, 48)).requires_grad_()
    out = plain_attention(qkv, 2, sets, causal)
    (grad,) = torch.autograd.grad(out.sum(), qkv)
    assert out.isfinite().all()
    assert grad.isfinite().all()
    with torch.no_grad():
        qkv[8, :] = torch.nan
    out = plain_attention(qkv, 2, sets, causal)
    assert out[8].isnan().all()
    assert out[9:].isfinite().all()
    assert torch.autograd.grad(out.sum(), qkv)[0][9:].isfinite().all()


@pytest.mark.parametrize(("heads", "d"), [(8, 16), (2, 24)])
def test_attention_with_a_symmetric_bias(heads, d):
    sets, grid, is_real, _ = tables_of(COUNTS, heads)
    grid = grid + grid.transpose(2, 3)
    qkv, tables = torch.randn(sum(COUNTS), 3 * heads * d), grid_tables(grid, is_real, sets)
    found = symmetric_attention(qkv, tables, sets)
    wanted = attention_of(qkv, grid, COUNTS).float()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, biased_attention(qkv, tables, sets), rtol=1e-5, atol=1e-5)
    qkv[0, 0], qkv[6:] = torch.nan, 100 * qkv[6:]
    found = symmetric_attention(qkv, tables, sets)
    assert found[0, :d].isnan().all()
    assert found[1:].isfinite().all()


def test_large_scores_stay_finite_and_nan_is_not_swallowed():
    sets, _, _, tables = tables_of([5, 3], 2)
    qkv = 100 * torch.randn(8, 48)
    assert biased_attention(qkv, tables, sets).isfinite().all()
    qkv[1, 0] = torch.nan
    assert biased_attention(qkv, tables, sets)[1].isnan().any()
    rows = torch.randn(4, 16)
    rows[2, 3] = torch.nan
    out = rows_linear(rows, torch.randn(8, 16), torch.zeros(8), "gelu_norm")
    assert out[2].isnan().all()
    assert out[[0, 1, 3]].isfinite().all()


def test_tables_hold_each_pair_twice_and_hide_what_fills_them():
    counts = [3, 0, 9]
    sets = Sets.of(torch.tensor(counts))
    a, b = pairs_of(torch.tensor(counts))
    rows = drawn(len(a), 2)
    tables = pair_tables(rows, sets)
    grid = torch.zeros(3, 2, 9, 9)
    event = (a >= 3).long() * 2
    i, j = a - 3 * (event > 0), b - 3 * (event > 0)
    for one, other in ((i, j), (j, i)):
        grid = grid.index_put((event, torch.zeros_like(i), one, other), rows[:, 0])
        grid = grid.index_put((event, torch.ones_like(i), one, other), rows[:, 1])
    is_real = torch.arange(9) < torch.tensor(counts).unsqueeze(1)
    wanted = grid_tables(grid, is_real, sets)
    assert torch.equal(tables, wanted)
    assert (tables == HIDDEN).sum() == 2 * (3 * 5 + 9 * 7)
    weights = torch.randn(tables.shape)
    grads = [torch.autograd.grad((t * weights).sum(), rows)[0] for t in (tables, wanted)]
    torch.testing.assert_close(*grads)


def test_dropout_has_its_rate_and_its_scale_and_no_pattern():
    dropout = Dropout.drawn(0.1, True)
    z, ones = torch.ones(2000, 128), torch.ones(128)
    out = scaled_residual(torch.zeros_like(z), z, ones, dropout)
    kept = out != 0
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / 0.9))
    assert kept.float().mean().item() == pytest.approx(0.9, abs=5 * (0.09 / z.numel()) ** 0.5)
    for step in (1, 8, 128, 129):  # neighbours, lanes, rows
        flat = kept.flatten().float() - 0.9
        correlation = (flat[step:] * flat[:-step]).mean() / 0.09
        assert abs(correlation) < 5 / z.numel() ** 0.5
    again = scaled_residual(torch.zeros_like(z), z, ones, dropout)
    other = scaled_residual(torch.zeros_like(z), z, ones, Dropout.drawn(0.1, True))
    assert torch.equal(out, again)
    assert not torch.equal(out, other)


def test_dropout_is_the_same_on_the_way_back():
    """Along a random direction the gradient is what the difference of values says."""
    dropout = Dropout.drawn(0.3, True)
    sets, _, _, tables = tables_of([16, 9], 2)
    weight, bias, sign = torch.randn(48, 32), torch.zeros(48), torch.randn(25, 16)

    def value(x):
        qkv = rows_linear(x, weight, bias, "gelu_norm", dropout=dropout)
        return (biased_attention(qkv, tables, sets, dropout).double() * sign).sum()

    x, direction = drawn(25, 32), torch.randn(25, 32)
    (gradient,) = torch.autograd.grad(value(x), x)
    with torch.no_grad():
        slope = (value(x + 1e-3 * direction) - value(x - 1e-3 * direction)) / 2e-3
    assert slope.item() == pytest.approx((gradient * direction).sum().item(), rel=5e-3)


def test_there_is_no_second_derivative_and_it_says_so():
    """What kernels return has no graph: a penalty on gradients would be silently wrong."""
    inputs = jet_inputs([3, 30], p=30)
    network = stirred(ParT.example().build(InputSpec(17))).eval()
    x = inputs.x.clone().requires_grad_()
    out = network(replace(inputs, x=x)).pooled.square().sum()
    (gradient,) = torch.autograd.grad(out, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def test_kernels_are_of_float32_whatever_torch_takes_else():
    inputs = jet_inputs([2, 30], p=30)
    network = stirred(ParT.example().build(InputSpec(17)))
    wanted = network(inputs).pooled
    network = stirred(network)
    torch.set_default_dtype(torch.float64)
    try:
        found = network(inputs).pooled
        found.sum().backward()
        with torch.no_grad():
            network.eval()(inputs)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, wanted)


def test_without_fused_multiply_add_torch_computes(monkeypatch):
    inputs = jet_inputs([2, 30], p=30)
    network = stirred(ParT.example().build(InputSpec(17))).eval()
    wanted = network(inputs).pooled
    monkeypatch.setattr(part, "has_fused_multiply_add", lambda: False)
    assert not network._is_fused(inputs.x)
    torch.testing.assert_close(network(inputs).pooled, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("published", [True, False])
def test_features_of_pairs_without_their_indices(published):
    inputs = jet_inputs([0, 1, 2, 7, 30], p=30)
    columns, counts = pair_columns(inputs.p4[inputs.is_real]), inputs.is_real.sum(1)
    a, b = pairs_of(counts)
    wanted = pair_features(columns[a], columns[b], published)
    found = pair_rows(columns, counts, published)
    torch.testing.assert_close(found[:, :4], wanted, rtol=1e-6, atol=1e-5)
    assert not found[:, 4:].any()
    columns[3, 2] = torch.nan
    assert pair_rows(columns, counts, published)[(a == 3) | (b == 3)][:, [0, 2]].isnan().all()


@pytest.mark.parametrize("bends", [True, False])
def test_the_pairs_network_where_nobody_goes_back(bends):
    """The kernel of all layers against torch, and against the one that can go back."""
    pairs = stirred(PairEmbedding((16, 24, 4), bends, True)).eval()
    inputs = jet_inputs([1, 30, 45], p=45)
    columns, counts = pair_columns(inputs.p4[inputs.is_real]), inputs.is_real.sum(1)
    back = pairs.rows(columns, counts, True)
    with torch.no_grad():
        found, wanted = (pairs.rows(columns, counts, fused) for fused in (True, False))
    assert back.requires_grad and not found.requires_grad
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, back.detach(), rtol=1e-5, atol=1e-5)


def test_blocks_where_nobody_goes_back():
    """One after the other, so that no error hides behind the last norm."""
    inputs = jet_inputs([0, 1, 2, 7, 30, 45], p=50)
    network = stirred(ParT.example().build(InputSpec(17))).eval()
    counts = inputs.is_real.sum(1)
    sets, nodes = Sets.of(counts), network._nodes(inputs.is_real)
    with torch.no_grad():
        grid = network.pairs(inputs)
        rows, hidden = torch.randn(int(counts.sum()), 32), hiding(inputs.is_real)
        tables = grid_tables(grid, inputs.is_real, sets)
        wanted = network.blocks[0](rows, nodes, hidden + grid)
        for is_symmetric in (True, False):
            found = network.blocks[0].fused(rows, sets, tables, is_symmetric)
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-5)
        block, token = network.class_blocks[0], torch.randn(6, 32)
        one = block.pool(token, rows, nodes, F.pad(hidden, (1, 0)), sets)
        other = block.pool(token, rows, nodes, F.pad(hidden, (1, 0)))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-5)


def test_weights_that_changed_are_seen():
    """The fused optimisers change weights without a new version of the tensor."""
    network, inputs = ParT.example().build(InputSpec(17)).eval(), jet_inputs([12, 30, 7])
    with torch.no_grad():
        before = network(inputs).pooled
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, fused=True)
    network(inputs).pooled.square().sum().backward()
    optimiser.step()
    with torch.no_grad():
        found = network(inputs).pooled
        network.fused = False
        torch.testing.assert_close(found, network(inputs).pooled, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, before, atol=1e-3)


_BEFORE_NORMS = [f"pair_embedding.layers.{number}.bias" for number in (0, 1, 4, 7)]
"""Of the layers with nothing but linear ones between them and a norm."""


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pair_activation", [True, False])
def test_the_network_with_and_without_kernels(training, pair_activation):
    recipe = ParT.example().model_copy(update={"dropout": 0.0, "pair_activation": pair_activation})
    inputs, results = jet_inputs([0, 1, 2, 7, 30, 45], p=50), []
    weights = torch.randn(6, 50, 32), torch.randn(6, 32)
    for fused in (True, False):
        torch.manual_seed(0)
        network = stirred(recipe.build(InputSpec(17))).train(training)
        network.fused = fused
        assert network._is_fused(inputs.x) is fused
        latent = network(inputs)
        split = network.encode(network.embed(inputs), inputs.is_real, network.pairs(inputs))
        torch.testing.assert_close(split.pooled, latent.pooled, rtol=1e-4, atol=1e-5)
        ((latent.tokens * weights[0]).sum() + (latent.pooled * weights[1]).sum()).backward()
        results.append((latent, network))
    (found, mine), (wanted, plain) = results
    torch.testing.assert_close(found.tokens, wanted.tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.pooled, wanted.pooled, rtol=1e-4, atol=1e-5)
    for (name, one), other in zip(mine.named_parameters(), plain.parameters(), strict=True):
        assert one.grad is not None, name
        if training and name in _BEFORE_NORMS:
            # Before a norm that takes the mean a bias does nothing: both paths are left with
            # rounding, of sums over thousands of pairs, or with nothing.
            assert max(one.grad.abs().max(), other.grad.abs().max()) < 1e-4, name
            continue
        assert one.grad.any() or not name.startswith("pair_embedding"), name
        scale = other.grad.abs().max().clamp(min=0.2)
        assert (one.grad - other.grad).abs().max() < 5e-5 * scale, name
    for (name, one), other in zip(mine.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


def test_a_seeded_step_repeats_its_bits():
    network = ParT.example().build(InputSpec(17)).train()
    inputs, found = jet_inputs([12, 30, 7]), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(network(inputs).pooled)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_other_types_and_odd_sizes_take_the_plain_way():
    inputs = jet_inputs([4, 9])
    odd = ParT(embed=(12,), pair_embed=(4,), depth=1, class_depth=1, heads=2).build(InputSpec(17))
    assert not odd._is_fused(inputs.x)
    network = ParT.example().build(InputSpec(17)).eval()
    assert not network._is_fused(inputs.x.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not network._is_fused(inputs.x)
    network.packed = False
    assert not network._is_fused(inputs.x)
