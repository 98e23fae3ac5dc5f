from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from transferline.data.loader import Loader
from transferline.deploy.trained import checkpoint_directory
from transferline.errors import ConfigError, DataError, NumericalError
from transferline.files import alone_in
from transferline.learning import modes
from transferline.learning.adaptation import transfer
from transferline.learning.baselines import Trees
from transferline.learning.modes import MODES, BrokenTransferError
from transferline.learning.network_run import Adaptation, NetworkRun
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.probe import ProbedModel
from transferline.learning.run_digest import at_size, run_digest
from transferline.learning.shared_tables import embedding_table
from transferline.learning.tasks.event_classification import EventClassification
from transferline.models.checkpoint import Checkpoint
from transferline.models.model import weight_hash
from transferline.testing.batches import toy_batch
from transferline.testing.objective import tiny_model

from .event_shards import write_shards

WITHOUT_BATCH_NORM = [mode for mode in MODES if mode != "fixed"]
BACKBONE = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adaptation")


@pytest.fixture(scope="module")
def task(folder):
    return EventClassification(
        name="hard vs soft",
        signal=[str(write_shards(folder, 900, seed=1, hardness=1.6))],
        background=[str(write_shards(folder, 900, seed=2))],
    )


@pytest.fixture(scope="module")
def checkpoint(folder):
    config = PretrainConfig.model_validate(
        {
            "data": {"kind": "shards", "files": [str(write_shards(folder, 400, seed=3))]},
            "backbone": BACKBONE,
            "objective": {"kind": "masked_type"},
            "optim": {"steps": 20, "batch_size": 64},
        }
    )
    return Checkpoint.load(pretrain(config, folder / "pre", label=None))


def settings(mode, **changes):
    if mode == "trees":
        return Trees(leaves=(4, 8), rounds=30)
    optim = {"steps": 30, "batch_size": 64, **changes.pop("optim", {})}
    return Adaptation.model_validate({"optim": optim, "lr": [1e-3, 1e-2], **changes})


def run(checkpoint, task, mode, out, **changes):
    given = {"n_train": 200, "seed": 0, "how": settings(mode), **changes}
    return transfer(checkpoint, task, mode, out=out, **given)


def test_two_runs_do_not_work_in_one_directory(checkpoint, task, tmp_path):
    with alone_in(tmp_path), pytest.raises(ConfigError, match="another process works there"):
        run(checkpoint, task, "trees", tmp_path)
    run(checkpoint, task, "trees", tmp_path)
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("mode", WITHOUT_BATCH_NORM)
def test_every_mode_beats_guessing_and_leaves_its_files(mode, checkpoint, task, tmp_path):
    record = run(checkpoint, task, mode, tmp_path)
    auc = record.metrics["auc"]
    assert auc.value > 0.5 + 5 * auc.error
    assert (record.n_train, record.seed, record.mode) == (200, 0, mode)
    assert (record.extra["n_fit"], record.extra["n_select"]) == (160, 40)
    with np.load(tmp_path / "scores.npz") as scores:
        data = task.load()
        assert np.array_equal(scores["test_target"], data.target[data.test])
        assert len(scores["test_score"]) == len(data.test)
        assert 0 <= scores["train_score"].min() <= scores["train_score"].max() <= 1
        assert len(scores["train_target"]) == 160
    assert json.loads((tmp_path / "record.json").read_text())["mode"] == mode
    left = {path.name for path in tmp_path.iterdir()} - {"scores.npz", "record.json"}
    assert left == (set() if mode == "trees" else {"metrics.jsonl", "metrics.csv"})


def test_few_events_make_small_batches_unless_forbidden():
    how = settings("scratch", optim={"batch_size": 256})
    assert [how.sized(n).batch_size for n in (100, 800, 80_000)] == [32, 100, 256]
    published = how.model_copy(update={"small_batches": False})
    assert [published.sized(n).batch_size for n in (100, 800, 80_000)] == [100, 256, 256]


def test_hashes_are_those_of_the_modes(checkpoint, task, tmp_path):
    stored = checkpoint.backbone_hash()
    frozen, tuned, scratch = (
        run(checkpoint, task, mode, tmp_path / mode).hashes
        for mode in ("frozen", "finetuned", "scratch")
    )
    assert frozen.loaded == frozen.start == frozen.end == stored
    assert tuned.loaded == tuned.start == stored != tuned.end
    assert scratch.loaded == stored != scratch.start != scratch.end


