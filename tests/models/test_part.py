"""Particle Transformer: its size, its pairs, both ways of computing, what training collects."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from transferline.data.batch import cartesian
from transferline.learning.objectives.masked_particles import MaskedParticles
from transferline.models.backbones.pair_features import pair_columns, pair_features
from transferline.models.backbones.part import ParT
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import JETCLASS_FEATURES, Features, InputSpec
from transferline.models.heads import Head
from transferline.models.model import ModelRecipe, parameter_counts, tensors_of, unchanged
from transferline.testing import check_backbone

from .jets import random_jets

FULL = Features(particles=JETCLASS_FEATURES["full"], species="hidden", scaling="published")


def small(**changes):
    recipe = ParT.example().model_copy(update=changes)
    torch.manual_seed(0)
    return recipe.build(InputSpec(17))


def jet_inputs(counts, seed=0, p=None):
    return FULL.build()(random_jets(counts, seed, p))


def stirred(backbone):
    """With running statistics and scales that differ from those at the start."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in backbone.state_dict().items():
            if name.endswith(("running_var", "scale")):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias", "class_token")):
                tensor.normal_(0, 0.3)
    return backbone


def test_parameters_of_the_published_model():
    model = ModelRecipe(features=FULL, backbone=ParT(), head=Head(), n_outputs=10).build()
    assert sum(p.numel() for p in model.parameters()) == 2_143_486
    assert parameter_counts(model)["classifier"] == 1290
    assert FULL.build().spec.n_features == 17


def test_heads_must_divide_the_width():
    with pytest.raises(ValidationError, match=r"heads \(8\) must divide width \(100\)"):
        ParT(embed=(100,))


def test_pair_features_are_the_published_formulas():
    p4 = random_jets([40], seed=3).p4[0]
    i, j = torch.randint(40, (2, 200))
    i, j = i[i != j], j[i != j]
    columns = pair_columns(p4)
    found = pair_features(columns[i], columns[j])
    energy, px, py, pz = cartesian(p4.double()).unbind(-1)
    pt, phi = p4[:, 0].double(), p4[:, 2].double()
    y = torch.atanh(pz / energy)
    dphi = torch.atan2((phi[i] - phi[j]).sin(), (phi[i] - phi[j]).cos())
    delta = torch.hypot(y[i] - y[j], dphi)
    softer = torch.minimum(pt[i], pt[j])
    mass2 = sum(
        sign * (x[i] + x[j]) ** 2
        for sign, x in zip((1, -1, -1, -1), (energy, px, py, pz), strict=True)
    )
    for column, expected in enumerate((softer * delta, softer / (pt[i] + pt[j]), delta)):
        torch.testing.assert_close(found[:, column], expected.log().float(), rtol=1e-4, atol=1e-3)
    # What float32 leaves of a difference of large numbers.
    error = (found[:, 3].exp() - mass2.float()).abs()
    assert (error < 2e-6 * (energy[i] + energy[j]).float() ** 2 + 1e-5).all()


def test_the_rapidity_holds_in_the_forward_region_unless_it_is_the_published_one():
    """float32: E - pz is nothing but rounding there."""
    eta = torch.tensor([-12.0, -9.0, -5.0, 0.0, 5.0, 9.0, 12.0])
    p4 = torch.stack((torch.full_like(eta, 20.0), eta, 0 * eta, 0 * eta), -1)
    torch.testing.assert_close(pair_columns(p4)[:, 1], eta, rtol=1e-5, atol=1e-5)
    assert not pair_columns(p4, published=True)[[0, 1, 5, 6], 1].isclose(eta[[0, 1, 5, 6]]).any()


def test_the_mass_of_light_and_collinear_pairs_is_exact_unless_it_is_the_published_one():
    near = torch.tensor([300.0, 1.2, 0.4, 0.0]).repeat(2, 1)
    near[1, 1:3] += 1e-3
    stable, rounded = (
        pair_features(*pair_columns(near, flag).split(1), flag) for flag in (False, True)
    )
    exact = 300.0**2 * 2e-6  # 2 pt^2 (cosh d_eta - cos d_phi), massless
    assert stable[0, 3].exp().item() == pytest.approx(exact, rel=2e-3)
    assert rounded[0, 3].exp().item() != pytest.approx(exact, rel=2e-3)
    columns = pair_columns(near)
    alone = pair_features(columns, columns)
    assert (alone[:, 3] == torch.tensor(1e-8).log()).all()  # massless: nothing but the floor


def test_a_particle_with_itself_and_padding_stay_finite():
    columns = pair_columns(torch.zeros(2, 4))
    assert pair_features(columns, columns).isfinite().all()
    columns = pair_columns(random_jets([20]).p4[0])
    assert pair_features(columns, columns).isfinite().all()


@pytest.mark.parametrize("pair_activation", [True, False])
def test_packed_and_padded_ways_agree(pair_activation):
    """The padded one is what exported graphs run."""
    backbone = stirred(small(pair_activation=pair_activation)).eval()
    inputs = jet_inputs([0, 1, 2, 7, 30], p=33)
    found, bias = [], []
    for packed in (True, False):
        backbone.packed = packed
        found.append(backbone(inputs))
        bias.append(backbone.pairs(inputs))
    torch.testing.assert_close(bias[0], bias[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0].tokens, found[1].tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0].pooled, found[1].pooled, rtol=1e-4, atol=1e-5)


