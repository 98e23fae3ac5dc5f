from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from transferline.data.batch import ETA, MASS, PHI, PT, cartesian
from transferline.data.events import CONSTITUENTS, SPECIES
from transferline.errors import ConfigError
from transferline.models.features import JETCLASS_FEATURES, PARTICLE_FEATURES, Features
from transferline.testing.batches import toy_batch

from .jets import random_jets


def fitted(**recipe):
    module = Features(**recipe).build()
    module.fit([toy_batch(200, seed=1), toy_batch(100, seed=2)])
    return module


def test_columns_are_the_formulas_of_their_names():
    batch = random_jets([1, 30, 12])
    batch = batch.with_column("btag", torch.rand(batch.is_real.shape))
    pt, eta, phi, mass = batch.p4.unbind(-1)
    real = batch.is_real
    species, columns = batch.columns["species"], batch.columns
    energy, *momentum = cartesian(batch.p4).unbind(-1)
    whole = [component.sum(1, keepdim=True) for component in (energy, *momentum)]
    jet_pt = torch.hypot(whole[1], whole[2])
    jet_eta = torch.asinh(whole[3] / jet_pt)
    phi_gap = phi - torch.atan2(whole[2], whole[1])
    phi_gap = torch.atan2(phi_gap.sin(), phi_gap.cos())
    eta_gap = (eta - jet_eta) * jet_eta.sign()
    expected = {
        "log_pt": pt.log(),
        "log10_pt": pt.log10(),
        "eta": eta,
        "phi": phi,
        "sin_phi": phi.sin(),
        "cos_phi": phi.cos(),
        "log_mass": (1 + mass).log(),
        "log10_mass": torch.where(mass > 0, mass.clamp(min=1e-30).log10(), 0.0),
        "charge": batch.columns["charge"],
        "btag": batch.columns["btag"],
        "log_energy": energy.log(),
        "log_pt_share": (pt / jet_pt).log(),
        "log_energy_share": (energy / whole[0]).log(),
        "delta_r": torch.hypot(eta_gap, phi_gap),
        "delta_eta": eta_gap,
        "delta_phi": phi_gap,
        **{f"is_{name}": (species == code).float() for name, code in CONSTITUENTS.items()},
        "tanh_d0": columns["d0"].tanh(),
        "tanh_dz": columns["dz"].tanh(),
        "d0err": columns["d0err"].clamp(0, 1),
        "dzerr": columns["dzerr"].clamp(0, 1),
    }
    assert set(expected) == set(PARTICLE_FEATURES)
    for name, values in expected.items():
        found = PARTICLE_FEATURES[name](batch)[real]
        torch.testing.assert_close(found, values[real], rtol=1e-5, atol=2e-6)
    assert (PT, ETA, PHI, MASS) == (0, 1, 2, 3)