def test_a_scratch_run_that_starts_from_loaded_weights_raises(
    checkpoint, task, tmp_path, monkeypatch
):
    monkeypatch.setattr(Checkpoint, "redrawn", lambda self, seed: self.backbone())
    with pytest.raises(BrokenTransferError, match="must be redrawn"):
        run(checkpoint, task, "scratch", tmp_path)
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize("mode", ["frozen", "finetuned"])
def test_a_transfer_that_in_truth_starts_anew_raises(mode, checkpoint, task, tmp_path, monkeypatch):
    genuine = Checkpoint.redrawn

    def swapped(checkpoint, mode, head, n_outputs, seed):
        model = genuine(checkpoint, seed)
        model.head = head.build(model.backbone.width, n_outputs)
        return model

    monkeypatch.setattr("transferline.learning.network_run.starting_model", swapped)
    with pytest.raises(BrokenTransferError, match="does not start from the weights"):
        run(checkpoint, task, mode, tmp_path)


def test_a_frozen_backbone_that_moves_raises(checkpoint, task, tmp_path, monkeypatch):
    from transferline.learning import network_run

    genuine = network_run.fit

    def leaking(objective, *rest, **named):
        result = genuine(objective, *rest, **named)
        with torch.no_grad():
            objective.model.features.scale += 1e-6  # a buffer: no gradient ever touches it
        return result

    monkeypatch.setattr(network_run, "fit", leaking)
    with pytest.raises(BrokenTransferError, match="backbone moved"):
        run(checkpoint, task, "frozen", tmp_path)


def test_a_training_that_does_nothing_raises(checkpoint, task, tmp_path):
    idle = settings("finetuned", optim={"backbone_lr": 0.0, "weight_decay": 0.0})
    with pytest.raises(BrokenTransferError, match="did not move"):
        run(checkpoint, task, "finetuned", tmp_path, how=idle)


def test_other_feature_constants_raise(checkpoint, task):
    model = modes.starting_model(checkpoint, "scratch", task.head, 2, seed=0)
    model.features.mean += 1
    with pytest.raises(BrokenTransferError, match="constants of Features"):
        modes.check_start("scratch", checkpoint, model)


def test_the_head_is_new_and_a_backbone_is_redrawn_from_the_seed(checkpoint, task):
    models = {
        (mode, seed): modes.starting_model(checkpoint, mode, task.head, 2, seed)
        for mode in ("scratch", "frozen")
        for seed in (0, 1)
    }
    heads = {key: weight_hash(model.head) for key, model in models.items()}
    assert heads["scratch", 0] == heads["frozen", 0] != heads["frozen", 1]
    backbones = {key: weight_hash(model.backbone) for key, model in models.items()}
    assert backbones["frozen", 0] == backbones["frozen", 1]
    assert backbones["scratch", 0] != backbones["scratch", 1]


def test_cached_embeddings_equal_those_computed_in_training(checkpoint, task, tmp_path):
    data = task.load()
    how = settings("frozen", optim={"precision": "fp32"})
    rows = np.random.default_rng(0).permutation(data.pool)[:100]
    model = checkpoint.backbone().eval()
    with torch.no_grad():
        direct = torch.cat(
            [model.latent(b).pooled for b in Loader(data.shards, rows, 7, shuffle=False).batches(0)]
        )
    for tables in (None, tmp_path, tmp_path):  # in memory, written, read
        table = embedding_table(checkpoint, data, how, tables)
        torch.testing.assert_close(table(rows), direct, rtol=1e-4, atol=1e-5)
        assert torch.equal(table(rows[:5]), table(rows)[:5])
    assert len(list(tmp_path.iterdir())) == 1


def test_tables_of_other_rows_are_other_files(checkpoint, task, tmp_path):
    how = settings("frozen")
    for chosen in (task, task.model_copy(update={"test_max": 20})):
        data = chosen.load()
        table = embedding_table(checkpoint, data, how, tmp_path)
        assert len(table(data.test)) == len(data.test)
    assert len(list(tmp_path.iterdir())) == 2


def test_equal_weights_of_two_networks_have_two_tables(checkpoint, task, tmp_path):
    recipe = checkpoint.recipe.backbone
    other = recipe.model_copy(update={"dropout": 0.25})  # like an activation, it has no weights
    twin = replace(checkpoint, recipe=checkpoint.recipe.model_copy(update={"backbone": other}))
    assert twin.backbone_hash() == checkpoint.backbone_hash()
    data = task.load()
    for one in (checkpoint, twin):
        embedding_table(one, data, settings("frozen"), tmp_path)(data.test[:3])
    assert len(list(tmp_path.iterdir())) == 2


