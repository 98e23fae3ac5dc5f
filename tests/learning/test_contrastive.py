from __future__ import annotations

import math

import pytest
import torch

from transferline.data.batch import ETA, MASS, PHI, PT, cartesian
from transferline.errors import ConfigError
from transferline.learning.objectives.contrastive import Contrastive, nt_xent
from transferline.learning.objectives.jepa import Jepa, directions
from transferline.learning.objectives.jet_views import JetViews, split_particles
from transferline.models.backbones.gat import GNN
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import PARTICLE_FEATURES
from transferline.models.model import parameter_counts
from transferline.testing.batches import toy_batch
from transferline.testing.objective import tiny_model

from ..models.jets import random_jets

COUNTS = [0, 1, 2, 9, 30]
NOTHING = {"rotate": False, "translate": 0.0, "smear": 0.0, "split": 0.0}


def view(batch, **settings):
    torch.manual_seed(0)
    return JetViews(**{**NOTHING, **settings})(batch)


def apart(batch):
    """Eta and phi relative to the hardest particle, `[n, p, 2]`."""
    eta, phi = batch.p4[..., ETA], batch.p4[..., PHI]
    delta = torch.remainder(phi - phi[:, :1] + torch.pi, 2 * torch.pi) - torch.pi
    return torch.stack((eta - eta[:, :1], delta), -1)


