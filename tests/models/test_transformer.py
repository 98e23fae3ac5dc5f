from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transferline.models.backbones import BACKBONES
from transferline.models.backbones.base import masked_mean
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Features, InputSpec
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
    layer = torch.nn.TransformerEncoderLayer(
        16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True
    ).eval()
    block = backbone.blocks[0]
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
        for reference, ours in pairs.items():
            reference.copy_(ours)
        inputs = features(toy_batch())
        tokens = backbone.embed(inputs)
        wanted = backbone.final_norm(layer(tokens, src_key_padding_mask=~inputs.is_real))
        found = backbone.encode(tokens, inputs.is_real).tokens
    real = inputs.is_real
    torch.testing.assert_close(found[real], wanted[real], atol=1e-5, rtol=1e-5)


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
