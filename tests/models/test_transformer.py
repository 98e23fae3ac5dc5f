from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from transferline.errors import ConfigError
from transferline.models.backbones import BACKBONES, transformer
from transferline.models.backbones.base import masked_mean
from transferline.models.backbones.positions import rank_by_pt
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Features, InputSpec
from transferline.models.heads import Head
from transferline.models.model import Model, parameter_counts
from transferline.testing import check_backbone
from transferline.testing.batches import empty_set_batch, toy_batch


def built(**recipe):
    torch.manual_seed(0)
    features = Features().build()
    features.fit([toy_batch(64)])
    sizes = {"width": 16, "depth": 2, "heads": 4}
    return features, Transformer(**{**sizes, **recipe}).build(features.spec).eval()


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_every_variant_keeps_the_promises_of_a_backbone(norm, activation):
    check_backbone(Transformer(width=16, depth=2, heads=4, norm=norm, activation=activation))


@pytest.mark.parametrize("batch", [toy_batch(16), empty_set_batch()], ids=["events", "empty"])
def test_the_packed_path_equals_the_padded_one(batch):
    features, backbone = built()
    packed = backbone(features(batch))
    backbone.packed = False
    padded = backbone(features(batch))
    torch.testing.assert_close(packed.tokens, padded.tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed.pooled, padded.pooled, atol=1e-5, rtol=1e-5)