def test_frozen_with_cached_embeddings_equals_frozen_without(
    checkpoint, task, tmp_path, monkeypatch
):
    from transferline.learning import network_run

    class Uncached(network_run.ProbedModel):
        def latent(self, batch):
            fresh = network_run.Model.latent(self, batch).pooled
            return super().latent(batch.replace(context={"embedding": fresh}))

    how = settings("frozen", optim={"precision": "fp32"})
    cached = run(checkpoint, task, "frozen", tmp_path / "cached", how=how)
    monkeypatch.setattr(network_run, "ProbedModel", Uncached)
    genuine = property(lambda self: self.data.shards)
    monkeypatch.setattr(network_run.NetworkRun, "_embedded", genuine)
    plain = run(checkpoint, task, "frozen", tmp_path / "plain", how=how)
    assert plain.hashes.end == cached.hashes.end
    assert plain.extra["lr"] == cached.extra["lr"]
    assert plain.extra["best_loss"] == pytest.approx(cached.extra["best_loss"], rel=1e-4)
    with np.load(tmp_path / "plain/scores.npz") as a, np.load(tmp_path / "cached/scores.npz") as b:
        np.testing.assert_allclose(a["test_score"], b["test_score"], atol=1e-3)


def test_a_probe_of_standardised_embeddings_becomes_one_of_plain_ones():
    model = tiny_model()
    width = model.backbone.width
    far = 50 + torch.logspace(-2, 2, width) * torch.randn(400, width)
    far[:, 0] = 7.0  # of no use, and no division by nothing
    probe = ProbedModel(model.features, model.backbone, model.head)
    batch = toy_batch(400).replace(context={"embedding": far})
    plain = probe(batch)
    probe.standardise(lambda: far)
    spread = probe.latent(batch).pooled.std(0)
    wide = far.std(0) > 0.01 * far.std(0).max()  # less than that might be rounding
    assert spread[wide].sub(1).abs().max() < 1e-3 and spread[~wide].max() < 1
    shown = probe(batch)
    probe.fold()
    torch.testing.assert_close(probe(batch), shown, rtol=1e-2, atol=1e-2)
    assert (shown - plain).abs().max() > 0.1


@pytest.mark.parametrize("mode", ["scratch", "finetuned"])
def test_a_head_that_is_trained_first_starts_lower(mode, checkpoint, task, tmp_path):
    def first_loss(name, **changes):
        how = settings(mode, lr=[1e-6], optim={"steps": 2, "validate_every": 1}, **changes)
        run(checkpoint, task, mode, tmp_path / name, how=how)
        rows = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return json.loads(rows[0])["val_loss"]

    first = {"steps": 100, "batch_size": 64, "lr": 1e-2}
    assert first_loss("first", head_first=first) < first_loss("at once") - 0.02
    assert not (tmp_path / "first" / "head").exists()


def test_what_a_killed_run_left_is_not_taken_for_a_result(checkpoint, task, tmp_path):
    for name in ("trials/0.001/state", "trials/full", "head"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".begun").touch()
    (tmp_path / "trials" / "0.001" / "metrics.jsonl").write_text("not JSON")
    first = {"steps": 5, "batch_size": 64}
    how = settings("finetuned", head_first=first, trial_share=0.5)
    run(checkpoint, task, "finetuned", tmp_path, how=how)
    assert not (tmp_path / "trials").exists() and not (tmp_path / "head").exists()


def test_a_run_repeats_exactly_and_seeds_differ(checkpoint, task, tmp_path):
    first, again, other = (
        run(checkpoint, task, "finetuned", tmp_path / str(i), seed=seed)
        for i, seed in enumerate((0, 0, 1))
    )
    assert first.metrics == again.metrics != other.metrics
    assert first.hashes == again.hashes != other.hashes
    assert first.key() == again.key() != other.key()


