from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from transferline.data.batch import ETA, PHI, PT
from transferline.errors import ConfigError
from transferline.learning.objectives.coupling_flow import CouplingFlow, FlowSettings, spline
from transferline.learning.objectives.identity import identity
from transferline.learning.objectives.joint import Joint
from transferline.learning.objectives.masked_particles import MaskedParticles
from transferline.learning.objectives.masked_targets import Masked
from transferline.learning.objectives.masking import masked_share, pt_rank
from transferline.learning.set_means import mean_over_sets
from transferline.models.backbones.part import ParT
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import JETCLASS_FEATURES, Features
from transferline.models.model import ModelRecipe
from transferline.models.tokenizer_checkpoint import StoredTokenizer, TokenizerCheckpoint
from transferline.models.tokenizers.kmeans import KMeans
from transferline.models.tokenizers.vqvae import VQVAE
from transferline.testing import ConformanceError, check_objective
from transferline.testing.batches import empty_set_batch, toy_batch
from transferline.testing.objective import _check_concealment, tiny_model

from ..models.jets import random_jets

TINY = Transformer(width=16, depth=1, heads=2, hidden=16)
ORDERED = Transformer(width=16, depth=1, heads=2, positions=6)
EVENTS = Features(particles=("log_pt", "eta", "phi"), species="hidden")


def small(**settings):
    return MaskedParticles(reader=TINY, **settings)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """One trained on toy events of each kind."""
    folder = tmp_path_factory.mktemp("tokenizers")
    batch = toy_batch(200, seed=4)
    for recipe in (KMeans(codes=8), VQVAE(codes=8, latent=4, encoder=TINY, decoder=TINY)):
        torch.manual_seed(0)
        whole = StoredTokenizer(features=EVENTS, tokenizer=recipe)
        tokenizer = whole.build()
        tokenizer.features.fit([batch])
        inputs = tokenizer.features(batch)
        if recipe.kind == "kmeans":
            tokenizer.fit_particles(inputs.x[batch.is_real], 0)
        else:
            tokenizer.reconstruct(inputs)
        TokenizerCheckpoint.of(tokenizer, whole).save(folder / recipe.kind)
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"target": "flow", "masking": "neighbourhood", "flow": {"couplings": 2, "hidden": 16}},
        {"decoder": "bert", "mask": "input", "identity": 0.3, "distance": "l1"},
        {"decoder": "bert", "head": "mlp", "average": "particle", "identity": 1.0},
        {"decoder": "bert", "order": "backbone", "frame": "visible"},
        {"decoder": "bert", "order": "backbone", "mask": "input"},
    ],
    ids=str,
)
def test_every_variant_keeps_its_promises(settings):
    ordered = settings.get("order") == "backbone"
    check_objective(small(**settings), *([ORDERED] if ordered else []))


@pytest.mark.parametrize("kind", ["kmeans", "vqvae"])
@pytest.mark.parametrize("decoder", ["bert", "mae"])
def test_every_tokenizer_keeps_the_promises(kind, decoder, tokenizers):
    recipe = small(target=kind, tokenizer=str(tokenizers / kind), decoder=decoder)
    check_objective(recipe)
    objective = recipe.build(tiny_model()).train()
    before = {n: t.clone() for n, t in objective.target.tokenizer.state_dict().items()}
    objective(toy_batch(64)).total.backward()
    assert not objective.target.tokenizer.training
    after = objective.target.tokenizer.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_order_in_the_backbone_tells_the_encoder_the_momentum():
    """The check of concealment finds it, if the objective claims otherwise."""
    objective = small(decoder="bert", order="backbone").build(tiny_model(ORDERED)).eval()
    assert "pt" not in objective.conceals
    objective.conceals = objective.conceals | {"pt"}
    with pytest.raises(ConformanceError, match="concealed content does not reach the encoder"):
        _check_concealment(objective, toy_batch(64))


