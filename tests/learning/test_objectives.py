from __future__ import annotations

import itertools
import math

import pytest
import torch

from transferline.data.events import SPECIES
from transferline.errors import ConfigError, DataError
from transferline.learning.objectives.counting import Counting
from transferline.learning.objectives.jepa import Jepa
from transferline.learning.objectives.joint import Joint
from transferline.learning.objectives.masked_particles import MaskedParticles
from transferline.learning.objectives.masked_type import MaskedType, hide
from transferline.learning.objectives.replaced_object import (
    BJET,
    CLASSES,
    JET,
    LEPTON,
    MET,
    NONE,
    ReplacedObject,
)
from transferline.learning.objectives.supervised import Supervised
from transferline.learning.pretraining import PROTOCOL, protocol
from transferline.models.augment import Augment
from transferline.models.backbones.base import Latent
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Features
from transferline.models.model import Model
from transferline.testing import check_objective
from transferline.testing.batches import empty_set_batch, toy_batch
from transferline.testing.objective import tiny_model

SYMMETRIES = Augment(rotate_phi=True, reflect_eta=True, boost_z=0.5)


@pytest.mark.parametrize(
    ("draw", "dummy", "head"),
    list(itertools.product(("type", "object"), ("token", "removed"), (0, 8))),
)
def test_every_variant_of_replaced_object_keeps_its_promises(draw, dummy, head):
    check_objective(ReplacedObject(draw=draw, dummy=dummy, head=head))


@pytest.mark.parametrize(("only", "mass"), list(itertools.product((False, True), repeat=2)))
def test_every_variant_of_masked_type_keeps_its_promises(only, mass):
    check_objective(MaskedType(only_hidden=only, hide_mass=mass))


@pytest.mark.parametrize("recipe", [MaskedType, ReplacedObject, Supervised])
def test_augmentation_is_allowed(recipe):
    check_objective(recipe(augment=SYMMETRIES))


def large(n=4000, seed=1):
    return toy_batch(n, seed=seed)


def replaced(batch, **recipe):
    torch.manual_seed(0)
    objective = ReplacedObject(**recipe).build(tiny_model())
    return objective, objective.hidden(batch)


def test_at_most_one_object_is_replaced_with_the_given_probability():
    batch = large()
    _, chosen = replaced(batch, probability=0.8)
    count = chosen.sum(1)
    assert count.max() == 1
    assert count.float().mean().item() == pytest.approx(0.8, abs=0.02)


def test_draw_type_is_uniform_over_the_types_present():
    batch = large()
    # Four types in an event: each is drawn in a quarter of the cases, however many jets.
    species = batch.columns["species"]
    both = (species == SPECIES["bjet"]).any(1) & (species == SPECIES["jet"]).any(1)
    objective, chosen = replaced(batch, probability=1.0, draw="type")
    kinds = (objective.class_of_species[species] * chosen).sum(1)[both]
    shares = torch.bincount(kinds, minlength=5) / len(kinds)
    assert shares[NONE] == 0
    for kind in (LEPTON, BJET, JET, MET):
        assert shares[kind].item() == pytest.approx(0.25, abs=0.03)


def test_draw_object_is_uniform_over_objects():
    batch = large()
    _, chosen = replaced(batch, probability=1.0, draw="object")
    full = batch.is_real.all(1)
    shares = chosen[full].float().mean(0)
    assert shares.tolist() == pytest.approx([1 / 8] * 8, abs=0.05)


def test_an_event_without_objects_has_nothing_replaced():
    _, chosen = replaced(empty_set_batch(), probability=1.0)
    assert chosen.sum(1).tolist() == [0, 1, 1]


def test_taus_count_as_leptons_and_photons_are_never_replaced():
    batch = toy_batch(8)
    for name, expected in (("tau", 8), ("photon", 0)):
        objective, chosen = replaced(only(name, batch), probability=1.0)
        assert chosen.sum() == expected
        assert objective(batch).total.isfinite()
        assert objective.classifier.out_features == 5
    assert objective.class_of_species[SPECIES["tau"]] == LEPTON