def test_all_modes_see_the_same_events(checkpoint, task, tmp_path, monkeypatch):
    seen = {}
    genuine = EventClassification.labelled

    def spy(self, data, n_train, seed):
        rows = genuine(self, data, n_train, seed)
        seen.setdefault("all", []).append(np.concatenate((rows.fit, rows.select)))
        return rows

    monkeypatch.setattr(EventClassification, "labelled", spy)
    for mode in WITHOUT_BATCH_NORM:
        run(checkpoint, task, mode, tmp_path / mode, n_train=100)
    assert all(np.array_equal(rows, seen["all"][0]) for rows in seen["all"])


def test_the_learning_rate_is_chosen_on_held_out_events(checkpoint, task, tmp_path):
    for steps, changes in ((15, {}), (12, {"trial_most": 12}), (15, {"trial_most": 20})):
        how = settings("scratch", lr=[1e-7, 1e-2], trial_share=0.5, **changes)
        out = tmp_path / f"{steps} {changes}"
        record = run(checkpoint, task, "scratch", out, how=how)
        small, large, last = record.extra["grid"]
        assert record.extra["lr"] == large["lr"] == last["lr"] == 1e-2
        assert large["loss"] < small["loss"]
        assert large["steps"] == steps and record.extra["steps"] == last["steps"] == 30
        assert record.cost.steps == 2 * steps + 30
        assert record.cost.examples_seen <= how.examples(160) <= 64 * record.cost.steps


def test_longer_trainings_triple_their_steps_and_end_at_the_cap():
    how = settings("scratch", lr=[1e-3, 1e-2], trial_share=0.2)

    def lengths(cap):
        return how.lengths(how.optim.model_copy(update={"steps": cap}))

    assert lengths(1000) == [200, 600, 1000]
    assert lengths(10) == [2, 6, 10]
    assert how.model_copy(update={"trial_share": 0.25}).lengths(how.optim)[0] == 8
    assert how.model_copy(update={"trial_share": 1.0}).lengths(how.optim) == [30]
    assert how.model_copy(update={"trial_share": 0.5}).lengths(how.optim) == [15, 30]


@pytest.mark.parametrize(
    ("losses", "trained"),
    [
        ((0.6, 0.7, 0.1), [3, 3, 9]),
        ((0.6, 0.5, 0.4), [3, 3, 9, 30]),
        ((0.6, 0.5, 0.7), [3, 3, 9, 30]),
    ],
)
def test_the_best_rate_is_trained_longer_while_that_helps(
    losses, trained, checkpoint, task, tmp_path
):
    whole, seen = NetworkRun._fit, []
    told = dict(zip((3, 9, 30), losses, strict=True))

    def fit(self, lr, optim, logs):
        trial = whole(self, lr, optim, logs)
        seen.append(optim.steps)
        return replace(trial, result=replace(trial.result, best_loss=told[optim.steps]))

    how = settings("scratch", lr=[1e-3, 1e-2], trial_share=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetworkRun, "_fit", fit)
        record = run(checkpoint, task, "scratch", tmp_path, how=how)
    assert seen == trained
    best = min(trained, key=lambda steps: told[steps])
    assert record.extra["best_loss"] == told[best]
    assert (tmp_path / "metrics.jsonl").exists()


def test_a_diverging_rate_loses_and_does_not_end_the_run(checkpoint, task, tmp_path):
    how = settings("scratch", lr=[1e30, 1e-2], optim={"clip": None})
    record = run(checkpoint, task, "scratch", tmp_path, how=how)
    assert record.extra["lr"] == 1e-2


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rate_that_diverges_after_its_trial_gives_way(
    failing, checkpoint, task, tmp_path, monkeypatch
):
    """To the next one, whose training counts if it is better than the trials."""
    whole, refused = NetworkRun._fit, []

    def fit(self, lr, optim, logs):
        if optim.steps == 30 and len(refused) < failing:
            refused.append(lr)
            raise NumericalError("the loss is not finite")
        return whole(self, lr, optim, logs)

    monkeypatch.setattr(NetworkRun, "_fit", fit)
    how = settings("scratch", lr=[1e-3, 1e-2], trial_share=0.5)
    record = run(checkpoint, task, "scratch", tmp_path, how=how)
    assert record.cost.steps == 15 + 15 + (30 if failing == 1 else 0)
    assert len(refused) == failing
    assert [point["lr"] for point in record.extra["grid"] if "diverged" in point] == refused