def test_pairs_are_symmetric_and_change_the_result():
    backbone = stirred(small()).eval()
    inputs = jet_inputs([5, 9])
    bias = backbone.pairs(inputs)
    assert bias.shape == (2, 4, 9, 9)
    torch.testing.assert_close(bias, bias.transpose(2, 3))
    assert not bias[0, :, 5:].any()
    tokens = backbone.embed(inputs)
    without = backbone.encode(tokens, inputs.is_real).pooled
    assert not torch.allclose(without, backbone(inputs).pooled, atol=1e-4)


def test_a_masked_particle_never_enters_pairs():
    backbone = stirred(small()).eval()
    inputs = jet_inputs([6, 6])
    masked = torch.zeros_like(inputs.is_real)
    masked[:, 2] = True
    shown = replace(inputs, is_real=inputs.is_real & ~masked)
    moved = replace(shown, p4=torch.where(masked.unsqueeze(-1), 3 * inputs.p4, inputs.p4))
    bias = backbone.pairs(shown)
    assert not bias[:, :, 2].any()
    assert not bias[..., 2].any()
    torch.testing.assert_close(bias, backbone.pairs(moved), rtol=0, atol=0)


@pytest.mark.parametrize("packed", [True, False])
def test_padding_never_enters_what_training_collects(packed):
    tight, wide = small(dropout=0.0).train(), small(dropout=0.0).train()
    tight.packed = wide.packed = packed
    counts = [3, 20, 9, 0]
    pooled = [tight(jet_inputs(counts, p=p)).pooled for p in (20,)]
    inputs = jet_inputs(counts, p=20)
    more = (0, 0, 0, 30)
    pad = torch.nn.functional.pad
    padded = replace(
        inputs,
        x=pad(inputs.x, more, value=5.0),
        p4=pad(inputs.p4, more, value=2.0),
        is_real=pad(inputs.is_real, (0, 30)),
    )
    pooled.append(wide(padded).pooled)
    torch.testing.assert_close(pooled[0], pooled[1], rtol=1e-4, atol=1e-5)
    for name, value in wide.state_dict().items():
        torch.testing.assert_close(value, tight.state_dict()[name], rtol=1e-5, atol=1e-6)
    real = inputs.x[inputs.is_real]
    torch.testing.assert_close(wide.embedding.norm.running_mean, 0.1 * real.mean(0))
    both = inputs.is_real.unsqueeze(1) & inputs.is_real.unsqueeze(2)
    event, i, j = both.tril().nonzero().unbind(1)
    columns = pair_columns(inputs.p4)
    pairs = pair_features(columns[event, i], columns[event, j])
    norm = wide.pair_embedding.layers[0]
    torch.testing.assert_close(norm.running_mean, 0.1 * pairs.mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("counts", [[0], [1], [0, 1], [0, 0], [2]])
def test_training_on_next_to_nothing_stays_finite(counts):
    backbone = small().train()
    latent = backbone(jet_inputs(counts, p=3))
    assert latent.pooled.isfinite().all()
    (latent.pooled.sum() + latent.tokens.sum()).backward()
    gradients = [p.grad for p in backbone.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(value.isfinite().all() for value in backbone.state_dict().values())


def test_every_parameter_learns_through_tokens_and_pooled():
    backbone = stirred(small()).eval()
    latent = backbone(jet_inputs([4, 12, 9]))
    torch.manual_seed(0)
    loss = sum((part * torch.randn_like(part)).sum() for part in (latent.tokens, latent.pooled))
    loss.backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_bfloat16_training_is_close_to_float32():
    backbone = small(dropout=0.0)
    inputs = jet_inputs([10, 30, 20])
    plain = backbone.train()(inputs).pooled
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = backbone(inputs).pooled
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, plain, rtol=0, atol=0.1)


def test_attention_rows_of_real_particles_sum_to_one():
    backbone = stirred(small()).eval()
    inputs = jet_inputs([4, 7])
    maps = backbone.attention(inputs)
    assert len(maps) == 3
    for weights in maps:
        sums = weights.sum(-1)[inputs.is_real]
        torch.testing.assert_close(sums, torch.ones_like(sums))
        assert not weights[0, :4, 4:].any()


def test_the_mean_of_particles_reads_what_an_objective_of_particles_trains():
    """A class token would stay as it was drawn, and so would all that reads sets through it."""
    small = {"embed": (16, 32, 16), "pair_embed": (8,), "depth": 1, "class_depth": 1, "heads": 2}
    check_backbone(ParT(**small, pooling="mean"))
    left = {}
    for pooling in ("class", "mean"):
        torch.manual_seed(0)
        model = ModelRecipe(features=FULL, backbone=ParT(**small, pooling=pooling)).build()
        drawn = tensors_of(model.backbone)
        objective = MaskedParticles(
            targets=("log_pt",), reader=Transformer(width=8, depth=1, heads=2)
        )
        module = objective.build(model)
        optimiser = torch.optim.AdamW(module.parameters(), lr=0.1)
        module.train()(random_jets([9, 7, 8])).total.backward()
        optimiser.step()
        left[pooling] = unchanged(model.backbone, drawn)
    assert left["class"] > 0 == left["mean"]
    assert ParT().digest() == ParT(pooling="class").digest()
