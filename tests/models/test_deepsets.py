"""Deep Sets: the published sizes, the formula, and what an energy flow network must not notice."""

from __future__ import annotations

import pytest
import torch

from transferline.models.backbones.deepsets import DeepSets
from transferline.models.features import JETCLASS_FEATURES, Features, InputSpec
from transferline.testing import check_backbone

from .jets import random_jets

DIRECTIONS = Features(particles=("delta_eta", "delta_phi"), species="hidden", scaling="none")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def built(features=DIRECTIONS, **recipe):
    torch.manual_seed(0)
    extractor = features.build()
    backbone = DeepSets(**{"particle": (16, 24), "whole": (16, 24), **recipe})
    return extractor, backbone.build(extractor.spec).eval()


def test_sizes():
    sizes = [3 * 100 + 100, 100 * 100 + 100, 100 * 256 + 256, 256 * 100 + 100, 2 * 100 * 101]
    resized = 256 * 100 + 100
    assert count(DeepSets().build(InputSpec(n_features=3))) == sum(sizes) + resized
    full = Features(particles=JETCLASS_FEATURES["full"], species="hidden", scaling="published")
    assert count(DeepSets.example().build(full.build().spec)) == 68_352


@pytest.mark.parametrize("pooling", ["sum", "mean", "momentum"])
@pytest.mark.parametrize("whole", [(16, 24), (12,)])
def test_every_variant_keeps_the_promises_of_a_backbone(pooling, whole):
    check_backbone(DeepSets(particle=(16, 24), whole=whole, pooling=pooling, dropout=0.1))


def test_the_formula_jet_by_jet():
    jets = random_jets([1, 5, 17, 40])
    for pooling in ("sum", "mean", "momentum"):
        features, backbone = built(pooling=pooling)
        inputs = features(jets)
        pooled = backbone(inputs).pooled
        for i in range(4):
            real = jets.is_real[i]
            phi, pt = backbone.embedding(inputs.x[i, real]), jets.p4[i, real, 0]
            shares = {"sum": pt**0, "mean": pt**0 / len(pt), "momentum": pt / pt.sum()}[pooling]
            wanted = backbone.whole((shares.unsqueeze(1) * phi).sum(0))
            torch.testing.assert_close(pooled[i], wanted, atol=1e-4, rtol=1e-4)


def split(jets, share):
    """Every first particle as two collinear massless ones, and one soft particle beside them."""
    first = jets.p4[:, :1].clone()
    soft = first.clone()
    first[..., 0] *= share
    soft[..., 0], soft[..., 1] = 1e-7, soft[..., 1] + 0.4
    rest = jets.p4.clone()
    rest[:, 0, 0] *= 1 - share
    added = torch.ones(len(jets), 2, dtype=torch.bool)
    return jets.replace(
        p4=torch.cat((first, soft, rest), dim=1), is_real=torch.cat((added, jets.is_real), dim=1)
    )


def test_an_energy_flow_network_is_infrared_and_collinear_safe():
    jets = random_jets([3, 12, 30, 45])
    p4 = jets.p4.clone()
    p4[..., 3] = 0.0
    jets = jets.replace(p4=p4, columns={})
    features, backbone = built(pooling="momentum")
    whole, apart = (backbone(features(x)).pooled for x in (jets, split(jets, 0.3)))
    torch.testing.assert_close(apart, whole, atol=1e-5, rtol=1e-4)
    features, backbone = built(pooling="sum")  # counts particles: the test can fail
    whole, apart = (backbone(features(x)).pooled for x in (jets, split(jets, 0.3)))
    assert (apart - whole).abs().max() > 1e-2