def only(name, batch):
    """The batch with every object of one species."""
    return batch.with_column("species", torch.where(batch.is_real, SPECIES[name], 0))


def test_taus_may_have_an_answer_of_their_own_or_none():
    batch = only("tau", toy_batch(8))
    objective, chosen = replaced(batch, probability=1.0, tau="own")
    assert chosen.sum() == 8
    assert objective.classifier.out_features == len(CLASSES) == 6
    _, chosen = replaced(batch, probability=1.0, tau="never")
    assert not chosen.any()


@pytest.mark.parametrize("types", ["hidden", "partly"])
def test_replaced_object_without_types_keeps_its_promises(types):
    check_objective(ReplacedObject(types=types))


def test_hidden_types_never_reach_the_network():
    """With the same draws, other species of the objects that stay change no answer."""
    batch = large(200)
    objective, _ = replaced(batch, types="hidden", probability=1.0, draw="object")
    swapped = batch.with_column(
        "species", torch.where(batch.columns["species"] == SPECIES["jet"], SPECIES["bjet"],
                               batch.columns["species"]),
    )  # fmt: skip
    seen = []
    objective.classifier.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    for one in (batch, swapped):
        torch.manual_seed(3)
        objective.eval()(one)
    torch.testing.assert_close(seen[0], seen[1])


def test_counting_knows_what_counts_tell_and_no_more():
    """Events of one composition: what is left tells by its types what was taken."""
    batch = large(20_000)
    rows = batch.is_real.all(1)
    codes = torch.tensor([SPECIES[n] for n in ("electron", *["bjet"] * 3, *["jet"] * 3, "met")])
    n = int(rows.sum())
    same = batch.replace(
        p4=batch.p4[rows],
        is_real=batch.is_real[rows],
        weight=batch.weight[rows],
        id=batch.id[rows],
        target=None,
        columns={k: v[rows] for k, v in batch.columns.items()},
    ).with_column("species", codes.expand(n, -1).clone())
    objective, _ = replaced(same, probability=0.8)
    for _ in range(5):
        objective.train()(same)
    parts = objective.eval()(same).parts
    assert parts["counting_types"] == 1
    # From the number alone only "nothing is missing" can be told from "one is": 0.2 + 0.8 / 4.
    assert parts["counting_objects"].item() == pytest.approx(0.4, abs=0.06)
    before = objective.counting_types.table.clone()
    objective(same)
    assert torch.equal(before, objective.counting_types.table)
    # Without types a lepton is told by its charge, missing momentum by its eta, and no kind of jet.
    charged = torch.where(codes == SPECIES["electron"], 1.0, 0.0).expand(n, -1).clone()
    secret, _ = replaced(same.with_column("charge", charged), probability=0.8, types="hidden")
    for _ in range(5):
        secret.train()(same.with_column("charge", charged))
    parts = secret.eval()(same.with_column("charge", charged)).parts
    assert parts["counting_types"].item() == pytest.approx(0.6 + 0.4 / 2, abs=0.05)


def test_counting_sees_the_dummy_as_the_network_does():
    """Beside a dummy of its own "none" is no question; where objects vanish it is one."""
    batch = large(8000)
    right = {}
    for dummy in ("token", "removed"):
        objective, _ = replaced(batch, probability=0.5, dummy=dummy)
        for _ in range(3):
            objective.train()(batch)
        right[dummy] = objective.eval()(batch).parts["counting_objects"].item()
        assert objective.counting_types.table.sum() == 3 * len(batch)
    # Half of the events have no dummy; of the others the commonest answer is right in a quarter.
    assert right["token"] > 0.5 + 0.5 * 0.25 - 0.03
    assert right["removed"] < right["token"] - 0.05


def test_counting_goes_on_beyond_what_float32_can_count():
    counting = Counting([1], 2)
    counting.table[0, 0] = 2**24
    counting.table[0, 1] = 2**24
    counting.learn(torch.zeros(1, 1, dtype=torch.long), torch.tensor([1]))
    assert counting.accuracy(torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])) == 1