@pytest.mark.parametrize("mask", ["token", "input"])
def test_the_order_stays_in_the_backbone_that_is_transferred(mask):
    """Embedded whole, particles get the vectors that they and masked ones were trained with."""
    model = tiny_model(ORDERED)
    objective = small(decoder="bert", order="backbone", mask=mask).build(model).eval()
    batch, backbone = toy_batch(16, 8, fewest=8), model.backbone
    rank = pt_rank(batch, batch.is_real)
    inputs, given = model.features(batch), []
    encode = backbone.encode

    def watched(tokens, is_real, *rest):
        given.append(tokens)
        return encode(tokens, is_real, *rest)

    vars(backbone)["encode"] = watched
    hidden = objective.hidden(batch)
    objective._read(batch, hidden)
    model.latent(batch)
    pretext, whole = given
    shown = batch.is_real & ~hidden
    torch.testing.assert_close(pretext[shown], whole[shown])
    torch.testing.assert_close(whole - backbone.embedding(inputs.x), backbone.positions(rank))
    places = (pretext - backbone.positions(rank))[hidden]
    torch.testing.assert_close(places, places[:1].expand_as(places))
    backbone.positions.vectors.grad = None
    objective(batch).total.backward()
    assert backbone.positions.vectors.grad.abs().sum() > 0


def jet_model(backbone=TINY):
    torch.manual_seed(0)
    recipe = ModelRecipe(
        features=Features(particles=JETCLASS_FEATURES["full"], species="hidden"), backbone=backbone
    )
    model = recipe.build()
    model.features.fit([random_jets([20] * 20)])
    return model


PART = ParT(embed=(16, 16), pair_embed=(8,), depth=1, class_depth=1, heads=2)


@pytest.mark.parametrize("backbone", [TINY, PART], ids=["transformer", "part"])
@pytest.mark.parametrize("decoder", ["bert", "mae"])
def test_in_the_visible_frame_nothing_of_a_jet_reaches_the_encoder(backbone, decoder):
    batch = random_jets([9, 14, 20, 6, 17], seed=2)
    for frame, hides in (("visible", True), ("jet", False)):
        objective = small(decoder=decoder, frame=frame).build(jet_model(backbone)).eval()
        if hides:
            _check_concealment(objective, batch)
        else:  # the axis of the whole jet is known, as published
            with pytest.raises(ConformanceError, match="does not reach the encoder"):
                _check_concealment(objective, batch)


@pytest.mark.parametrize("where", ["chance", "neighbourhood"])
def test_a_fixed_share_of_every_jet_is_masked(where):
    counts = [0, 1, 3, 4, 10, 33]
    batch = random_jets(counts)
    hidden = masked_share(batch, 0.3, where)
    assert hidden.sum(1).tolist() == [math.floor(0.3 * n) for n in counts]
    assert not (hidden & ~batch.is_real).any()


def test_chance_masks_all_particles_alike_and_a_neighbourhood_is_near():
    batch = random_jets([20] * 3000)
    share = masked_share(batch, 0.3, "chance").float().mean(0)[:20]
    assert (share - 0.3).abs().max() < 0.04
    spread = {}
    for where in ("chance", "neighbourhood"):
        hidden = masked_share(batch, 0.3, where)
        eta, phi = batch.p4[..., ETA], batch.p4[..., PHI]
        values = torch.stack((eta, phi.cos(), phi.sin()), -1)[hidden].view(3000, 6, 3)
        spread[where] = float(values.var(1).sum(-1).mean())
    assert spread["neighbourhood"] < 0.5 * spread["chance"]


def test_ranks_fall_with_pt_among_the_chosen():
    batch = random_jets([5])
    chosen = torch.tensor([[True, False, True, True, False]])
    rank = pt_rank(batch, chosen)
    pt = batch.p4[0, :, PT]
    order = sorted([0, 2, 3], key=lambda i: -pt[i])
    assert rank[0, order].tolist() == [0, 1, 2]
    assert rank[0, [1, 4]].min() >= 3


