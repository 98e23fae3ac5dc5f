"""Scores of jets: one row per jet, from files of jets and of events, and from shards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import uproot

from transferline.cli import run as command
from transferline.cli.training import _next_scores
from transferline.data.readers.hbb import Hbb
from transferline.data.readers.jetclass import JetClass
from transferline.data.readers.pfnano import PFNano
from transferline.data.readers.shards import Shards, ShardSet
from transferline.data.selections import JetSelection, load_selection
from transferline.deploy import batch_sizes
from transferline.deploy.batch_sizes import MOST_PAIRS, MOST_SETS, cuts
from transferline.deploy.model_selection import OtherSelectionWarning
from transferline.deploy.predict import predict
from transferline.deploy.scoring import Predictor
from transferline.errors import ConfigError, DataError
from transferline.learning.independence import INDEPENDENT
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.tasks.jet_tagging import JetTagging
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHead
from transferline.models.heads import class_probability
from transferline.models.model import ModelRecipe

from ..data import jet_files
from ..learning.jet_shards import write_class_file, write_jet_shards
from .tiny_runs import BACKBONE, tuned

CLASSES = ("QCD", "Hbb", "Tbl")
COLUMNS = ["score_QCD", "score_Hbb", "score_Tbl"]
INPUTS = {
    "particles": ["log_pt", "delta_eta", "charge", "is_muon", "tanh_d0"],
    "species": "hidden",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("jets")


@pytest.fixture(scope="module")
def run(folder):
    """A run that tells three classes of jets apart, and a backbone that saw others."""
    free = str(write_jet_shards(folder, "QCD", 80, seed=30))
    config = PretrainConfig.model_validate(
        {
            "data": {"kind": "shards", "files": [free]},
            "features": INPUTS,
            "backbone": BACKBONE,
            "objective": {"kind": "masked_particles"},
            "optim": {"steps": 3, "batch_size": 32},
        }
    )
    start = Checkpoint.load(pretrain(config, folder / "pre", label=None))
    samples = {
        name: [str(write_jet_shards(folder, name, 120, seed=i))] for i, name in enumerate(CLASSES)
    }
    task = JetTagging.model_validate({"name": "t", "class_samples": samples})
    return tuned(start, task, folder / "run", n_train=90)


@pytest.fixture(scope="module")
def file(folder):
    """Jets of up to 60 particles that no training sees."""
    return write_class_file(folder / "new.root", "Hbb", 150, seed=9, largest=60)


@pytest.fixture(scope="module")
def shards(folder):
    return write_jet_shards(folder, "Hbb", 90, seed=8)


def scores_of(file):
    with uproot.open(file) as content:
        return content["Scores"].arrays(library="np")


def test_every_jet_has_a_row_with_the_scores_of_the_model(run, file, tmp_path):
    done = predict(run, JetClass(files=[str(file)]), tmp_path / "s.root", embeddings=True)
    found = scores_of(tmp_path / "s.root")
    identity = ["run", "luminosityBlock", "event", "selected"]
    assert list(found) == [*identity, *COLUMNS, "embedding"]
    [chunk] = JetClass(files=[str(file)]).chunks()
    assert np.array_equal(found["event"], chunk.id["event"]) and len(found["event"]) == 150
    assert found["selected"].all()
    np.testing.assert_allclose(sum(found[name] for name in COLUMNS), 1, atol=1e-6)
    # Batches of similar length do not mix the jets up.
    model = Checkpoint.load(run / "checkpoint").model().eval()
    from_shards = ShardSet(prepared(file, tmp_path / "shards"))
    with torch.no_grad():
        batch = from_shards.gather(np.arange(150))
        expected = class_probability(model(batch).double()).numpy()
    np.testing.assert_allclose(np.stack([found[n] for n in COLUMNS], 1), expected, atol=1e-5)
    assert done.card["independence"]["verdict"] == INDEPENDENT
    assert (done.card["sets"], done.card["rows"], done.card["entries"]) == ("jets", 150, 150)
    assert done.friend_of == "tree"
    assert "150 jets, 150 of them selected" in done.cards[0].read_text()


def test_of_two_classes_the_score_is_that_of_the_one_that_is_no_background(folder, file, run):
    """Whichever of them a task names first."""
    more = folder / "more"
    more.mkdir()
    samples = {name: [str(write_jet_shards(more, name, 60, seed=40))] for name in ("Hbb", "QCD")}
    task = JetTagging.model_validate({"name": "t", "class_samples": samples, "background": "QCD"})
    assert task.classes() == ["Hbb", "QCD"]
    two = tuned(Checkpoint.load(folder / "pre"), task, folder / "two", n_train=40)
    done = predict(two, JetClass(files=[str(file)]), folder / "two.root")
    batch = ShardSet(prepared(file, folder / "two-shards")).gather(np.arange(150))
    with torch.no_grad():
        wanted = class_probability(
            Checkpoint.load(two / "checkpoint").model().eval()(batch).double()
        )
    np.testing.assert_allclose(scores_of(folder / "two.root")["score"], wanted[:, 0], atol=1e-5)
    assert "class 'Hbb'" in done.card["columns"]["score"]


def prepared(file, out):
    words = ["prepare", file, "--reader", "jetclass", "--selection", "jets", "--out", out]
    assert command([str(word) for word in words]) == 0
    return out


def test_the_jets_of_the_training_are_noticed(run, folder, tmp_path):
    done = predict(run, JetClass(files=[str(folder / "Hbb_1.root")]), tmp_path / "s.root")
    assert "were in the training of the model" in done.card["independence"]["verdict"]
    pre = predict(run, JetClass(files=[str(folder / "QCD_30.root")]), tmp_path / "t.root")
    assert "in the pre-training of the backbone" in pre.card["independence"]["verdict"]


def test_shards_of_jets_are_scored(run, folder, shards, tmp_path):
    predict(run, Shards(files=[str(shards)]), tmp_path / "shards.root")
    predict(run, JetClass(files=[str(folder / "Hbb_8.root")]), tmp_path / "file.root")
    of_shards, of_file = (scores_of(tmp_path / f"{name}.root") for name in ("shards", "file"))
    for name in COLUMNS:
        assert np.array_equal(of_shards[name], of_file[name])
    # The selection by its name leaves columns open: those of the model are taken.
    given = load_selection("jets")
    predict(run, Shards(files=[str(shards)]), tmp_path / "given.root", selection=given)
    predict(run, JetClass(files=[str(folder / "Hbb_8.root")]), tmp_path / "g.root", selection=given)
    tight = JetSelection(kind="jets", name="tight", pt_min=200)
    with (
        pytest.raises(ConfigError, match="'jets', the model scores those of 'tight'"),
        pytest.warns(OtherSelectionWarning),
    ):
        predict(run, Shards(files=[str(shards)]), tmp_path / "x.root", selection=tight)


def test_shards_that_lack_columns_are_named(run, file, tmp_path):
    narrow = tmp_path / "narrow.yaml"
    text = load_selection("jets").to_dict() | {"particles": ["charge", "species"]}
    narrow.write_text("\n".join(f"{k}: {'null' if v is None else v}" for k, v in text.items()))
    words = ["prepare", file, "--reader", "jetclass", "--selection", narrow]
    assert command([str(word) for word in [*words, "--out", tmp_path / "narrow"]]) == 0
    with pytest.raises(ConfigError, match=r"narrow: lacks the columns .*d0"):
        predict(run, Shards(files=[str(tmp_path / "narrow")]), tmp_path / "s.root")


@pytest.fixture(scope="module")
def events_of_jets(folder):
    """A file of events with 0 to 3 jets each, and the number of them; as many jets as events."""
    counts = np.repeat([0, 1, 2, 3], [15, 14, 7, 4])
    counts = np.random.default_rng(3).permutation(counts)
    assert counts.sum() == len(counts) == 40
    jets = jet_files.random_jets(int(counts.sum()), seed=4, largest=20)
    place = jet_files.write_pfnano(folder / "events.root", jets, counts)
    return place, counts


def loose(run):
    """The model's own selection without the columns that CMS files lack."""
    own = Checkpoint.load(run / "checkpoint").selection
    kept = ("charge", "species", "d0")
    return JetSelection.model_validate({**own, "name": "loose", "particles": kept, "context": []})


