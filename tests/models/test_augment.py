from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from transferline.config import load_config
from transferline.data.batch import ETA, MASS, PHI, PT, cartesian
from transferline.data.events import SPECIES
from transferline.learning.pretraining import PretrainConfig
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


def displaced(batch):
    """The batch with tracks of a vertex on the axis (0.5, 0.3), 2 mm out: d0 and dz have a sign."""
    away_phi = torch.remainder(batch.p4[..., PHI] - 0.3 + torch.pi, 2 * torch.pi) - torch.pi
    away_eta = batch.p4[..., ETA] - 0.5
    columns = {
        **batch.columns,
        "d0": 2 * away_phi,
        "dz": -2 * batch.p4[..., ETA].cosh() * away_eta,
    }
    return batch.replace(columns=columns)


@pytest.mark.parametrize("which", ["reflect_phi", "reflect_eta"])
def test_a_reflection_turns_the_sign_of_the_impact_parameter(which):
    torch.manual_seed(0)
    batch = displaced(toy_batch(64))
    moved = Augment.model_validate({which: True})(batch)
    name, angle = {"reflect_phi": ("d0", PHI), "reflect_eta": ("dz", ETA)}[which]
    turned = moved.p4[..., angle] * batch.p4[..., angle] < 0
    sign = torch.where(turned.any(1, keepdim=True), -1.0, 1.0)
    assert 0 < (sign < 0).sum() < len(sign)
    assert torch.equal(moved.columns[name], batch.columns[name] * sign)
    for other in {"d0", "dz"} - {name}:
        assert torch.equal(moved.columns[other], batch.columns[other])


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


EACH = {
    "rotate_phi": Augment(rotate_phi=True),
    "reflect_phi": Augment(reflect_phi=True),
    "reflect_eta": Augment(reflect_eta=True),
    "boost_z": Augment(boost_z=0.8),
    "boost_t": Augment(boost_t=0.3),
    "all": Augment(rotate_phi=True, reflect_phi=True, reflect_eta=True, boost_z=0.8, boost_t=0.3),
}


def moved_by(name, batch, seed=0):
    torch.manual_seed(seed)
    return EACH[name](batch)


@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("name", EACH)
def test_nothing_but_momenta_moves(name, seed):
    batch = toy_batch(8, seed=seed)
    moved = moved_by(name, batch, seed)
    assert torch.equal(moved.p4[..., MASS], batch.p4[..., MASS])
    assert torch.equal(moved.p4[~batch.is_real], batch.p4[~batch.is_real])
    for column in ("species", "charge", "btag"):
        assert moved.columns[column] is batch.columns[column]
    for part in ("is_real", "weight", "id", "target"):
        assert getattr(moved, part) is getattr(batch, part)
    assert moved.p4.isfinite().all()
    assert (moved.p4[..., PT] >= 0).all()
    met = batch.columns["species"] == SPECIES["met"]
    assert not moved.p4[met][:, ETA].any()
    assert torch.equal(moved_by(name, batch, seed).p4, moved.p4), "the seed decides"


def visible(batch):
    """Pairs of visible objects, `[n, p, p]`."""
    seen = batch.is_real & (batch.columns["species"] != SPECIES["met"])
    return seen.unsqueeze(1) & seen.unsqueeze(2)


@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("name", EACH)
def test_every_transformation_is_one_lorentz_transformation_of_an_event(name, seed):
    """All products of visible four-momenta stay: the metric is kept, with one frame for all."""
    batch = toy_batch(8, seed=seed)
    moved = moved_by(name, batch, seed)

    def products(b):
        e, px, py, pz = cartesian(b.p4.double()).unbind(-1)
        parts = [x.unsqueeze(1) * x.unsqueeze(2) for x in (e, px, py, pz)]
        return parts[0] - parts[1] - parts[2] - parts[3]

    both = visible(batch)
    scale = cartesian(batch.p4)[..., 0].amax().item() ** 2
    torch.testing.assert_close(
        products(moved)[both], products(batch)[both], rtol=2e-3, atol=1e-5 * scale
    )


def between(batch, values):
    """Differences of all pairs of real objects of an event."""
    both = batch.is_real.unsqueeze(1) & batch.is_real.unsqueeze(2)
    return (values.unsqueeze(1) - values.unsqueeze(2)), both