def permuted(batch, order):
    return batch.replace(
        p4=batch.p4[:, order],
        is_real=batch.is_real[:, order],
        columns={name: values[:, order] for name, values in batch.columns.items()},
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"decoder": "bert", "order": "none"},
        {"decoder": "bert", "order": "head"},
        {"decoder": "bert", "order": "head", "head": "mlp"},
        {"decoder": "mae", "order": "none"},
        {"decoder": "mae", "order": "head"},
        {"decoder": "mae", "order": "head", "ranks": "all"},
    ],
    ids=str,
)
def test_the_order_in_which_particles_stand_does_not_matter(settings):
    torch.manual_seed(0)
    objective = small(**settings).build(tiny_model()).eval()
    batch = toy_batch(32, 8, fewest=8)
    hidden = objective.hidden(batch)
    order = torch.randperm(8)
    vars(objective)["hidden"] = lambda _: hidden
    loss = objective(batch).total
    vars(objective)["hidden"] = lambda _: hidden[:, order]
    torch.testing.assert_close(objective(permuted(batch, order)).total, loss)


@pytest.mark.parametrize("decoder", ["bert", "mae"])
def test_only_order_tells_masked_particles_apart(decoder):
    batch = toy_batch(16, 8, fewest=8)
    for order, alike in (("none", True), ("head", False)):
        torch.manual_seed(0)
        objective = small(decoder=decoder, order=order, fraction=0.5).build(tiny_model()).eval()
        hidden = objective.hidden(batch)
        rows = objective._read(batch, hidden)[hidden].view(16, 4, -1)
        assert torch.allclose(rows, rows[:, :1].expand_as(rows), atol=1e-5) is alike


def test_the_encoder_of_mae_sees_the_others_alone():
    objective = small(fraction=0.5).build(tiny_model()).eval()
    batch, backbone = toy_batch(16, 8, fewest=8), objective.model.backbone
    encode, counts = backbone.encode, []

    def watched(tokens, is_real, *rest):
        counts.append(is_real.sum(1))
        return encode(tokens, is_real, *rest)

    vars(backbone)["encode"] = watched
    objective(batch)
    assert counts[0].tolist() == [4] * 16


def test_a_mean_over_jets_gives_large_jets_no_more_weight():
    chosen = torch.tensor([[True, True, True], [True, False, False], [False] * 3])
    assert mean_over_sets(torch.tensor([1.0, 2.0, 3.0, 6.0]), chosen) == 4.0
    assert mean_over_sets(torch.zeros(0), chosen & False) == 0.0


def test_a_flow_is_a_density_and_starts_as_a_gaussian():
    torch.manual_seed(0)
    flow = CouplingFlow(FlowSettings(hidden=16, couplings=4, bins=5), 2, 3)
    context = torch.randn(1, 3)
    axis = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(axis, axis)
    density = flow.log_prob(grid, context.expand(len(grid), -1)).exp()
    gaussian = torch.exp(-0.5 * grid.square().sum(1)) / (2 * math.pi)
    torch.testing.assert_close(density, gaussian, rtol=1e-3, atol=1e-6)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    density = flow.log_prob(grid, context.expand(len(grid), -1)).exp().detach()
    assert (density - gaussian).abs().max() > 0.02
    assert float(density.sum() * (12 / 240) ** 2) == pytest.approx(1.0, abs=0.01)


def test_the_slope_of_a_spline_is_its_derivative():
    torch.manual_seed(0)
    x = torch.linspace(-5, 5, 201, dtype=torch.float64).requires_grad_()
    knots = [torch.randn(201, k, dtype=torch.float64)[:1].expand(201, -1) for k in (6, 6, 5)]
    y, log_slope = spline(x, *knots, tail=4.0)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope)
    assert (y.diff() > 0).all()
    outside = x.abs() > 4
    assert torch.equal(y[outside], x[outside])