@pytest.mark.parametrize("types", ["visible", "hidden", "partly"])
def test_types_are_hidden_with_the_btag_score_and_without_the_charge(types):
    batch = large(500)
    objective, _ = replaced(batch, types=types, hide=0.3)
    shown = objective._shown(batch)
    assert torch.equal(shown.p4, batch.p4)
    assert torch.equal(shown.columns["charge"], batch.columns["charge"])
    gone = (shown.columns["species"] == 0) & batch.is_real
    assert not shown.columns["btag"][gone].any()
    for name in ("species", "btag"):
        kept = batch.is_real & ~gone
        assert torch.equal(shown.columns[name][kept], batch.columns[name][kept])
    share = gone.sum() / batch.is_real.sum()
    wanted = {"visible": 0.0, "hidden": 1.0, "partly": 0.3}[types]
    assert share.item() == pytest.approx(wanted, abs=0.03)


def test_masked_type_hides_with_the_published_probability():
    batch = large()
    objective = MaskedType().build(tiny_model())
    hidden = objective.hidden(batch)
    assert hidden[batch.is_real].float().mean().item() == pytest.approx(0.65, abs=0.01)
    assert not hidden[~batch.is_real].any()


def test_hiding_zeroes_what_would_give_the_species_away_and_nothing_else():
    batch = toy_batch()
    hidden = batch.is_real & (torch.arange(8) % 2 == 0)
    shown = hide(batch, hidden, hide_mass=True)
    for name in ("species", "charge", "btag"):
        assert not shown.columns[name][hidden].any()
        assert torch.equal(shown.columns[name][~hidden], batch.columns[name][~hidden])
    assert torch.equal(shown.p4[..., :3], batch.p4[..., :3])
    assert not shown.p4[..., 3][hidden].any()
    kept = hide(batch, hidden, hide_mass=False)
    assert torch.equal(kept.p4, batch.p4)


def test_only_hidden_counts_hidden_objects_alone():
    """With nothing hidden there is no loss; with all hidden both variants agree."""
    batch = toy_batch()
    torch.manual_seed(0)
    model = tiny_model()
    losses = {}
    for only, probability in itertools.product((True, False), (1e-9, 1.0)):
        torch.manual_seed(1)
        objective = MaskedType(only_hidden=only, probability=probability).build(model)
        losses[only, probability] = objective(batch).total.item()
    assert losses[True, 1e-9] == 0.0
    assert losses[False, 1e-9] > 0.0
    assert losses[True, 1.0] == pytest.approx(losses[False, 1.0])