@given(seed=st.integers(0, 10_000), extra=st.integers(0, 9))
def test_order_and_padding_do_not_matter(seed, extra):
    features, backbone = built(width=8, depth=1, heads=2)
    batch = toy_batch(4, 7, seed)
    order = torch.randperm(7 + extra, generator=torch.Generator().manual_seed(seed))

    def moved(values):
        shape = (4, extra, *values.shape[2:])
        return torch.cat((values, values.new_zeros(shape)), dim=1)[:, order]

    other = batch.replace(
        p4=moved(batch.p4),
        is_real=moved(batch.is_real),
        columns={name: moved(values) for name, values in batch.columns.items()},
    )
    with torch.no_grad():
        one, two = backbone(features(batch)), backbone(features(other))
    torch.testing.assert_close(two.pooled, one.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(two.tokens, moved(one.tokens), atol=1e-5, rtol=1e-5)


def test_attention_equals_the_reference_of_pytorch():
    """One pre-norm block against torch's own TransformerEncoderLayer with the same weights."""
    features, backbone = built(depth=1)
    layer = reference(backbone.blocks[0], 64, "gelu", norm_first=True)
    inputs = features(toy_batch())
    with torch.no_grad():
        tokens = backbone.embed(inputs)
        wanted = backbone.final_norm(layer(tokens, src_key_padding_mask=~inputs.is_real))
        found = backbone.encode(tokens, inputs.is_real).tokens
    real = inputs.is_real
    torch.testing.assert_close(found[real], wanted[real], atol=1e-5, rtol=1e-5)


def reference(block, hidden, activation, norm_first):
    """Torch's own layer with the weights of a block of ours."""
    width, heads = block.norm1.normalized_shape[0], block.attention.heads
    layer = torch.nn.TransformerEncoderLayer(
        width, heads, hidden, 0.0, activation, batch_first=True, norm_first=norm_first
    ).eval()
    pairs = {
        layer.self_attn.in_proj_weight: block.attention.qkv.weight,
        layer.self_attn.in_proj_bias: block.attention.qkv.bias,
        layer.self_attn.out_proj.weight: block.attention.out.weight,
        layer.self_attn.out_proj.bias: block.attention.out.bias,
        layer.norm1.weight: block.norm1.weight,
        layer.norm1.bias: block.norm1.bias,
        layer.norm2.weight: block.norm2.weight,
        layer.norm2.bias: block.norm2.bias,
        layer.linear1.weight: block.feed_forward[0].weight,
        layer.linear1.bias: block.feed_forward[0].bias,
        layer.linear2.weight: block.feed_forward[-1].weight,
        layer.linear2.bias: block.feed_forward[-1].bias,
    }
    with torch.no_grad():
        for theirs, ours in pairs.items():
            theirs.copy_(ours)
    return layer


PUBLISHED = {"hidden": 24, "norm": "post", "activation": "relu"}
SEEN = {"padding": "seen", "slots": 10}


def stock(backbone, x, mask=None):
    """The published network from torch's own parts: embedding, then layers with their defaults."""
    tokens = backbone.embedding(x)
    for block in backbone.blocks:
        layer = reference(block, PUBLISHED["hidden"], "relu", norm_first=False)
        tokens = layer(tokens, src_key_padding_mask=mask)
    return tokens


@torch.no_grad()
def test_the_published_block_is_the_stock_layer_with_its_mask():
    features, backbone = built(**PUBLISHED)
    inputs = features(toy_batch())
    wanted = stock(backbone, inputs.x, ~inputs.is_real)
    found = backbone(inputs)
    torch.testing.assert_close(found.tokens[inputs.is_real], wanted[inputs.is_real])
    torch.testing.assert_close(found.pooled, masked_mean(wanted, inputs.is_real))


@torch.no_grad()
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_padding_that_is_seen_is_the_stock_network_without_a_mask(packed, fused):
    """Ten places, -99 in every feature of the empty ones, the mean over all of them."""
    features, backbone = built(**PUBLISHED, **SEEN)
    backbone.packed, backbone.fused = packed, fused
    inputs = features(toy_batch())
    filled = torch.where(inputs.is_real.unsqueeze(-1), inputs.x, -99.0)
    filled = torch.nn.functional.pad(filled, (0, 0, 0, 2), value=-99.0)
    wanted = stock(backbone, filled)
    found = backbone(inputs)
    torch.testing.assert_close(found.pooled, wanted.mean(1))
    torch.testing.assert_close(found.tokens[inputs.is_real], wanted[:, :8][inputs.is_real])


@torch.no_grad()
def test_empty_places_matter_where_they_are_seen_and_nowhere_else():
    features, backbone = built(**SEEN)
    inputs = features(toy_batch())
    ten = backbone(inputs)
    backbone.slots = 11
    one_more = backbone(inputs)
    assert ((one_more.pooled - ten.pooled).abs().amax(1) > 1e-3).all()
    assert ((one_more.tokens - ten.tokens).abs().amax((1, 2)) > 1e-4).all()
    backbone.slots = 1  # every event has as many objects: none has an empty place
    full = backbone(inputs)
    backbone.slots = None
    masked = backbone(inputs)
    torch.testing.assert_close(full.pooled, masked.pooled)
    torch.testing.assert_close(full.tokens, masked.tokens)


def test_seen_padding_keeps_the_promises_of_a_backbone():
    """Also in batches of other lengths: the number of places is that of the recipe."""
    check_backbone(Transformer(width=16, depth=2, heads=4, **SEEN))


def test_hashes_of_recipes_older_than_the_padding_stay():
    assert not {"padding", "slots"} & set(Transformer().to_dict())
    seen = Transformer(**SEEN)
    assert Transformer.model_validate(seen.to_dict()) == seen
    assert seen.digest() != Transformer().digest()


def test_an_order_by_pt_keeps_the_promises_of_a_backbone_and_old_hashes():
    """It is told by the momenta, not by where particles stand."""
    check_backbone(Transformer(width=16, depth=1, heads=2, positions=3))
    assert "positions" not in Transformer().to_dict()


def test_a_causal_one_keeps_the_promises_and_takes_nothing_of_softer_particles():
    recipe = Transformer(width=16, depth=2, heads=2, causal=True)
    check_backbone(recipe)
    batch = toy_batch(8)
    features = Features().build()
    inputs = features(batch)
    backbone = recipe.build(features.spec).eval()
    rank = rank_by_pt(inputs.p4, inputs.is_real)
    softest = (rank == inputs.is_real.sum(1, keepdim=True) - 1) & inputs.is_real
    other = replace(inputs, x=inputs.x + 5.0 * softest.unsqueeze(-1))
    before, after = backbone(inputs).tokens, backbone(other).tokens
    torch.testing.assert_close(after[~softest], before[~softest])
    assert (after[softest] != before[softest]).any()
    for alpha in backbone.attention(inputs):
        later = rank.unsqueeze(1) > rank.unsqueeze(2)  # of the sender, of the receiver
        assert float(alpha[later & inputs.is_real.unsqueeze(2)].abs().max()) < 1e-6
    with pytest.raises(ConfigError, match="embeds a part of them"):
        backbone.encode(backbone.embed(inputs), inputs.is_real)


@pytest.mark.parametrize("wrong", [{"padding": "seen"}, {"slots": 8}])
def test_slots_belong_to_padding_that_is_seen(wrong):
    with pytest.raises(ValidationError, match="belong together"):
        Transformer(**wrong)


@pytest.mark.parametrize("extra", [{}, SEEN])
def test_the_fused_attention_equals_the_plain_one(extra):
    features, backbone = built(**extra)
    inputs = features(toy_batch())
    results = []
    for fused in (True, False):
        backbone.fused = fused
        backbone.zero_grad()
        pooled = backbone(inputs).pooled
        pooled.square().sum().backward()
        results.append((pooled, [p.grad.clone() for p in backbone.parameters()]))
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)