def test_fitted_columns_have_mean_zero_and_width_one():
    module = Features(particles=("log_pt", "eta", "charge"), species="hidden").build()
    batch = toy_batch(500)
    module.fit([batch])
    real = module(batch).x[batch.is_real]
    torch.testing.assert_close(real[:, :2].mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(real[:, :2].std(0), torch.ones(2), atol=1e-2, rtol=0)
    assert set(real[:, 2].tolist()) == {-1.0, 0.0, 1.0}  # charges stay as they are


def test_tracks_are_scaled_by_charged_particles_and_neutral_ones_get_nothing():
    names = ("log_pt", "charge", "tanh_d0", "dzerr")
    batch = random_jets([40] * 200)
    small = {name: 0.02 * batch.columns[name] for name in ("d0", "dzerr")}
    small["d0"][0, :5] = 50.0  # far out
    batch = batch.replace(columns={**batch.columns, **small})
    module = Features(particles=names, species="hidden", scaling="tracks").build()
    module.fit([batch])
    x, charged = module(batch).x[batch.is_real], batch.columns["charge"][batch.is_real] != 0
    assert set(x[:, 1].tolist()) == {-1.0, 0.0, 1.0}
    assert (x[~charged, 2:] == 0).all()
    assert float(x[charged, 3].std()) == pytest.approx(1, abs=0.01)
    assert float(x[:, 2].max()) == 5.0
    plain = Features(particles=names, species="hidden").build()
    plain.fit([batch])
    assert torch.equal(plain(batch).x[batch.is_real][:, :2], x[:, :2])
    assert not module(random_jets([3, 0])).x[1].any()


def test_without_scaling_the_inputs_are_the_published_ones():
    """log10 pT, eta, phi, log10 m (0 where there is none), and the bare code of the type."""
    names = ("log10_pt", "eta", "phi", "log10_mass")
    module = fitted(particles=names, species="integer", scaling="none")
    batch = toy_batch()
    batch.p4[:, 0, MASS] = 0
    x, real = module(batch).x, batch.is_real
    assert x.shape[-1] == 5
    torch.testing.assert_close(x[real][:, 0], batch.p4[real][:, PT].log10())
    torch.testing.assert_close(x[real][:, 1:3], batch.p4[real][:, [ETA, PHI]])
    assert not x[:, 0, 3].any()
    assert torch.equal(x[real][:, 4].long(), batch.columns["species"][real])


def test_published_scaling_is_that_of_the_data_card_of_jetclass():
    """(value - centre) * factor, cut at +-5, where a centre is given; no fit changes it."""
    module = Features(
        particles=JETCLASS_FEATURES["full"], species="hidden", scaling="published"
    ).build()
    batch = random_jets([1, 40, 20])
    before = module(batch).x
    module.fit([toy_batch()])
    assert torch.equal(module(batch).x, before)
    card = [(1.7, 0.7), (2.0, 0.7), (-4.7, 0.7), (-4.7, 0.7), (0.2, 4.0), *[(0.0, 1.0)] * 12]
    real = batch.is_real
    for i, (name, (centre, factor)) in enumerate(zip(JETCLASS_FEATURES["full"], card, strict=True)):
        raw = PARTICLE_FEATURES[name](batch)[real]
        expected = ((raw - centre) * factor).clamp(-5, 5)
        torch.testing.assert_close(before[real][:, i], expected, rtol=1e-6, atol=1e-6)
    assert before[1:, :, 4].max() <= 5
    far = batch.replace(p4=batch.p4.clone())
    far.p4[1, 0, ETA] += 9
    x = module(far).x
    assert x[1, 0, 4] == 5
    assert x[1, 0, 15].abs() > 5  # the angle itself has no centre and is not cut


def test_jet_features_follow_a_rotation():
    """They are made of the particles alone, so augmentation turns the axis along."""
    module = Features(
        particles=JETCLASS_FEATURES["kin"], species="hidden", scaling="published"
    ).build()
    batch = random_jets([20, 3])
    p4 = batch.p4.clone()
    p4[..., PHI] = torch.remainder(p4[..., PHI] + 2.0 + torch.pi, 2 * torch.pi) - torch.pi
    turned = batch.replace(p4=p4)
    torch.testing.assert_close(module(turned).x, module(batch).x, rtol=1e-4, atol=1e-4)


def test_jets_without_particles_stay_finite():
    module = Features(
        particles=JETCLASS_FEATURES["full"], species="hidden", scaling="published"
    ).build()
    assert module(random_jets([0, 1], p=4)).x.isfinite().all()


def test_constants_do_not_depend_on_padding_or_batching():
    batch = toy_batch(64)
    whole, halves = Features().build(), Features().build()
    whole.fit([batch])
    halves.fit([_rows(batch, slice(0, 20)), _rows(batch, slice(20, 64))])
    torch.testing.assert_close(whole.mean, halves.mean)
    torch.testing.assert_close(whole.scale, halves.scale)


def _rows(batch, rows):
    return batch.replace(
        p4=batch.p4[rows],
        is_real=batch.is_real[rows],
        columns={name: values[rows] for name, values in batch.columns.items()},
    )


@pytest.mark.parametrize(
    ("species", "extra"), [("onehot", len(SPECIES) - 1), ("integer", 1), ("hidden", 0)]
)
def test_species_enters_as_asked(species, extra):
    module = fitted(species=species)
    batch = toy_batch()
    inputs = module(batch)
    assert inputs.x.shape[-1] == module.spec.n_features == 6 + extra
    codes = batch.columns["species"]
    if species == "onehot":
        bits = inputs.x[..., 6:]
        assert torch.equal(bits.argmax(-1)[batch.is_real] + 1, codes[batch.is_real])
    if species == "integer":
        assert torch.equal(inputs.x[..., 6].long(), codes)


def test_a_hidden_species_has_no_bit():
    batch = toy_batch()
    batch = batch.with_column("species", torch.zeros_like(batch.columns["species"]))
    assert not fitted()(batch).x[..., 6:].any()


def test_padding_is_exactly_zero():
    inputs = fitted()(toy_batch())
    assert not inputs.x[~inputs.is_real].any()


@pytest.mark.parametrize(
    ("settings", "column"),
    [({"particles": ("log_pt", "tanh_d0")}, "d0"), ({"species": "onehot"}, "species")],
)
def test_a_column_that_shards_lack_is_named(settings, column):
    batch = toy_batch(4)
    kept = {name: values for name, values in batch.columns.items() if name != column}
    model = Features(**{"particles": ("log_pt",), **settings}).build()
    with pytest.raises(ConfigError, match=rf"column '{column}' of every particle.*columns: btag, "):
        model(batch.replace(columns=kept))


def test_an_unknown_feature_names_the_nearest():
    with pytest.raises(ValidationError, match=r"unknown feature 'log_ptt'. Did you mean 'log_pt'?"):
        Features(particles=("log_ptt",))


def test_nothing_to_fit_on_is_an_error():
    batch = toy_batch(3)
    with pytest.raises(ConfigError, match="no particle"):
        Features().build().fit([batch.replace(is_real=torch.zeros_like(batch.is_real))])