@pytest.mark.parametrize("mode", ["finetuned", "frozen"])
def test_the_kept_checkpoint_gives_the_recorded_scores(checkpoint, task, tmp_path, mode):
    how = settings(mode, optim={"precision": "fp32"})
    record = run(checkpoint, task, mode, tmp_path, how=how, keep_checkpoint=True)
    kept = Checkpoint.load(tmp_path / "checkpoint")
    data = task.load()
    with torch.no_grad():
        probability = kept.model().eval()(data.shards.gather(data.test)).softmax(-1)[:, 1]
    with np.load(tmp_path / "scores.npz") as scores:
        np.testing.assert_allclose(scores["test_score"], probability, atol=1e-4)
    assert kept.selection == checkpoint.selection
    assert kept.provenance["task"]["name"] == task.name
    assert kept.backbone_hash() == record.hashes.end


def test_the_digest_follows_what_matters_only(checkpoint, task):
    data = task.load()
    how = settings("finetuned")
    base = run_digest(checkpoint, task, data, "finetuned", how)
    assert base == run_digest(checkpoint, task, data, "finetuned", how)
    assert base != run_digest(checkpoint, task, data, "finetuned", settings("finetuned", lr=[1.0]))
    assert base != run_digest(
        checkpoint, task.model_copy(update={"select_share": 0.3}), data, "finetuned", how
    )
    tensors = {**checkpoint.tensors}
    name = next(n for n in tensors if n.startswith("backbone"))
    tensors[name] = tensors[name] + 1
    moved = Checkpoint(checkpoint.recipe, tensors)
    assert base != run_digest(moved, task, data, "finetuned", how)
    assert run_digest(moved, task, data, "scratch", how) == run_digest(
        checkpoint, task, data, "scratch", how
    )


def test_runs_whose_selecting_events_are_bounded_are_other_ones(task):
    # Once they were not: with 0.2 of 25,000 labels the bound of 5,000 changes nothing yet.
    assert [at_size("a", task, n) == "a" for n in (100, 25_000, 30_000)] == [True, True, False]


def test_trees_of_other_features_are_other_runs(task, monkeypatch):
    data, how = task.load(), settings("trees")
    before = run_digest(None, task, data, "trees", how)
    other = replace(task.engineered, version="another")
    monkeypatch.setattr(EventClassification, "engineered", other)
    assert run_digest(None, task, data, "trees", how) != before


def test_wrong_arguments_are_explained(checkpoint, task, tmp_path):
    with pytest.raises(ConfigError, match="kind Trees"):
        run(checkpoint, task, "trees", tmp_path, how=settings("scratch"))
    with pytest.raises(ConfigError, match="needs a checkpoint"):
        run(None, task, "scratch", tmp_path)
    with pytest.raises(ConfigError, match="select_share above 0"):
        run(checkpoint, task.model_copy(update={"select_share": 0.0}), "scratch", tmp_path)
    with pytest.raises(DataError, match="there are"):
        run(checkpoint, task, "trees", tmp_path, n_train=10_000)
    with pytest.raises(ConfigError, match="not one of"):
        run(checkpoint, task, "tuned", tmp_path, how=settings("scratch"))


def test_nothing_of_an_earlier_run_is_left_beside_a_new_one(checkpoint, task, tmp_path):
    out = tmp_path / "run"
    run(checkpoint, task, "finetuned", out, keep_checkpoint=True)
    assert (out / "checkpoint" / "model.safetensors").exists() and (out / "metrics.csv").exists()
    (out / "records.jsonl").write_text("history\n")
    (out / ".checkpoint.old").mkdir()  # of a removal that was killed
    # What is refused removes nothing.
    with pytest.raises(DataError, match="there are"):
        run(checkpoint, task, "trees", out, n_train=10_000)
    assert (out / "checkpoint").is_dir() and (out / "record.json").exists()
    with pytest.raises(ConfigError, match=r"holds another run .*--overwrite replaces it"):
        run(checkpoint, task, "trees", out)
    assert (out / "checkpoint").is_dir() and (out / "record.json").exists()
    run(checkpoint, task, "trees", out, overwrite=True)
    assert {p.name for p in out.iterdir()} == {"record.json", "scores.npz", "records.jsonl"}
    with pytest.raises(ConfigError, match="keeps no network"):
        checkpoint_directory(out)