@pytest.mark.parametrize("target", ["regression", "flow"])
def test_impact_parameters_and_identities_can_be_asked_for(target):
    objective = small(target=target, identity=0.3, identity_smoothing=0.1).build(jet_model())
    batch = random_jets([9, 14, 20, 6, 17], seed=2)
    loss = objective(batch)
    loss.total.backward()
    assert {"content_loss", "identity_loss", "identity_accuracy"} <= loss.parts.keys()
    noise = getattr(objective.target, "noise", None)
    if noise is not None:  # d0, dz and their errors alone
        assert int((noise > 0).sum()) == 4


@pytest.mark.parametrize("scaling", ["standard", "published"])
def test_targets_weigh_alike_and_neutral_particles_have_no_track(scaling):
    """However the inputs are scaled; the jets have impact parameters of a hundredth of a mm."""
    batch = random_jets([40] * 200)
    tracks = {name: 0.01 * batch.columns[name] for name in ("d0", "dz", "d0err", "dzerr")}
    batch = batch.replace(columns={**batch.columns, **tracks})
    features = Features(particles=JETCLASS_FEATURES["full"], species="hidden", scaling=scaling)
    model = ModelRecipe(features=features, backbone=TINY).build()
    model.features.fit([batch])
    objective = small(distance="l2", targets=("log_pt", "tanh_d0", "dzerr")).build(model)
    objective.fit_constants(lambda: iter([batch]))
    target = objective.target
    x, there = target.values(Masked(batch, batch.is_real))
    charged = batch.columns["charge"][batch.is_real] != 0
    assert torch.equal(there, torch.stack((charged | ~charged, charged, charged), -1))
    for column in range(3):
        asked = x[there[:, column], column]
        assert abs(float(asked.mean())) < 0.01
        assert float(asked.std()) == pytest.approx(1, abs=0.01)
    with torch.no_grad():  # an answer that is wrong by 1, 2 and 3
        target.regressor.weight.zero_()
        target.regressor.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
        losses = target(torch.zeros(len(x), 16), Masked(batch, batch.is_real)).losses
    expected = ((torch.tensor([1.0, 2.0, 3.0]) - x) ** 2 * there).sum(-1)
    torch.testing.assert_close(losses, expected)


def test_by_default_no_density_is_asked_of_what_others_determine():
    """Such as the distance beside both of its differences: it would have no bound."""
    names = [
        small(target=target).build(jet_model()).target.values.features.recipe.particles
        for target in ("flow", "regression")
    ]
    assert names[0] == ("log_pt", "tanh_d0", "d0err", "tanh_dz", "dzerr", "delta_eta", "delta_phi")
    assert {"delta_r", "log_energy", "log_pt_share", *names[0]} < set(names[1])


def test_a_flow_learns_nothing_from_tracks_that_are_not_there():
    """Whatever a file holds for them; the noise on those that are is small beside their spread."""
    batch = random_jets([30] * 50)
    objective = small(target="flow", targets=("log_pt", "tanh_d0")).build(jet_model())
    objective.fit_constants(lambda: iter([batch]))
    neutral = (batch.columns["charge"] == 0) & batch.is_real
    other = batch.replace(columns={**batch.columns, "d0": batch.columns["d0"] + 0.7 * neutral})
    rows = torch.randn(int(batch.is_real.sum()), 16)
    losses = []
    for events in (batch, other):
        torch.manual_seed(3)
        losses.append(objective.target(rows, Masked(events, batch.is_real)).losses)
    torch.testing.assert_close(*losses)
    assert objective.target.noise.tolist() == pytest.approx([0, 0.05])


