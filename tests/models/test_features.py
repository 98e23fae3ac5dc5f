from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from transferline.data.batch import ETA, MASS, PHI, PT
from transferline.data.events import SPECIES
from transferline.errors import ConfigError
from transferline.models.features import PARTICLE_FEATURES, Features
from transferline.testing.batches import toy_batch


def fitted(**recipe):
    module = Features(**recipe).build()
    module.fit([toy_batch(200, seed=1), toy_batch(100, seed=2)])
    return module


def test_columns_are_the_formulas_of_their_names():
    batch = toy_batch()
    pt, eta, phi, mass = batch.p4.unbind(-1)
    real = batch.is_real
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
    }
    assert set(expected) == set(PARTICLE_FEATURES)
    for name, values in expected.items():
        torch.testing.assert_close(PARTICLE_FEATURES[name](batch)[real], values[real])
    assert (PT, ETA, PHI, MASS) == (0, 1, 2, 3)


def test_fitted_columns_have_mean_zero_and_width_one():
    module = Features(particles=("log_pt", "eta", "charge"), species="hidden").build()
    batch = toy_batch(500)
    module.fit([batch])
    real = module(batch).x[batch.is_real]
    torch.testing.assert_close(real[:, :2].mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(real[:, :2].std(0), torch.ones(2), atol=1e-2, rtol=0)
    assert set(real[:, 2].tolist()) == {-1.0, 0.0, 1.0}  # charges stay as they are


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


def test_an_unknown_feature_names_the_nearest():
    with pytest.raises(ValidationError, match=r"unknown feature 'log_ptt'. Did you mean 'log_pt'?"):
        Features(particles=("log_ptt",))


def test_nothing_to_fit_on_is_an_error():
    batch = toy_batch(3)
    with pytest.raises(ConfigError, match="no particle"):
        Features().build().fit([batch.replace(is_real=torch.zeros_like(batch.is_real))])