@pytest.mark.parametrize(
    "name", ["metrics.csv", "checkpoint/model.ckpt", "trials/a.root", "head/x", "config.json"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_names_that_are_everybodys_are_not_taken_for_a_run(
    checkpoint, task, tmp_path, name, overwrite
):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    if name == "config.json":  # of a pre-training, where a run was killed before
        (tmp_path / ".begun").touch()
    with pytest.raises(ConfigError, match="is of no finished run, and one would replace it"):
        run(checkpoint, task, "finetuned", tmp_path, overwrite=overwrite)
    assert (tmp_path / name).read_text() == "precious"


def test_what_lies_beside_a_finished_run_is_not_cleared_away(checkpoint, task, tmp_path):
    run(checkpoint, task, "trees", tmp_path)
    (tmp_path / "trials").mkdir()
    with pytest.raises(ConfigError, match="trials: is of no finished run"):
        run(checkpoint, task, "finetuned", tmp_path, overwrite=True)


def test_a_killed_run_is_begun_again_and_marks_nothing_that_is_finished(
    checkpoint, task, tmp_path, monkeypatch
):
    def stop(*_, **__):
        (tmp_path / "trials").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("transferline.learning.adaptation._run_network", stop)
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint, task, "finetuned", tmp_path)
    assert run(checkpoint, task, "finetuned", tmp_path).mode == "finetuned"
    assert not (tmp_path / ".begun").exists()


def test_a_record_that_cannot_be_read_is_replaced_only_if_asked(checkpoint, task, tmp_path):
    run(checkpoint, task, "trees", tmp_path)
    text = (tmp_path / "record.json").read_text()
    newer = text.replace("{", '{"of_a_newer_version": 1, ', 1)
    (tmp_path / "record.json").write_text(newer)
    with pytest.raises(ConfigError, match="cannot be read, it is damaged or of another version"):
        run(checkpoint, task, "trees", tmp_path)
    assert (tmp_path / "record.json").read_text() == newer
    run(checkpoint, task, "trees", tmp_path, overwrite=True)
    assert "newer" not in (tmp_path / "record.json").read_text()


def test_a_rate_that_would_not_be_used_is_refused():
    for_its_own = {"optim": {"steps": 20, "lr": 1e-5}}
    with pytest.raises(ValueError, match=r"optim\.lr \(1e-05\) is not used here.*lr: \[1e-05\]"):
        Adaptation.model_validate(for_its_own)
    assert Adaptation.model_validate({**for_its_own, "lr": [1e-5]}).lr == (1e-5,)


def test_a_finished_run_is_not_done_again(checkpoint, task, tmp_path, monkeypatch):
    first = run(checkpoint, task, "finetuned", tmp_path, keep_checkpoint=True)

    def stop(*_, **__):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("transferline.learning.adaptation._run_network", stop)
        again = run(checkpoint, task, "finetuned", tmp_path, keep_checkpoint=True)
        assert again == first
        with pytest.raises(AssertionError):
            run(checkpoint, task, "finetuned", tmp_path, overwrite=True)
    for change in ({"seed": 1}, {"n_train": 300}, {"how": settings("finetuned", epochs=3)}):
        run(checkpoint, task, "finetuned", tmp_path / "x", keep_checkpoint=True)
        with pytest.raises(ConfigError, match="holds another run"):
            run(checkpoint, task, "finetuned", tmp_path / "x", **change)


def test_a_run_that_is_interrupted_has_no_older_network(checkpoint, task, tmp_path, monkeypatch):
    run(checkpoint, task, "finetuned", tmp_path, keep_checkpoint=True)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("transferline.learning.adaptation._run_trees", stop)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, task, "trees", tmp_path, overwrite=True)
    assert not (tmp_path / "checkpoint").exists() and not (tmp_path / "record.json").exists()


def test_a_run_does_not_replace_what_it_starts_from(checkpoint, task, tmp_path):
    run(checkpoint, task, "finetuned", tmp_path, keep_checkpoint=True)
    start = Checkpoint.load(tmp_path / "checkpoint")
    with pytest.raises(ConfigError, match="holds the checkpoint that this run starts from"):
        run(start, task, "scratch", tmp_path)
    assert (tmp_path / "record.json").exists()


def test_the_record_says_where_the_scaling_of_the_inputs_is_from(checkpoint, task, tmp_path):
    scratch = run(checkpoint, task, "scratch", tmp_path / "a", keep_checkpoint=True)
    assert scratch.extra["input_scaling"] == "checkpoint"
    kept = Checkpoint.load(tmp_path / "a" / "checkpoint").backbone().features
    assert weight_hash(kept) == weight_hash(checkpoint.backbone().features)
    assert "input_scaling" not in run(checkpoint, task, "trees", tmp_path / "b").extra
