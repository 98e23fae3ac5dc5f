"""L-GATr: invariant under the Lorentz group, and not where the detector is told of."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch

from transferline.errors import ConfigError
from transferline.models.backbones.lgatr import LGATr
from transferline.models.features import Features, InputSpec
from transferline.models.heads import Head
from transferline.testing import check_backbone

from .jets import random_jets

pytest.importorskip("lgatr")

ATTRIBUTES = Features(
    particles=("charge", "is_photon", "is_muon", "tanh_d0"), species="hidden", scaling="none"
)


def built(**recipe):
    torch.manual_seed(0)
    features = ATTRIBUTES.build()
    sizes = {"width": 16, "depth": 3, "vectors": 8, "scalars": 16, "heads": 4}
    backbone = LGATr(**{**sizes, **recipe}).build(features.spec).eval()
    head = Head().build(backbone.width, 10)

    def logits(batch):
        with torch.no_grad():
            return head(backbone(features(batch)).pooled)

    return logits


def transformed(jets, rapidity, angles):
    """The jets boosted along z, turned, and boosted again, in float64."""
    pt, eta, phi, mass = jets.p4.double().unbind(-1)
    vectors = torch.stack(
        (
            torch.sqrt(mass**2 + (pt * eta.cosh()) ** 2),
            pt * phi.cos(),
            pt * phi.sin(),
            pt * eta.sinh(),
        ),
        dim=-1,
    ).numpy()
    c, s = np.cosh(rapidity), np.sinh(rapidity)
    boost = np.array([[c, 0, 0, s], [0, 1, 0, 0], [0, 0, 1, 0], [s, 0, 0, c]])
    a, b = angles
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    turn = np.eye(4)
    turn[1:, 1:] = np.array(about_z) @ about_x
    _, px, py, pz = np.moveaxis(vectors @ (boost @ turn @ boost).T, -1, 0)
    pt = np.hypot(px, py)
    real = jets.is_real.numpy()
    p4 = np.stack((pt, np.arcsinh(pz / np.where(real, pt, 1)), np.arctan2(py, px), mass), -1)
    return jets.replace(p4=torch.from_numpy(np.where(real[..., None], p4, 0)).float())


JETS = random_jets([1, 2, 12, 30, 45])


@pytest.mark.parametrize("rapidity", [0.0, 0.4, -0.8])
@pytest.mark.parametrize("angles", [(0.0, 0.0), (1.0, 0.0), (0.3, 2.0)])
def test_logits_are_invariant_under_the_lorentz_group(rapidity, angles):
    logits = built(symmetry="lorentz")
    before, after = logits(JETS), logits(transformed(JETS, rapidity, angles))
    scale = before.abs().amax(1, keepdim=True)
    assert before.std(0).min() > 1e-3 * scale.min()  # the jets are told apart
    assert ((after - before).abs() / scale).max() < 1e-3


def test_autocast_does_not_break_the_symmetry():
    logits = built(symmetry="lorentz")
    with torch.autocast("cpu", torch.bfloat16):
        before, after = logits(JETS), logits(transformed(JETS, 0.0, (1.0, 0.0)))
    assert ((after - before).abs() / before.abs().amax(1, keepdim=True)).max() < 2e-2


def test_with_a_beam_rotations_around_it_are_left():
    logits = built(symmetry="broken")
    before = logits(JETS)
    scale = before.abs().amax(1, keepdim=True)

    def change(rapidity, angles):
        return ((logits(transformed(JETS, rapidity, angles)) - before).abs() / scale).max()

    around = change(0.0, (1.0, 0.0))
    assert around < 1e-5
    assert change(0.0, (0.0, 1.0)) > 20 * around  # out of the plane across the beam
    assert change(0.8, (0.0, 0.0)) > 1e-2


@pytest.mark.parametrize("symmetry", ["broken", "lorentz"])
def test_every_variant_keeps_the_promises_of_a_backbone(symmetry):
    recipe = LGATr(width=8, depth=1, vectors=4, scalars=8, heads=2, symmetry=symmetry, dropout=0.1)
    check_backbone(recipe)


def test_sizes():
    def count(recipe, n_features):
        built = recipe.build(InputSpec(n_features=n_features))
        return sum(parameter.numel() for parameter in built.parameters())

    assert count(LGATr(), 17) == 1_685_153
    assert count(LGATr.example(), 17) == 107_569


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *words, **named):
        if name == "lgatr":
            raise ImportError("No module named 'lgatr'")
        return real(name, *words, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'transferline\[lgatr\]'"):
        LGATr().build(InputSpec(n_features=3))