@pytest.mark.filterwarnings("ignore::transferline.deploy.model_selection.OtherSelectionWarning")
@pytest.mark.parametrize("skip_bad", [False, True])
def test_events_of_several_jets_have_a_row_for_each_jet(run, events_of_jets, tmp_path, skip_bad):
    place, counts = events_of_jets
    reader = PFNano(files=[str(place)], skip_bad=skip_bad)
    done = predict(run, reader, tmp_path / "s.root", selection=loose(run), chunk_size=7)
    found = scores_of(tmp_path / "s.root")
    assert found["event"].tolist() == np.repeat(np.arange(100, 140), counts).tolist()
    assert (done.card["entries"], done.card["rows"]) == (40, counts.sum())
    assert done.friend_of is None
    whole = predict(run, reader, tmp_path / "whole.root", selection=loose(run))
    assert whole.card["independence"] == done.card["independence"]
    for name in COLUMNS:
        np.testing.assert_allclose(found[name], scores_of(tmp_path / "whole.root")[name], atol=1e-6)


@pytest.mark.filterwarnings("ignore::transferline.deploy.model_selection.OtherSelectionWarning")
def test_an_event_of_jets_that_cannot_be_read_has_no_scores(run, tmp_path):
    counts = np.array([2, 1, 3, 0, 2, 1])
    jets = jet_files.random_jets(9, seed=5, largest=20)
    bad = int(jets.counts[:3].sum())  # a particle of the third event
    jets.pt[bad] = np.nan
    place = jet_files.write_pfnano(tmp_path / "bad.root", jets, counts)
    reader = PFNano(files=[str(place)])
    with pytest.raises(DataError, match="--skip-bad"):
        predict(run, reader, tmp_path / "s.root", selection=loose(run))
    with pytest.warns(UserWarning, match="score NaN"):
        done = predict(
            run,
            PFNano(files=[str(place)], skip_bad=True),
            tmp_path / "s.root",
            selection=loose(run),
            chunk_size=2,
        )
    found = scores_of(tmp_path / "s.root")
    assert found["event"].tolist() == np.repeat(np.arange(100, 106), counts).tolist()
    assert np.isnan(found["score_QCD"]).tolist() == (found["event"] == 102).tolist()
    assert (done.card["rows"], done.card["scored"]) == (9, 6)