def test_identities_are_smoothed_over_those_that_occur():
    batch = random_jets([30] * 50)
    objective = small(identity=0.3, identity_smoothing=0.2).build(jet_model()).train()
    objective.fit_constants(lambda: iter([batch]))
    found = objective.identity
    kinds = identity(batch)[batch.is_real]
    assert set(found.occurs.nonzero().flatten().tolist()) == set(kinds.tolist())
    with torch.no_grad():  # certain of the right answer, alike of all others that occur
        found.classifier.weight.zero_()
        found.classifier.bias.fill_(-30.0)
        found.classifier.bias[found.occurs] = 0.0
        losses = found(torch.zeros(len(kinds), 16), Masked(batch, batch.is_real)).losses
    even = torch.tensor(float(found.occurs.sum())).log()
    torch.testing.assert_close(losses, even.expand_as(losses), rtol=1e-4, atol=1e-4)


def test_it_goes_together_with_a_supervised_part(tokenizers):
    recipe = {"kind": "masked_particles", "reader": TINY, "target": "kmeans"}
    recipe["tokenizer"] = str(tokenizers / "kmeans")
    joint = Joint.model_validate({"parts": [recipe, {"kind": "supervised"}]})
    assert joint.ingredients() == {"masked_particles_tokenizer": str(tokenizers / "kmeans")}
    assert joint.build(tiny_model())(toy_batch(16)).total.isfinite()


def test_events_of_which_nothing_can_be_masked_have_no_loss():
    loss = small().build(tiny_model())(empty_set_batch())
    assert loss.total.isfinite()
    loss.total.backward()


@pytest.mark.parametrize(
    ("settings", "name", "more"),
    [
        ({"head": "mlp"}, "head", {"decoder": "bert"}),
        ({"mask": "input"}, "mask", {"decoder": "bert"}),
        ({"flow": {"couplings": 2}}, "flow", {"target": "flow"}),
        ({"target": "flow", "label_smoothing": 0.1}, "label_smoothing", {"target": "kmeans"}),
        ({"identity_smoothing": 0.1}, "identity_smoothing", {"identity": 0.3}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_that_would_change_nothing_is_refused(settings, name, more):
    with pytest.raises(ValidationError, match=f"{name}: has a use only with {next(iter(more))}"):
        small(**settings)
    tokens = {"tokenizer": "x"} if more.get("target") == "kmeans" else {}
    used = small(**{**settings, **more, **tokens})
    assert MaskedParticles.model_validate(used.to_dict()) == used


def test_what_studies_give_to_all_their_variants_may_stand_unused():
    """Of studies/masked_particles: `cpu.yaml` and `paper.yaml`."""
    common = {"targets": ("log_pt",), "distance": "l1", "places": 64, "order": "none"}
    assert small(**common, target="kmeans", tokenizer="x").distance == "l1"
    assert small(**common, target="flow").places == 64


def test_what_does_not_go_together_is_said(tokenizers):
    for settings, message in (
        ({"target": "kmeans"}, "belong together"),
        ({"tokenizer": "x"}, "belong together"),
        ({"decoder": "mae", "order": "backbone"}, "has no meaning with decoder: mae"),
        ({"decoder": "bert", "order": "backbone", "ranks": "masked"}, "counts ranks among all"),
    ):
        with pytest.raises(ValidationError, match=message):
            small(**settings)
    with pytest.raises(ConfigError, match="is a tokenizer kmeans, not vqvae"):
        small(target="vqvae", tokenizer=str(tokenizers / "kmeans")).build(tiny_model())
    with pytest.raises(ConfigError, match=r"hold no 'log_ptt'\. Did you mean 'log_pt'"):
        small(targets=("log_ptt",)).build(tiny_model())
    with pytest.raises(ConfigError, match="needs a backbone that knows the order"):
        small(decoder="bert", order="backbone").build(tiny_model())
    with pytest.raises(ConfigError, match="the backbone has `positions`"):
        small(decoder="bert", order="head").build(tiny_model(ORDERED))
    with pytest.raises(ConfigError, match="belong to a backbone"):
        MaskedParticles(reader=ORDERED).build(tiny_model())