@given(seed=st.integers(0, 10_000), causal=st.booleans(), width=st.sampled_from([16, 32]))
@settings(max_examples=20)
def test_attention_within_large_sets_equals_that_on_the_grid(seed, causal, width):
    """Sets of 0 to 40 particles, some of them with gaps: as after masking."""
    random = torch.Generator().manual_seed(seed)
    is_real = torch.rand(5, 40, generator=random) < torch.rand(5, 1, generator=random)
    is_real[0] = False
    tokens = torch.randn(5, 40, width, generator=random)
    backbone = built(width=width, heads=2)[1]
    results = []
    for kernel in (True, False):
        backbone.fused = kernel
        backbone.zero_grad()
        tokens = tokens.detach().requires_grad_()
        out = backbone.encode(tokens, is_real, causal=causal)
        (out.pooled.square().sum() + out.tokens[:, ::3].sum()).backward()
        gradients = [p.grad.clone() for p in backbone.blocks.parameters()]
        results.append((out.tokens, out.pooled, tokens.grad, gradients))
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)


def test_without_fused_multiply_add_torch_attends(monkeypatch):
    backbone, is_real = built(heads=2)[1], torch.ones(2, 40, dtype=torch.bool)
    assert backbone._grid(is_real, None, False, None, packed=True).sets is not None
    monkeypatch.setattr(transformer, "has_fused_multiply_add", lambda: False)
    assert backbone._grid(is_real, None, False, None, packed=True).sets is None