def test_a_split_keeps_the_jet_and_doubles_the_chosen():
    batch = random_jets(COUNTS)
    chosen = batch.is_real & (torch.arange(batch.is_real.shape[1]) % 3 == 0)
    torch.manual_seed(0)
    split = split_particles(batch, chosen)
    counts = batch.is_real.sum(1) + chosen.sum(1)
    assert split.is_real.sum(1).tolist() == counts.tolist()
    for before, after in zip(batch.whole_jet, split.whole_jet, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    masses = [(cartesian(b.p4) * b.is_real.unsqueeze(-1)).sum(1)[:, 0] for b in (batch, split)]
    torch.testing.assert_close(masses[1], masses[0], rtol=1e-5, atol=1e-5)
    assert (split.p4[~split.is_real] == 0).all()
    assert all((v[~split.is_real] == 0).all() for v in split.columns.values())
    assert (split.p4[..., [PT, MASS]] >= 0).all()


def test_only_neutral_particles_are_split_where_charges_are_known():
    batch = random_jets([30] * 20)
    neutral = (batch.columns["charge"] == 0) & batch.is_real
    assert 0 < neutral.sum() < batch.is_real.sum()
    assert view(batch, split=1.0).is_real.sum() == batch.is_real.sum() + neutral.sum()
    every = view(batch, split=1.0, split_tracks=True)
    assert every.is_real.sum() == 2 * batch.is_real.sum()


def test_rotation_and_translation_keep_distances_and_smearing_falls_with_pt():
    batch = random_jets([30] * 200)
    before = apart(batch)
    turned, moved = view(batch, rotate=True), view(batch, translate=1.0)
    torch.testing.assert_close(apart(turned).norm(dim=-1), before.norm(dim=-1), atol=1e-4, rtol=0)
    assert (apart(turned) - before).abs().max() > 0.1
    torch.testing.assert_close(apart(moved), before, atol=1e-4, rtol=0)
    assert (moved.p4[..., ETA] - batch.p4[..., ETA]).abs().max() > 0.1
    shifts = view(batch, smear=0.1).p4[..., ETA] - batch.p4[..., ETA]
    scaled = (shifts * batch.p4[..., PT] / 0.1)[batch.is_real & (batch.p4[..., PT] > 0.1)]
    assert abs(float(scaled.std()) - 1) < 0.05
    assert torch.equal(moved.p4[..., PT], batch.p4[..., PT])


def test_the_sign_that_tells_a_lifetime_survives_every_view():
    """Tracks of a vertex 2 mm out on the axis: d0 and dz are those of the new direction."""
    batch = random_jets([30] * 200)
    batch = batch.replace(p4=batch.p4 * torch.tensor([1.0, 0.2, 1.0, 1.0]))

    def impact(one):
        _, eta, phi, _ = one.whole_jet
        away = torch.remainder(one.p4[..., PHI] - phi + torch.pi, 2 * torch.pi) - torch.pi
        return 2 * away, -2 * one.p4[..., ETA].cosh() * (one.p4[..., ETA] - eta)

    d0, dz = impact(batch)
    tracks = batch.replace(columns={**batch.columns, "d0": d0, "dz": dz})
    for settings in ({"rotate": True}, {"translate": 1.0}):
        seen = view(tracks, **settings)
        # The axis does not turn exactly about itself, as rapidity is no angle.
        wanted = dict(zip(("d0", "dz"), impact(seen), strict=True))
        for name, values in wanted.items():
            found = seen.columns[name][batch.is_real]
            assert torch.corrcoef(torch.stack((found, values[batch.is_real])))[0, 1] > 0.99


@pytest.mark.parametrize("settings", [{"rotate": True}, {"translate": 1.0}])
def test_tracks_without_lifetime_look_so_in_every_view(settings):
    """Errors go along with the values: pulls keep their width."""
    batch = random_jets([30] * 200)
    errors = {"d0err": torch.full(batch.is_real.shape, 0.01)}
    errors["dzerr"] = 0.01 * (1 + 2 * torch.rand(batch.is_real.shape)) * batch.p4[..., ETA].cosh()
    values = {
        name: errors[f"{name}err"] * torch.randn(batch.is_real.shape) for name in ("d0", "dz")
    }
    seen = view(batch.replace(columns={**batch.columns, **errors, **values}), **settings).columns
    for name in ("d0", "dz"):
        pull = (seen[name] / seen[f"{name}err"])[batch.is_real]
        assert abs(float(pull.std()) - 1) < 0.05


def test_nt_xent_is_its_formula_where_jets_are_orthogonal():
    n, temperature = 4, 0.5
    loss = nt_xent(torch.eye(n).repeat(2, 1), temperature)
    wanted = math.log(math.exp(1 / temperature) + 2 * n - 2) - 1 / temperature
    assert math.isclose(float(loss.total), wanted, rel_tol=1e-5)
    assert loss.parts["accuracy"] == 1.0


def test_events_are_refused_before_the_first_step():
    """A view would rotate an event about its axis, and divide its MET."""
    objective = Contrastive.example().build(tiny_model())
    objective.fit_constants(lambda: [random_jets(COUNTS)])
    with pytest.raises(ConfigError, match="and these are events"):
        objective.fit_constants(lambda: [random_jets(COUNTS), toy_batch()])


def test_the_teacher_follows_the_encoder_slowly_and_counts_no_parameters():
    torch.manual_seed(0)
    small = Transformer(width=16, depth=1, heads=2)
    objective = Jepa(predictor=small, momentum=0.75, told="rank").build(tiny_model())
    name, ours = next(iter(objective.model.backbone.named_parameters()))
    start = ours.detach().clone()
    with torch.no_grad():
        ours.add_(1.0)
    objective.after_step()
    theirs = dict(objective.teacher.named_parameters())[name]
    torch.testing.assert_close(theirs, start + 0.25)
    learnt = sum(p.numel() for p in objective.parameters() if p.requires_grad)
    assert sum(parameter_counts(objective).values()) == learnt


def test_the_teacher_copies_what_is_no_parameter():
    """Statistics of BatchNorm are averages as they are."""
    model = tiny_model(GNN(width=16, depth=2))
    small = Transformer(width=16, depth=1, heads=2)
    objective = Jepa(predictor=small, momentum=0.75).build(model)
    objective.train()(toy_batch()).total.backward()
    objective.after_step()
    ours, theirs = dict(model.backbone.named_buffers()), dict(objective.teacher.named_buffers())
    assert any(name.endswith("running_mean") and values.any() for name, values in ours.items())
    assert all(torch.equal(theirs[name], values) for name, values in ours.items())


def test_jepa_tells_directions_as_the_encoder_has_them():
    """Mirrored for jets at negative eta, as the features are."""
    batch = random_jets([9, 7, 8, 12])
    flipped = batch.replace(p4=batch.p4 * torch.tensor([1.0, -1.0, 1.0, 1.0]))
    features = [PARTICLE_FEATURES[name] for name in ("delta_eta", "delta_phi")]
    for jets in (batch, flipped):
        wanted = torch.stack([feature(jets) for feature in features], -1)
        torch.testing.assert_close(directions(jets), wanted)
    told = [directions(jets)[jets.is_real] for jets in (batch, flipped)]
    torch.testing.assert_close(*told, atol=1e-4, rtol=1e-4)


def test_jepa_sees_a_collapse():
    objective = Jepa(predictor=Transformer(width=16, depth=1, heads=2)).build(tiny_model())
    assert objective(toy_batch()).parts["spread"] > 0.1
    with torch.no_grad():
        for parameter in objective.teacher.parameters():
            parameter.zero_()
    assert objective(toy_batch()).parts["spread"] < 1e-6