def test_readers_that_give_no_single_jets_are_refused(run, file, folder, tmp_path, capsys):
    with pytest.raises(DataError, match=r"is one of jets, the reader gives .*--reader"):
        counts = np.array([1, 2])
        jets = jet_files.random_jets(3, seed=6, counts=[4, 5, 6])
        place = jet_files.write_hbb_jagged(tmp_path / "e.root", jets, counts)
        predict(run, Hbb(files=[str(place)], sets="events"), tmp_path / "s.root")
    with pytest.raises(ConfigError, match="one of events of jets"):
        nested = load_selection("jet_events")
        predict(run, JetClass(files=[str(file)]), tmp_path / "s.root", selection=nested)
    words = ["predict", str(run), str(file), "--reader", "jetclass", "-o", f"{tmp_path}/c.root"]
    assert command(words) == 0
    text = capsys.readouterr().out
    assert "wrote 150 rows, 150 scored" in text and 'tree->AddFriend("Scores"' in text
    assert command([*words, "--overwrite", "--sets", "jets"]) == 0
    assert command([*words, "--overwrite", "--jets", "FatJet"]) == 2
    assert "has no `jets`" in capsys.readouterr().err
    assert command([*words, "--overwrite", "--selection", "jets"]) == 0
    assert command(["predict", str(run), str(file), "-o", f"{tmp_path}/d.root"]) == 2
    assert "scores jets, which NanoAOD does not hold" in capsys.readouterr().err


def test_a_head_on_events_of_jets_is_refused(run, file, tmp_path):
    kept = Checkpoint.load(run / "checkpoint")
    recipe = ModelRecipe(
        features=kept.recipe.features,
        backbone=kept.recipe.backbone,
        head=EventHead(kind="deepsets", phi=(8,), hidden=(8,)),
        n_outputs=2,
    )
    place = Checkpoint.of(recipe.build(), recipe, selection=kept.selection).save(tmp_path / "joint")
    with pytest.raises(ConfigError, match=r"head takes events of jets.*--embedding"):
        predict(place, JetClass(files=[str(file)]), tmp_path / "s.root")


def test_pairs_of_particles_bound_a_batch():
    sizes = np.random.default_rng(0).integers(0, 129, 3000)
    for given in (sizes, np.sort(sizes), np.full(2500, 12), np.array([5000, 1, 1])):
        found = list(cuts(given))
        assert np.array_equal(np.concatenate(found), np.arange(len(given)))
        for rows in found:
            pairs = len(rows) * int(given[rows].max()) ** 2
            assert len(rows) <= MOST_SETS and (pairs <= MOST_PAIRS or len(rows) == 1)
    assert [len(rows) for rows in cuts(np.full(2500, 12))] == [1024, 1024, 452]
    assert not list(cuts(np.array([], int)))


def test_no_batch_of_a_prediction_has_more_pairs(run, file, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_sizes, "MOST_PAIRS", 5000)
    seen, chunks = [], []
    model = Predictor.__post_init__

    def spy(self):
        model(self)
        for scorer in self.scorers:
            scorer.model.features.register_forward_pre_hook(
                lambda _, given: seen.append(given[0].is_real.shape)
            )

    genuine = Predictor.__call__

    def counted(self, events, **more):
        chunks.append(len(events))
        return genuine(self, events, **more)

    monkeypatch.setattr(Predictor, "__post_init__", spy)
    monkeypatch.setattr(Predictor, "__call__", counted)
    predict(run, JetClass(files=[str(file)]), tmp_path / "s.root", chunk_size=100)
    assert max(n * p**2 for n, p in seen) <= 5000 and sum(n for n, _ in seen) == 150
    assert chunks == [100, 50]


def test_after_a_transfer_the_next_command_reads_jets(run, capsys):
    _next_scores(run, run)
    assert f"predict {run} FILES --reader jetclass -o scores.root" in capsys.readouterr().out