@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("name", ["rotate_phi", "reflect_phi", "reflect_eta", "boost_z"])
def test_differences_in_phi_keep_their_sign_unless_all_are_reflected(name, seed):
    """Missing momentum included: it goes along."""
    batch = toy_batch(8, seed=seed)
    before, both = between(batch, batch.p4[..., PHI])
    after, _ = between(batch, moved_by(name, batch, seed).p4[..., PHI])
    kept = ((after.sin() - before.sin()).abs() < 1e-4) | ~both
    turned = ((after.sin() + before.sin()).abs() < 1e-4) | ~both
    torch.testing.assert_close(after.cos()[both], before.cos()[both], atol=1e-4, rtol=0)
    if name == "reflect_phi":
        assert (kept.all(2).all(1) | turned.all(2).all(1)).all()
    else:
        assert kept.all()


@given(seed=st.integers(0, 1000))
def test_a_boost_along_the_beam_shifts_all_rapidities_alike(seed):
    batch = toy_batch(8, seed=seed)
    moved = moved_by("boost_z", batch, seed)
    assert torch.equal(moved.p4[..., PT], batch.p4[..., PT])

    def rapidity(b):
        e, _, _, pz = cartesian(b.p4.double()).unbind(-1)
        return torch.atanh(pz / e.clamp(min=1e-9))

    shift = rapidity(moved) - rapidity(batch)
    seen = batch.is_real & (batch.columns["species"] != SPECIES["met"])
    one = (shift * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True)
    torch.testing.assert_close(shift[seen], one.expand_as(shift)[seen], atol=1e-3, rtol=0)
    assert (one.abs() <= 0.8 + 1e-3).all()


@given(seed=st.integers(0, 1000))
def test_a_transverse_boost_keeps_longitudinal_momenta_and_takes_the_missing_one_as_massless(seed):
    """A visible massless object at eta = 0 beside the missing momentum ends where that does."""
    batch = toy_batch(8, seed=seed)
    p4 = batch.p4.clone()
    p4[:, 1] = p4[:, 0]
    batch = batch.replace(p4=p4)
    moved = moved_by("boost_t", batch, seed)
    torch.testing.assert_close(moved.p4[:, 1, PT], moved.p4[:, 0, PT])
    apart = moved.p4[:, 1, PHI] - moved.p4[:, 0, PHI]
    torch.testing.assert_close(apart.cos(), torch.ones(8), atol=1e-5, rtol=0)
    seen = batch.is_real & (batch.columns["species"] != SPECIES["met"])
    pz = [cartesian(b.p4.double())[..., 3][seen] for b in (batch, moved)]
    torch.testing.assert_close(pz[1], pz[0], rtol=1e-3, atol=1e-2)


def test_every_event_has_draws_of_its_own_over_the_whole_range():
    """One angle per event, uniform; each reflection in half of the events, independently."""
    batch = toy_batch(4000)
    angle = moved_by("rotate_phi", batch).p4[:, 0, PHI] - batch.p4[:, 0, PHI]
    counts = torch.histc(torch.remainder(angle, 2 * torch.pi), 8, 0, 2 * torch.pi)
    assert (counts - 500).abs().max() < 5 * 500**0.5
    both = Augment(reflect_phi=True, reflect_eta=True)
    torch.manual_seed(0)
    after = both(batch).p4[:, 1]
    flipped = (after[:, [ETA, PHI]] * batch.p4[:, 1, [ETA, PHI]] < 0).long()
    shares = torch.bincount(2 * flipped[:, 0] + flipped[:, 1], minlength=4) / 4000
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.035)


def test_each_is_a_switch_of_a_pretraining_in_yaml(tmp_path):
    words = {
        "rotate_phi": True, "reflect_phi": True, "reflect_eta": True, "boost_z": 0.8, "boost_t": 0.3
    }  # fmt: skip
    for name, value in words.items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(
            "data: {kind: shards, files: [a]}\n"
            "backbone: {kind: transformer}\n"
            f"objective: {{kind: replaced_object, augment: {{{name}: {str(value).lower()}}}}}\n"
            "optim: {steps: 1}\n"
        )
        augment = load_config(file, PretrainConfig).objective.augment
        assert augment == EACH[name]
        assert augment(toy_batch()).p4.ne(toy_batch().p4).any()


@pytest.mark.parametrize("wrong", [{"boost_z": -0.1}, {"boost_t": 1.0}, {"boost_t": -0.1}])
def test_impossible_ranges_are_refused(wrong):
    with pytest.raises(ValidationError):
        Augment(**wrong)
