from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transferline.models.backbones.dot_attention import dot_attention

SETS = st.lists(st.integers(0, 9), max_size=5)


def drawn(counts, heads, width, spare, seed=0):
    random = torch.Generator().manual_seed(seed)
    t = sum(counts) + spare
    qkv = 2 * torch.randn(t, 3, heads, width, generator=random)
    return qkv.requires_grad_(), torch.randn(t, generator=random), torch.tensor(counts).long()


def plain(qkv, bias, counts):
    """The definition, set by set."""
    out = 0 * qkv[:, 0]
    start = 0
    for n in counts.tolist():
        q, k, v = qkv[start : start + n].unbind(1)
        score = torch.einsum("ihd,jhd->hij", q, k) / qkv.shape[-1] ** 0.5
        alpha = (score + bias[start : start + n]).softmax(-1)
        out[start : start + n] = torch.einsum("hij,jhd->ihd", alpha, v)
        start += n
    return out


@settings(deadline=None)
@given(
    counts=SETS, heads=st.integers(1, 3), width=st.sampled_from([1, 3, 8, 16, 32]),
    spare=st.integers(0, 3),
)  # fmt: skip
def test_it_is_the_definition_forward_and_backward(counts, heads, width, spare):
    qkv, bias, sizes = drawn(counts, heads, width, spare)
    found, wanted = dot_attention(qkv, bias, sizes), plain(qkv, bias, sizes)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert not found[sum(counts) :].any()
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    grads = [torch.autograd.grad((out * weights).sum(), qkv)[0] for out in (found, wanted)]
    torch.testing.assert_close(*grads, atol=1e-4, rtol=1e-4)


def test_a_set_gives_the_same_bits_alone_and_among_others():
    qkv, bias, sizes = drawn([4, 7, 2], 2, 16, 0)
    together = dot_attention(qkv, bias, sizes)[4:11]
    alone = dot_attention(qkv[4:11], bias[4:11], torch.tensor([7]))
    assert torch.equal(together, alone)


def test_large_scores_stay_finite():
    qkv, bias, sizes = drawn([5], 1, 16, 0)
    out = dot_attention(100 * qkv, bias, sizes)
    assert out.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_are_computed_in_float32_and_get_gradients_of_their_own(dtype):
    qkv, bias, sizes = drawn([5, 3], 2, 8, 1)
    other = qkv.detach().to(dtype).requires_grad_()
    out = dot_attention(other, bias, sizes)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, plain(other.float(), bias, sizes), atol=1e-5, rtol=1e-5)
    out.sum().backward()
    assert other.grad.dtype == dtype
