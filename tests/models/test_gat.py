"""The graph networks: parameter counts, PyTorch Geometric's numbers, both ways of computing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from transferline.models.backbones.gat import GAT, GNN, AttentionConvolution, Nodes
from transferline.models.backbones.set_attention import SLOPE, set_attention
from transferline.models.features import Inputs, InputSpec
from transferline.models.heads import Head

SPEC = InputSpec(n_features=5)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("recipe", "expected"), [(GNN(), 333_312), (GAT(), 334_848)])
def test_parameters_of_the_published_model(recipe, expected):
    assert count(recipe.build(SPEC)) == expected


def test_attention_vectors_are_drawn_as_by_the_authors_library():
    """Of shape [1, heads, width] there: Xavier takes heads x width inputs and width outputs."""
    torch.manual_seed(0)
    drawn = torch.cat([AttentionConvolution(256, 256, 4).attention.flatten() for _ in range(50)])
    assert drawn.std().item() == pytest.approx((2 * 2 / (256 + 64)) ** 0.5, rel=0.03)


def test_parameters_of_the_published_classifier():
    assert count(Head().build(256, 2)) == 514


def inputs(n=7, p=6, seed=0):
    torch.manual_seed(seed)
    is_real = torch.rand(n, p) < 0.8
    is_real[0] = False
    is_real[1] = torch.arange(p) == 0
    x = torch.randn(n, p, 5).masked_fill(~is_real.unsqueeze(-1), 0)
    return Inputs(x=x, p4=torch.zeros(n, p, 4), is_real=is_real)


def plain(z, a, counts):
    """The formulas as they stand, set by set; float64."""
    out, start = [], 0
    for size in counts:
        s = z[start : start + size]
        start += size
        score = (F.leaky_relu(s[:, None] + s[None], SLOPE) * a).sum(-1)
        out.append(torch.einsum("ijh,jhd->ihd", score.softmax(1), s))
    return torch.cat([*out, z[:0]])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 20))
def test_the_kernel_computes_the_formula_and_its_gradient(counts, heads, width):
    torch.manual_seed(1)
    z = torch.randn(sum(counts), heads, width, requires_grad=True)
    a = torch.randn(heads, width, requires_grad=True)
    exact = [t.detach().double().requires_grad_() for t in (z, a)]
    out, alpha = set_attention(z, a, torch.tensor(counts, dtype=torch.int64))
    expected = plain(*exact, counts)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alpha.sum(), torch.tensor(float(sum(counts) * heads)))
    signal = torch.randn(out.shape)
    out.backward(signal)
    expected.backward(signal.double())
    for mine, theirs in zip((z, a), exact, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("recipe", [GNN(width=16, depth=3), GAT(width=16, depth=3, heads=2)])
def test_packed_and_padded_ways_agree(recipe):
    """The padded one is what exported graphs and other devices run."""
    torch.manual_seed(0)
    backbone = recipe.build(SPEC).eval()
    found = []
    for packed in (True, False):
        backbone.packed = packed
        found.append(backbone(inputs()))
    torch.testing.assert_close(found[0].tokens, found[1].tokens, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[0].pooled, found[1].pooled, rtol=1e-5, atol=1e-6)


def test_one_node_in_a_training_batch_uses_the_running_statistics():
    backbone = GAT(width=8, depth=2, heads=2).build(SPEC).train()
    one = Inputs(x=torch.randn(1, 1, 5), p4=torch.zeros(1, 1, 4), is_real=torch.ones(1, 1) > 0)
    assert backbone(one).pooled.isfinite().all()


def test_the_convolution_equals_that_of_pytorch_geometric():
    geometric = pytest.importorskip("torch_geometric.nn")
    torch.manual_seed(0)
    mine = AttentionConvolution(5, 32, 4)
    theirs = geometric.GATv2Conv(5, 8, heads=4, share_weights=True, bias=False, residual=False)
    with torch.no_grad():
        theirs.lin_l.weight.copy_(mine.linear.weight)
        theirs.att.copy_(mine.attention[None])
    given_ = inputs()
    nodes = Nodes.of(given_.is_real, packed=True)
    event = nodes.index // given_.is_real.shape[1]
    edges = (event[:, None] == event[None]).nonzero().T  # self-loops included
    rows = nodes.gather(given_.x)
    # PyG adds the self-loops by itself, after removing those that are there.
    expected = theirs(rows, edges)
    for packed in (True, False):
        grid = Nodes.of(given_.is_real, packed)
        found = mine(grid.gather(given_.x), grid)
        found = found if packed else found[nodes.index]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
