"""Joint analysis: gradients into each jet's backbone, frozen scores, and the promises of modes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from transferline.data.folds import Fold
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.errors import DataError
from transferline.evaluation import sensitivity
from transferline.evaluation.event_rejection import effective_background, rejections
from transferline.learning.adaptation import transfer
from transferline.learning.baselines import Trees
from transferline.learning.modes import BrokenTransferError, check_score, starting_model
from transferline.learning.network_run import Adaptation, NetworkRun
from transferline.learning.optim import Optim
from transferline.learning.per_event import EventTable
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.probe import embedded, embedder
from transferline.learning.run_digest import run_digest
from transferline.learning.tasks.jet_probe import JetProbe
from transferline.learning.tasks.joint_analysis import JointAnalysis, _names, dijet_mass
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHead

from .jet_event_shards import write_event_shards, write_single_jets

INPUTS = ["log_pt", "log_pt_share", "charge", "delta_eta", "delta_phi"]
SMALL = {"phi": [16], "hidden": [16]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("joint")


@pytest.fixture(scope="module")
def checkpoint(folder):
    """A tagger of positive jets, which is what signal events have and background has not."""
    classes = {
        "qcd": [str(write_single_jets(folder, "j0", 300, 1, 0.5))],
        "hbb": [str(write_single_jets(folder, "j1", 300, 2, 0.95))],
    }
    files = [name for names in classes.values() for name in names]
    config = PretrainConfig(
        data={"kind": "shards", "files": files},
        classes=classes,
        objective={"kind": "supervised"},
        features={"particles": INPUTS, "species": "hidden"},
        backbone={"kind": "deepsets", "particle": [32, 16], "whole": [16]},
        optim={"steps": 80, "batch_size": 64, "lr": 3e-3},
    )
    return Checkpoint.load(pretrain(config, folder / "pre", label=None))


@pytest.fixture(scope="module")
def task(folder):
    return JointAnalysis(
        name="hh",
        signal=[str(write_event_shards(folder, "s", 300, 3, True))],
        background=[str(write_event_shards(folder, "b", 600, 4, False))],
        head=EventHead(kind="deepsets", **SMALL),
        valid_share=0.0,
    )


def head(representation, **keys):
    return EventHead(kind="deepsets", representation=representation, **{**SMALL, **keys})


def how(**keys):
    optim = Optim(steps=60, batch_size=64, lr=1e-3)
    return Adaptation(optim=optim, lr=(3e-3,), small_batches=False, **keys)


def model_of(checkpoint, task, mode, chosen):
    return starting_model(checkpoint, mode, chosen, task.n_outputs, 0).eval()


def test_each_jet_gets_a_gradient_and_no_slot_a_pass(checkpoint, task):
    model = model_of(checkpoint, task, "finetuned", head("embedding_and_kinematics"))
    shards = NestedShardSet(task.samples())
    batch = shards.gather(np.arange(20))
    seen = []
    model.backbone.register_forward_hook(lambda module, given, latent: seen.append(latent.pooled))
    model(batch).square().sum().backward(inputs=list(model.parameters()))
    assert [len(pooled) for pooled in seen] == [int(shards.n_particles[:20].sum())]
    p4 = batch.sets.p4.clone().requires_grad_(True)
    out = model(type(batch)(batch.sets.replace(p4=p4), batch.parent, batch.events))
    (of_jet,) = torch.autograd.grad(out[3, 0], p4)
    moved = of_jet.abs().sum((1, 2)) > 0
    assert torch.equal(moved, batch.parent == 3)


@pytest.mark.parametrize("representation", ["score", "embedding", "score_and_kinematics"])
def test_an_event_is_the_sum_of_its_jets_in_any_order(checkpoint, task, representation):
    model = model_of(checkpoint, task, "finetuned", head(representation, width=4))
    shards = NestedShardSet(task.samples())
    with torch.no_grad():
        whole = model(shards.gather(np.arange(30)))
        alone = torch.cat([model(shards.gather(np.array([i]))) for i in range(30)])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)


def test_events_without_jets_have_an_output(checkpoint, task):
    model = model_of(checkpoint, task, "finetuned", head("embedding"))
    batch = NestedShardSet(task.samples()).gather(np.arange(2))
    none = torch.zeros(0, dtype=torch.int64)
    events = batch.events.replace(is_real=torch.zeros_like(batch.events.is_real))
    sets = batch.sets
    empty = type(sets)(sets.p4[:0], sets.is_real[:0], sets.weight[:0], sets.id[:0])
    out = model(type(batch)(empty, none, events))
    assert out.shape == (2, 2)
    assert torch.isfinite(out).all()


def test_cached_embeddings_give_what_the_backbone_gives(checkpoint, task):
    # The direct call is in float32, which "auto" is not on every processor.
    shards, optim = NestedShardSet(task.samples()), Optim(steps=1, precision="fp32")
    model = checkpoint.backbone()
    rows = np.random.default_rng(0).permutation(len(shards))[:40]
    table = EventTable(shards, embedder(model, optim))
    cached = embedded(shards, table).gather(rows)
    batch = shards.gather(rows)
    with torch.no_grad():
        direct = model.eval().pooled(batch)
    torch.testing.assert_close(cached.sets.context["embedding"], direct, rtol=1e-4, atol=1e-5)
    assert torch.equal(cached.parent, batch.parent)
    assert torch.equal(cached.events.p4, batch.events.p4)


def test_the_score_is_that_of_the_pretraining_and_stands_still_where_frozen(checkpoint, task):
    weight, bias = checkpoint.classifier()
    frozen = model_of(checkpoint, task, "frozen", head("score_and_kinematics")).head.score
    torch.testing.assert_close(frozen.weight, weight[1:] - weight[:1])
    torch.testing.assert_close(frozen.bias, bias[1:] - bias[:1])
    assert not frozen.weight.requires_grad
    scratch = model_of(checkpoint, task, "scratch", head("score")).head.score
    assert not torch.equal(scratch.weight, frozen.weight)
    bare = Checkpoint.of(checkpoint.backbone(), checkpoint.recipe)
    with pytest.raises(DataError, match="holds no classifier"):
        model_of(bare, task, "frozen", head("score"))


def test_a_score_that_moved_where_it_must_not_is_an_error(checkpoint, task):
    model = model_of(checkpoint, task, "frozen", head("score"))
    check_score("frozen", checkpoint, model.head)
    with torch.no_grad():
        model.head.score.bias += 1e-3
    check_score("finetuned", checkpoint, model.head)
    with pytest.raises(BrokenTransferError, match="score of jets"):
        check_score("frozen", checkpoint, model.head)


def test_another_classifier_on_the_same_backbone_is_another_run(checkpoint, task):
    weight, bias = checkpoint.classifier()
    other = checkpoint.with_classifier(weight + 0.1, bias)
    data = task.load()

    def digests(chosen, mode):
        asked = task.model_copy(update={"head": chosen})
        return {run_digest(c, asked, data, mode, how()) for c in (checkpoint, other)}

    assert len(digests(head("score"), "finetuned")) == 2
    assert len(digests(head("embedding"), "finetuned")) == 1
    assert len(digests(head("score"), "scratch")) == 1


def test_the_score_waits_while_the_head_is_trained_first(checkpoint, task, tmp_path):
    asked = task.model_copy(update={"head": head("score")})
    data = asked.load()
    first = how(head_first=Optim(steps=30, batch_size=64, lr=1e-2))
    rows = asked.labelled(data, 200, 0)
    table = EventTable(data.shards, embedder(checkpoint.backbone(), first.optim))
    run = NetworkRun(checkpoint, "finetuned", asked, data, rows, first, 0, tmp_path, table)
    run.train()
    trained = run._first_head
    weight, _ = checkpoint.classifier()
    assert torch.equal(trained["score.weight"], weight[1:] - weight[:1])
    assert any(not torch.equal(v, run._start().head.state_dict()[k]) for k, v in trained.items())


@pytest.mark.parametrize("mode", ["frozen", "finetuned", "scratch"])
def test_modes_train_and_keep_their_promises(checkpoint, task, mode, tmp_path):
    task = task.model_copy(update={"head": head("score_and_kinematics")})
    record = transfer(
        checkpoint, task, mode, n_train=300, seed=0, how=how(), out=tmp_path, keep_checkpoint=True
    )
    if mode != "scratch":  # which learns little from 300 events
        assert record.metrics["auc"].value > 0.75
    assert {"rejection_90", "unweighted_rejection_90", "n_eff_90"} <= set(record.metrics)
    hashes = record.hashes
    assert (hashes.start == hashes.loaded) == (mode != "scratch")
    assert (hashes.end == hashes.start) == (mode == "frozen")
    kept = Checkpoint.load(tmp_path / "checkpoint")
    score, before = kept.model().head.score.weight, checkpoint.classifier()[0]
    moved = not torch.equal(score, before[1:] - before[:1])
    assert moved == (mode != "frozen")


def test_trees_see_the_jets_alone(task, tmp_path):
    trees = Trees(rounds=10, leaves=(6,))
    record = transfer(None, task, "trees", n_train=200, seed=0, how=trees, out=tmp_path)
    assert 0.3 < record.metrics["auc"].value < 0.7  # charges are not among their features


def test_the_share_of_signal_is_made_by_thinning_and_weights_balance_it(task):
    thin = task.model_copy(update={"signal_share": 0.1})
    data, full = thin.load(), task.load()
    target = data.target[data.pool]
    assert target.mean() == pytest.approx(0.1, abs=0.01)
    assert set(data.pool) <= set(full.pool)
    weight = data.training_weight[data.pool]
    assert weight[target == 1].sum() == pytest.approx(weight[target == 0].sum())
    ratio = weight[target == 1].mean() / weight[target == 0].mean()
    assert ratio == pytest.approx((target == 0).sum() / (target == 1).sum())  # pos_weight
    part = thin.folded(data, Fold(0, 3))
    assert part.target[part.pool].mean() == pytest.approx(0.1, abs=0.015)


def test_shards_of_single_jets_are_refused(task, folder, checkpoint):
    wrong = task.model_copy(update={"signal": [str(folder / "j1")]})
    with pytest.raises(DataError, match="jet_events"):
        wrong.load()


def test_rejections_of_known_scores():
    rng = np.random.default_rng(0)
    target = np.repeat([1, 0], [20_000, 100_000])
    scores = np.where(target == 1, rng.random(120_000), rng.random(120_000) ** 2)
    found, _ = rejections(scores, target, np.ones(len(scores)), replicas=30)
    for point in (50, 70, 90):  # efficiency e needs s > 1 - e, which background passes rarely
        expected = 1 / (1 - np.sqrt(1 - point / 100))
        value = found[f"rejection_{point}"]
        assert abs(value.value - expected) < 4 * value.error < 0.2 * expected
    above = effective_background(scores, target, np.ones(len(scores)), 90)
    assert above == pytest.approx(100_000 / found["rejection_90"].value, rel=0.01)


def test_a_sample_of_which_nothing_passes_adds_to_the_error():
    rng = np.random.default_rng(0)
    target = np.repeat([1, 0, 0], [1000, 5000, 5000])
    stratum = np.repeat([0, 1, 2], [1000, 5000, 5000])
    scores = np.where(stratum == 0, 0.9, np.where(stratum == 1, 0.1, rng.random(len(target))))
    weight = np.where(stratum == 1, 50.0, 1.0)
    alone, _ = rejections(scores, target, weight)
    told, _ = rejections(scores, target, weight, stratum=stratum)
    one, other = (found["rejection_90"] for found in (alone, told))
    assert other.value == one.value
    passing = 0.1 * 5000
    expected = np.hypot(one.error / one.value, 50.0 / passing)
    assert other.error / other.value == pytest.approx(expected, rel=0.1)
    sizes = [effective_background(scores, target, weight, 90, s) for s in (None, stratum)]
    assert sizes[0] == pytest.approx(passing, rel=0.1)
    assert sizes[1] == pytest.approx(passing**2 / (passing + 50**2), rel=0.1)


def test_a_luminosity_without_cross_sections_is_refused_before_a_training(task):
    asked = task.model_copy(update={"luminosity": 10.0, "cross_sections": {}})
    with pytest.raises(DataError, match="has no cross section"):
        asked.load()


def test_the_sensitivity_is_that_of_the_whole_luminosity(task, monkeypatch):
    pytest.importorskip("pyhf", reason="extra stats")
    names = dict(zip(task.event_samples(), (2.0, 50.0), strict=True))
    asked = task.model_copy(update={"luminosity": 10.0, "cross_sections": names})
    data = asked.load()
    events = asked._expected_events(data, data.test)
    target = data.target[data.test]
    assert events[target == 1].sum() == pytest.approx(20.0)
    assert events[target == 0].sum() == pytest.approx(500.0)
    scores = np.random.default_rng(0).normal(target, 1.0)
    found, _ = asked.evaluate(scores, data, data.test)
    assert found["significance"].value == pytest.approx(
        found["asimov_significance"].value, rel=0.05
    )
    assert 0 < found["limit"].error < found["limit"].value
    assert found["sculpting"].value < 0.3
    details = asked.details(scores, data, data.test)
    assert len(details["mass"]["slices"]) == 4
    assert "sensitivity" not in details
    monkeypatch.setattr(sensitivity, "find_spec", lambda name: None)
    found, _ = asked.evaluate(scores, data, data.test)
    assert "asimov_significance" in found
    assert "limit" not in found
    assert "pip install" in asked.details(scores, data, data.test)["sensitivity"]


def test_the_probe_reads_the_class_of_jets_off_the_backbone(task, folder, checkpoint, tmp_path):
    jets = {
        "signal": [str(write_single_jets(folder, "p1", 300, 12, 0.95))],
        "background": [str(write_single_jets(folder, "p0", 300, 11, 0.5))],
    }
    asked = task.model_copy(update={"jet_probe": JetProbe(**jets)})
    assert asked.samples()[-2:] == [*jets["signal"], *jets["background"]]
    data = asked.load()
    assert run_digest(checkpoint, asked, data, "frozen", how()) != run_digest(
        checkpoint, task, data, "frozen", how()
    )
    frozen = transfer(
        checkpoint, asked, "frozen", n_train=100, seed=0, how=how(), out=tmp_path / "a", data=data
    )
    assert frozen.metrics["jet_probe"].value > 0.9
    assert "jet_probe_start" not in frozen.metrics
    tuned = transfer(
        checkpoint,
        asked,
        "finetuned",
        n_train=100,
        seed=0,
        how=how(),
        out=tmp_path / "b",
        data=data,
    )
    # Sums of numpy differ in their last digit with the place of an array in memory.
    start, same = tuned.metrics["jet_probe_start"].value, frozen.metrics["jet_probe"].value
    assert start == pytest.approx(same, abs=1e-3)


def test_jets_of_the_probe_that_were_pretrained_on_stop_a_transfer(
    task, folder, checkpoint, tmp_path
):
    jets = {"signal": [str(folder / "j1")], "background": [str(folder / "j0")]}
    asked = task.model_copy(update={"jet_probe": JetProbe(**jets)})
    given = {"n_train": 100, "seed": 0, "how": how()}
    with pytest.raises(DataError, match="test events of jet_probe were in the pre-training"):
        transfer(checkpoint, asked, "frozen", out=tmp_path / "a", **given)
    allowed = transfer(checkpoint, asked, "frozen", out=tmp_path / "a", allow_overlap=True, **given)
    told = allowed.extra["pretraining_overlap"]
    n = len(asked.examined_on()["jet_probe"][1])
    assert told["counts"]["pretraining.yes"] == n > 100
    assert told["events"] == len(asked.load().test) + n
    assert "were in the pre-training of the backbone" in told["verdict"]


def test_samples_of_one_name_are_told_apart():
    assert _names(["X", "", "X", "Y"]) == ["X#1", "2", "X#3", "Y"]


def test_weights_of_one_for_all_events(task):
    data = task.model_copy(update={"weights": "unit"}).load()
    weight = data.training_weight[data.pool]
    for label in (0, 1):
        assert np.ptp(weight[data.target[data.pool] == label]) == 0


def test_the_mass_of_two_jets(task):
    shards = task.load().shards
    batch = NestedShardSet.gather(shards, np.array([5])).events
    pt, eta, phi, m = batch.p4[0, batch.is_real[0]][:2].double().T.numpy()
    e = np.sqrt((pt * np.cosh(eta)) ** 2 + m**2)
    p = np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    assert dijet_mass(shards, np.array([5]))[0] == pytest.approx(
        np.sqrt(e.sum() ** 2 - (p.sum(1) ** 2).sum()), rel=1e-6
    )