class Fixed(torch.nn.Module):
    """A head with given outputs, to compute losses by hand."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, pooled):
        return self.logits + 0 * pooled.sum()


def test_supervised_is_the_weighted_cross_entropy():
    batch = toy_batch(3).replace(
        target=torch.tensor([0, 1, 1]), weight=torch.tensor([1.0, 2.0, -0.5])
    )
    model = tiny_model()
    model.head = Fixed(torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    loss = Supervised().build(model)(batch)
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log(2)]
    expected = (terms[0] + 2 * terms[1] - 0.5 * terms[2]) / 3
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    assert loss.parts["accuracy"].item() == pytest.approx(2 / 3)


def test_supervised_needs_targets():
    objective = Supervised().build(tiny_model())
    with pytest.raises(DataError, match="labelled"):
        objective(toy_batch(4).replace(target=None))


def test_an_untrained_guess_costs_the_logarithm_of_the_number_of_answers():
    """With constant outputs the loss is ln 5 for five answers: the scale of all loss curves."""
    torch.manual_seed(0)
    objective = ReplacedObject().build(tiny_model())
    with torch.no_grad():
        for parameter in objective.classifier.parameters():
            parameter.zero_()
    assert objective(toy_batch()).total.item() == pytest.approx(math.log(5), rel=1e-5)


@pytest.mark.parametrize("padding", [{}, {"padding": "seen", "slots": 9}], ids=["masked", "seen"])
@pytest.mark.parametrize("dummy", ["removed", "token"])
def test_a_removed_object_leaves_an_event_that_never_had_it(padding, dummy):
    """Whatever padding is; a dummy of its own leaves something else."""
    batch = toy_batch(16)
    torch.manual_seed(0)
    model = tiny_model()
    model.backbone = Transformer(width=16, depth=1, heads=2, **padding).build(model.features.spec)
    objective = ReplacedObject(probability=1.0, dummy=dummy).build(model).eval()
    chosen = objective.hidden(batch)
    vars(objective)["hidden"] = lambda _: chosen
    seen = []
    objective.classifier.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    objective(batch)
    without = batch.replace(is_real=batch.is_real & ~chosen)
    difference = (seen[0] - model.latent(without).pooled).abs().amax(1)
    assert (difference < 1e-5).all() if dummy == "removed" else (difference > 1e-3).all()


@pytest.mark.parametrize("dummy", ["removed", "token"])
def test_no_sum_and_no_place_tells_of_a_replaced_object(dummy):
    """Features that are shares of the whole, and a backbone that knows places by pT."""
    batch = toy_batch(16)
    features = Features(particles=["log_pt_share", "eta", "sin_phi", "cos_phi"]).build()
    features.fit([batch])
    backbone = Transformer(width=16, depth=1, heads=2, positions=8).build(features.spec)
    model = Model(features, backbone, None)
    torch.manual_seed(0)
    objective = ReplacedObject(probability=1.0, dummy=dummy).build(model).eval()
    chosen = objective.hidden(batch)
    vars(objective)["hidden"] = lambda _: chosen
    seen = []
    objective.classifier.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    for factor in (1.0, 5.0):
        scale = torch.where(chosen, factor, 1.0)
        objective(batch.replace(p4=batch.p4 * torch.stack([scale, *[scale**0] * 3], -1)))
    torch.testing.assert_close(seen[0], seen[1])


@pytest.mark.parametrize("recipe", [MaskedType(), ReplacedObject()], ids=lambda recipe: recipe.kind)
def test_jets_of_constituents_have_no_types_of_objects(recipe):
    batch = toy_batch(4)
    columns = {**batch.columns, "species": batch.columns["species"] + 7 * batch.is_real}
    with pytest.raises(ConfigError, match="jets of constituents"):
        recipe.build(tiny_model()).fit_constants(lambda: [batch.replace(columns=columns)])
    recipe.build(tiny_model()).fit_constants(lambda: [batch])


def test_the_pooled_embedding_never_counts_a_removed_object():
    """`removed` must equal an event that never had the object."""
    batch = toy_batch(16)
    objective, chosen = replaced(batch, probability=1.0, dummy="removed")
    seen: list[Latent] = []
    encode = objective.model.backbone.encode

    def watched(*arguments, **more):
        seen.append(encode(*arguments, **more))
        return seen[-1]

    vars(objective.model.backbone)["encode"] = watched
    vars(objective)["hidden"] = lambda _: chosen
    objective.eval()(batch)
    without = batch.replace(is_real=batch.is_real & ~chosen)
    expected = objective.model.features(without)
    wanted = encode(objective.model.backbone.embed(expected), without.is_real)
    torch.testing.assert_close(seen[0].pooled, wanted.pooled)


def test_an_objective_that_was_corrected_is_another_pretraining():
    """Of the others nothing is made anew."""
    assert protocol(Supervised()) == PROTOCOL
    corrected = [
        Jepa(),
        Joint.model_validate({"parts": [{"kind": "jepa"}, {"kind": "supervised"}]}),
        Joint.model_validate({"parts": [{"kind": "resimulation"}, {"kind": "supervised"}]}),
        MaskedParticles(target="flow"),
    ]
    assert [protocol(one) for one in corrected] == [[PROTOCOL, 2]] * 4
    plain = {"parts": [{"kind": "masked_type"}, {"kind": "supervised"}]}
    assert protocol(Joint.model_validate(plain)) == PROTOCOL
    assert protocol(MaskedParticles(target="flow", targets=("log_pt",))) == PROTOCOL