@pytest.mark.parametrize("places", [8, 20])
def test_a_second_derivative_is_refused_where_kernels_have_none(places):
    backbone = built(heads=2)[1]
    tokens = torch.randn(2, places, 16, requires_grad=True)
    pooled = backbone.encode(tokens, torch.ones(2, places, dtype=torch.bool)).pooled
    (slope,) = torch.autograd.grad(pooled.square().sum(), tokens, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


@torch.no_grad()
def test_attention_is_that_of_pytorch_block_by_block():
    features, backbone = built(**PUBLISHED)
    inputs = features(toy_batch())
    x, real = backbone.embed(inputs), inputs.is_real
    found = backbone.attention(inputs)
    assert len(found) == 2
    for alpha, block in zip(found, backbone.blocks, strict=True):
        layer = reference(block, PUBLISHED["hidden"], "relu", norm_first=False)
        _, wanted = layer.self_attn(x, x, x, key_padding_mask=~real)  # the mean over heads
        torch.testing.assert_close(alpha[real], wanted[real], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alpha.sum(-1)[real], torch.ones(int(real.sum())))
        assert not alpha.masked_select(real[:, :, None] & ~real[:, None, :]).any()
        x = layer(x, src_key_padding_mask=~real)


@torch.no_grad()
def test_attention_to_seen_padding_is_left_out_of_the_shares():
    """Of the first block, where the tokens are the same: those of masked padding, one head."""
    features, backbone = built(**SEEN, heads=1)
    inputs = features(toy_batch())
    seen = backbone.attention(inputs)
    backbone.slots = None
    masked = backbone.attention(inputs)
    real = inputs.is_real
    torch.testing.assert_close(seen[0][real], masked[0][real], atol=1e-5, rtol=1e-4)
    for alpha in seen:
        assert alpha.shape == (len(real), real.shape[1], real.shape[1])
        torch.testing.assert_close(alpha.sum(-1)[real], torch.ones(int(real.sum())))
    assert (seen[1] - masked[1])[real].abs().max() > 1e-4


@pytest.mark.parametrize(
    ("sizes", "inputs", "outputs", "total"),
    [
        # PoS(ISGC2025) 488, 001, "about 11 million"; depth and feed-forward size are our choice.
        ({"width": 256, "depth": 8, "heads": 8}, 11, 5, 10_525_445),
        # The authors' code of arXiv:2312.06909.
        ({"width": 64, "depth": 6, "heads": 4}, 9, 4, 1_687_940),
    ],
)
def test_the_published_networks_have_the_published_sizes(sizes, inputs, outputs, total):
    recipe = Transformer(**sizes, hidden=2048, norm="post", activation="relu")
    backbone = recipe.build(InputSpec(n_features=inputs))
    d, h = sizes["width"], 2048
    counts = parameter_counts(Model(Features().build(), backbone, Head().build(d, outputs)))
    assert counts["embedding"] == inputs * d + d + 2 * d
    assert counts["feature"] == sizes["depth"] * (4 * d * d + 9 * d + 2 * d * h + h)
    assert counts["classifier"] == (d + 1) * outputs
    assert sum(counts.values()) == total


def test_bfloat16_stays_near_float32():
    features, backbone = built()
    inputs = features(toy_batch())
    exact = backbone(inputs).pooled
    with torch.autocast("cpu", torch.bfloat16):
        rounded = backbone(inputs).pooled
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.1


def test_masked_mean_ignores_padding_and_survives_the_empty_set():
    tokens = torch.arange(12.0).reshape(2, 3, 2)
    is_real = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(tokens, is_real).tolist() == [[1.0, 2.0], [0.0, 0.0]]


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("kind", ["transformer", "gat", "gnn"])
def test_batches_without_events_or_without_places_pass(kind, shape):
    sizes = {"width": 16, "depth": 1, **({} if kind == "gnn" else {"heads": 2})}
    recipe = BACKBONES.load(kind).model_validate({"kind": kind, **sizes})
    backbone = recipe.build(InputSpec(n_features=5)).eval()
    tokens = torch.zeros(*shape, backbone.token_width)
    latent = backbone.encode(tokens, torch.zeros(shape, dtype=torch.bool))
    assert latent.pooled.shape == (shape[0], 16)
    assert not latent.pooled.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_packed_path_takes_other_types_of_numbers(dtype):
    features, backbone = built()
    inputs, backbone = features(toy_batch(16)), backbone.to(dtype)
    cast = replace(inputs, x=inputs.x.to(dtype), p4=inputs.p4.to(dtype))
    found = backbone.encode(backbone.embed(cast), inputs.is_real)
    assert torch.isfinite(found.pooled).all()
