from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transferline.data.batch import ETA, MASS, PHI, PT, cartesian
from transferline.data.events import SPECIES
from transferline.models.augment import Augment
from transferline.testing.batches import toy_batch

ALL = Augment(rotate_phi=True, reflect_phi=True, reflect_eta=True, boost_z=1.0)


def pair_mass(p4):
    """Invariant mass of every pair of particles, `[n, p, p]`."""
    e, px, py, pz = cartesian(p4.double()).unbind(-1)
    total = [x.unsqueeze(1) + x.unsqueeze(2) for x in (e, px, py, pz)]
    return (total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2).clamp(min=0).sqrt()


def test_no_augmentation_is_the_same_object():
    batch = toy_batch()
    assert Augment()(batch) is batch


@given(seed=st.integers(0, 1000))
def test_masses_and_transverse_momenta_are_conserved(seed):
    batch = toy_batch(8, seed=seed)
    seen = batch.is_real & (batch.columns["species"] != SPECIES["met"])
    torch.manual_seed(seed)
    moved = ALL(batch)
    assert torch.equal(moved.p4[..., (PT, MASS)], batch.p4[..., (PT, MASS)])
    both = seen.unsqueeze(1) & seen.unsqueeze(2)
    before, after = pair_mass(batch.p4)[both], pair_mass(moved.p4)[both]
    torch.testing.assert_close(after, before, rtol=2e-3, atol=0.1)
    assert (moved.p4[..., PHI].abs() <= torch.pi + 1e-5).all()


@given(seed=st.integers(0, 1000))
def test_angles_to_missing_momentum_are_conserved_up_to_reflection(seed):
    batch = toy_batch(8, seed=seed)
    torch.manual_seed(seed)
    moved = ALL(batch)

    def cosine(b):
        return (b.p4[..., PHI] - b.p4[:, :1, PHI]).cos()[b.is_real]

    torch.testing.assert_close(cosine(moved), cosine(batch), atol=1e-4, rtol=1e-4)


def test_missing_momentum_gets_no_eta_and_padding_stays():
    batch = toy_batch()
    torch.manual_seed(1)
    moved = ALL(batch)
    is_met = batch.columns["species"] == SPECIES["met"]
    assert not moved.p4[is_met][:, ETA].any()
    assert not moved.p4[~batch.is_real].any()


@pytest.mark.parametrize(
    ("recipe", "place"),
    [
        (Augment(rotate_phi=True), PHI),
        (Augment(reflect_phi=True), PHI),
        (Augment(reflect_eta=True), ETA),
        (Augment(boost_z=0.5), ETA),
    ],
)
def test_each_switch_changes_its_coordinate_only(recipe, place):
    batch = toy_batch()
    torch.manual_seed(1)
    changed = (recipe(batch).p4 - batch.p4).abs()[batch.is_real].amax(0) > 1e-4
    assert changed.nonzero().flatten().tolist() == [place]


@given(seed=st.integers(0, 1000))
def test_a_transverse_boost_keeps_masses_and_moves_transverse_momenta(seed):
    batch = toy_batch(8, seed=seed)
    seen = batch.is_real & (batch.columns["species"] != SPECIES["met"])
    torch.manual_seed(seed)
    moved = Augment(boost_t=0.3)(batch)
    assert torch.equal(moved.p4[..., MASS], batch.p4[..., MASS])
    both = seen.unsqueeze(1) & seen.unsqueeze(2)
    before, after = pair_mass(batch.p4)[both], pair_mass(moved.p4)[both]
    torch.testing.assert_close(after, before, rtol=2e-3, atol=0.1)
    assert not torch.allclose(moved.p4[seen][:, PT], batch.p4[seen][:, PT], rtol=1e-3)
    is_met = batch.columns["species"] == SPECIES["met"]
    assert not moved.p4[is_met][:, ETA].any()
    assert not moved.p4[~batch.is_real].any()


def test_a_transverse_boost_gives_what_stood_still_its_momentum():
    r"""$p_T = \gamma \beta m$ for a particle at rest; one direction for the whole event."""
    batch = toy_batch(200)
    p4 = torch.zeros_like(batch.p4)
    p4[..., PT], p4[..., MASS] = 1e-4, 100.0
    still = batch.replace(p4=torch.where(batch.is_real.unsqueeze(-1), p4, batch.p4))
    torch.manual_seed(0)
    moved = Augment(boost_t=0.5)(still).p4
    largest = 0.5 / (1 - 0.25) ** 0.5 * 100
    pt = moved[..., PT][batch.is_real]
    assert pt.max() <= largest * 1.001
    assert pt.max() > 0.9 * largest
    for event, real in zip(moved, batch.is_real, strict=True):
        if real.sum() > 1:
            assert (event[real][:, PHI] - event[real][0, PHI]).sin().abs().max() < 1e-3
