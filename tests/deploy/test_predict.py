from __future__ import annotations

import json
import re
import warnings
import weakref
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import uproot

from transferline.cli import run as command
from transferline.data.readers.base import (
    SkippedFileWarning,
    UncertifiedDataWarning,
    UnmatchedSkipWarning,
)
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import Shards, ShardSet
from transferline.data.selections import apply, needed_columns, selection
from transferline.deploy import entries as pieces
from transferline.deploy import predict as module
from transferline.deploy.job import UnusableEventsWarning
from transferline.deploy.model_selection import OtherSelectionWarning
from transferline.deploy.predict import predict
from transferline.deploy.scoring import Predictor, batches
from transferline.errors import ConfigError, DataError
from transferline.learning.independence import INDEPENDENT
from transferline.learning.optim import Optim
from transferline.learning.pretraining import pretrain
from transferline.learning.probe import scorer
from transferline.models.checkpoint import Checkpoint
from transferline.models.heads import Head, class_probability

from ..learning.event_shards import write_nanoaod
from .tiny_runs import SELECTION, identities, pretraining, question, shards_of, tuned


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def files(folder):
    """Two files that no training sees, and three that one does."""
    sizes = {"one": 300, "two": 200, "signal": 300, "background": 300, "free": 150}
    return {
        name: write_nanoaod(folder / f"{name}.root", n, seed=i + 1, hardness=1.0 + (i == 2))
        for i, (name, n) in enumerate(sizes.items())
    }


@pytest.fixture(scope="module")
def run(folder, files):
    """A trained run."""
    signal, background, free = (shards_of(files[n]) for n in ("signal", "background", "free"))
    start = Checkpoint.load(pretrain(pretraining(free), folder / "pre", label=None))
    task = question(signal, background)
    return tuned(start, task, folder / "run", n_train=80)


def scores_of(file: Path) -> dict[str, np.ndarray]:
    """All columns of a file of scores."""
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        return {n: np.array(table.column(n).to_pylist()) for n in table.column_names}
    with uproot.open(file) as content:
        assert content.classnames(cycle=False)["Scores"] == "TTree"  # not an RNTuple
        return content["Scores"].arrays(library="np")


def test_there_is_one_row_per_entry_in_order_and_nan_where_not_selected(run, files, tmp_path):
    done = predict(run, NanoAOD(files=[str(files["one"])]), tmp_path / "s.root")
    found = scores_of(tmp_path / "s.root")
    assert list(found) == ["run", "luminosityBlock", "event", "selected", "score"]
    kinds = ["uint32", "uint32", "uint64", "bool", "float32"]
    assert [values.dtype.name for values in found.values()] == kinds
    expected = identities(files["one"])
    assert np.array_equal(identities(tmp_path / "s.root", "Scores"), expected)
    chosen = selection(SELECTION)
    [chunk] = NanoAOD(files=[str(files["one"])]).chunks(needed_columns(chosen))
    passed = apply(chosen, chunk, is_simulation=True).passed
    assert 0 < passed.sum() < len(passed)
    assert np.array_equal(found["selected"], passed)
    assert np.array_equal(np.isnan(found["score"]), ~passed)
    assert ((found["score"][passed] > 0) & (found["score"][passed] < 1)).all()
    assert (done.card["entries"], done.card["selected"]) == (len(passed), passed.sum())


def test_scores_equal_those_of_the_prepared_shards_bit_for_bit(run, files, tmp_path):
    predict(run, NanoAOD(files=[str(files["one"])]), tmp_path / "s.root")
    found = scores_of(tmp_path / "s.root")
    shards = ShardSet(shards_of(files["one"]))
    model = Checkpoint.load(run / "checkpoint").model()
    score = scorer(model, Optim(steps=1, precision="fp32", device="cpu"))
    logits = score(shards, np.arange(len(shards)))
    expected = class_probability(logits.double())[:, 1].float().numpy()
    assert np.array_equal(found["score"][found["selected"]], expected)


def test_batches_of_a_file_are_those_of_its_shards(files):
    shards = ShardSet(shards_of(files["two"]))
    chosen = selection(SELECTION)
    [chunk] = NanoAOD(files=[str(files["two"])]).chunks(needed_columns(chosen))
    [(_, batch)] = batches(apply(chosen, chunk, is_simulation=True).events)
    expected = shards.gather(np.arange(len(shards)))
    assert torch.equal(batch.p4, expected.p4) and torch.equal(batch.is_real, expected.is_real)
    assert torch.equal(batch.id, expected.id)
    for name, values in expected.columns.items():
        assert torch.equal(batch.columns[name], values), name


@pytest.mark.parametrize("size", [13, 77])
def test_the_result_does_not_depend_on_the_chunks(run, files, tmp_path, size):
    reader = NanoAOD(files=[str(files["two"])])
    predict(run, reader, tmp_path / "whole.root")
    predict(run, reader, tmp_path / "parts.root", chunk_size=size)
    whole, parts = (scores_of(tmp_path / f"{name}.root") for name in ("whole", "parts"))
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, atol=1e-6, err_msg=name)


def test_memory_holds_one_chunk_at_a_time(run, files, tmp_path, monkeypatch):
    sizes, alive, most = [], [], 0
    genuine = Predictor.__call__

    def spy(self, events, **more):
        nonlocal most
        chunk = genuine(self, events, **more)
        sizes.append(len(events))
        alive.append(weakref.ref(chunk.columns["score"]))
        most = max(most, sum(one() is not None for one in alive))
        return chunk

    monkeypatch.setattr(Predictor, "__call__", spy)
    names = [str(files[name]) for name in ("one", "two")]
    for suffix in ("root", "parquet"):
        predict(run, NanoAOD(files=names), tmp_path / f"s.{suffix}", chunk_size=64)
    assert sizes == 2 * [64, 64, 64, 64, 44, 64, 64, 64, 8]
    assert most <= 2  # the one being made, and the one that was just written
    assert module.CHUNK_SIZE <= 50_000


def test_several_inputs_make_one_long_file_or_one_friend_each(run, files, tmp_path):
    names = ["two", "one"]
    reader = NanoAOD(files=[str(files[name]) for name in names])
    predict(run, reader, tmp_path / "all.root")
    predict(run, reader, tmp_path / "all.parquet")
    done = predict(run, reader, tmp_path / "each")
    assert [path.name for path in done.outputs] == ["two.scores.root", "one.scores.root"]
    long, friends = scores_of(tmp_path / "all.root"), [scores_of(path) for path in done.outputs]
    for name, path in zip(names, done.outputs, strict=True):
        assert np.array_equal(identities(path, "Scores"), identities(files[name]))
    for name, values in long.items():
        joined = np.concatenate([friend[name] for friend in friends])
        assert np.array_equal(values, joined, equal_nan=values.dtype.kind == "f")
    table = pq.read_table(tmp_path / "all.parquet")
    kinds = ["uint32", "uint32", "uint64", "bool", "float"]
    assert [str(field.type) for field in table.schema] == kinds
    for name, values in long.items():
        expected = scores_of(tmp_path / "all.parquet")[name].astype(values.dtype)
        assert np.array_equal(values, expected, equal_nan=values.dtype.kind == "f")


def test_friend_and_events_can_be_read_side_by_side(run, files, tmp_path):
    predict(run, NanoAOD(files=[str(files["one"])]), tmp_path / "s.root")
    with uproot.open(files["one"]) as events, uproot.open(tmp_path / "s.root") as scores:
        both = zip(
            events["Events"].iterate(["event", "MET_pt"], step_size=70, library="np"),
            scores["Scores"].iterate(["event", "score"], step_size=70, library="np"),
            strict=True,
        )
        assert all(np.array_equal(a["event"], b["event"]) for a, b in both)


def with_classes(run: Path, n: int, out: Path) -> Path:
    """The run's backbone with a new head of `n` outputs."""
    kept = Checkpoint.load(run / "checkpoint")
    recipe = kept.recipe.model_copy(update={"head": Head(), "n_outputs": n})
    torch.manual_seed(0)
    model = recipe.build()
    model.backbone.load_state_dict(kept.backbone().backbone.state_dict())
    names = {"classes": list("abc")} if n == 3 else {}
    return Checkpoint.of(model, recipe, selection=kept.selection, provenance=names).save(out)


def test_more_classes_get_a_column_each(run, files, tmp_path):
    for n, names in ((3, ["a", "b", "c"]), (4, ["0", "1", "2", "3"])):
        place = with_classes(run, n, tmp_path / f"{n}")
        predict(place, NanoAOD(files=[str(files["two"])]), tmp_path / f"{n}.root")
        found = scores_of(tmp_path / f"{n}.root")
        columns = [f"score_{name}" for name in names]
        assert list(found)[4:] == columns
        total = sum(found[name][found["selected"]] for name in columns)
        np.testing.assert_allclose(total, 1, atol=1e-6)
    with pytest.raises(ConfigError, match="one output"):
        place = with_classes(run, 1, tmp_path / "1")
        predict(place, NanoAOD(files=[str(files["two"])]), tmp_path / "1.root")


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_embeddings_are_those_of_the_backbone(run, files, tmp_path, suffix):
    file = tmp_path / f"s.{suffix}"
    predict(run, NanoAOD(files=[str(files["two"])]), file, embeddings=True)
    found = scores_of(file)
    shards = ShardSet(shards_of(files["two"]))
    model = Checkpoint.load(run / "checkpoint").model().eval()
    with torch.no_grad():
        pooled = model.latent(shards.gather(np.arange(len(shards)))).pooled.numpy()
    assert found["embedding"].shape == (200, 16)
    np.testing.assert_allclose(found["embedding"][found["selected"]], pooled, atol=1e-6)
    assert np.isnan(found["embedding"][~found["selected"]].astype(float)).all()


def test_where_the_scores_come_from_stands_in_the_file_and_beside_it(run, files, tmp_path):
    reader = NanoAOD(files=[str(files["one"]), str(files["signal"])])
    for name in ("s.root", "s.parquet"):
        predict(run, reader, tmp_path / name)
    with uproot.open(tmp_path / "s.root") as content:
        inside = json.loads(content["transferline"])
    metadata = pq.read_metadata(tmp_path / "s.parquet").metadata
    assert json.loads(metadata[b"transferline"])["inputs"] == inside["inputs"]
    card = json.loads((tmp_path / "s.root.card.json").read_text())
    assert card["kind"] == "transferline predict" and set(card) == set(inside)
    assert card["model"]["sha256"] == [Checkpoint.load(run / "checkpoint").sha256]
    assert card["selection"]["name"] == SELECTION
    assert [row["entries"] for row in card["inputs"]] == [300, 300]
    assert card["independence"] == inside["independence"]
    text = (tmp_path / "s.root.card.md").read_text()
    assert card["independence"]["verdict"] in text and "signal.root" in text


def test_shards_are_scored_without_selecting_again(run, files, tmp_path):
    place = shards_of(files["two"])
    predict(run, Shards(files=[str(place)]), tmp_path / "shards.root")
    predict(run, NanoAOD(files=[str(files["two"])]), tmp_path / "file.root")
    of_file, of_shards = (scores_of(tmp_path / f"{name}.root") for name in ("file", "shards"))
    assert of_shards["selected"].all()
    assert np.array_equal(of_shards["score"], of_file["score"][of_file["selected"]])
    other = selection("pretraining")
    with (
        pytest.raises(ConfigError, match="holds events of the selection"),
        pytest.warns(OtherSelectionWarning),
    ):
        predict(run, Shards(files=[str(place)]), tmp_path / "x.root", selection=other)


def test_what_is_interrupted_leaves_nothing_and_old_scores_stay(run, files, tmp_path, monkeypatch):
    reader = NanoAOD(files=[str(files["one"])])
    predict(run, reader, tmp_path / "old.root")
    before = (tmp_path / "old.root").read_bytes()
    left = sorted(tmp_path.iterdir())
    genuine = Predictor.__call__

    def stopped(self, events, **more):
        if int(events.id["event"][0]) >= 200:
            raise KeyboardInterrupt
        return genuine(self, events, **more)

    monkeypatch.setattr(Predictor, "__call__", stopped)
    for name in ("old.root", "new.root", "new.parquet", "each"):
        with pytest.raises(KeyboardInterrupt):
            predict(run, reader, tmp_path / name, overwrite=True, chunk_size=100)
        assert not any((tmp_path / "each").glob("*"))
    assert (tmp_path / "old.root").read_bytes() == before
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "each"] == left


def broken(file: Path, out: Path) -> Path:
    """A copy whose header and lists are whole, but whose data are not."""
    data = bytearray(file.read_bytes())
    with uproot.open(file) as content:
        branch = content["Events/Jet_pt"]
        place = int(branch.member("fBasketSeek")[0]) + int(branch.basket_key(0).fKeylen)
    data[place : place + 400] = bytes(400)
    out.write_bytes(data)
    return out


def test_a_damaged_file_stops_everything_or_is_left_out_as_a_whole(run, files, tmp_path):
    cut = tmp_path / "cut.root"
    cut.write_bytes(files["two"].read_bytes()[:9000])
    inner = broken(files["two"], tmp_path / "inner.root")
    for bad in (cut, inner):
        names = [str(files["one"]), str(bad), str(files["two"])]
        out = tmp_path / f"{bad.stem}-scores.root"
        with pytest.raises(DataError, match=bad.name):
            predict(run, NanoAOD(files=names), out)
        assert not out.exists() and not list(tmp_path.glob(".*"))
        with pytest.warns(SkippedFileWarning, match=bad.name):
            done = predict(run, NanoAOD(files=names, skip_bad=True), out)
        rows = np.concatenate([identities(files["one"]), identities(files["two"])])
        assert np.array_equal(identities(out, "Scores"), rows)
        assert list(done.card["skipped"]) == [str(bad)]
        assert bad.name in done.cards[0].read_text()
    with pytest.raises(DataError, match="no usable file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", SkippedFileWarning)
        only_bad = NanoAOD(files=[str(inner)], skip_bad=True)
        predict(run, only_bad, tmp_path / "none.root")


def edited(file: Path, out: Path, change) -> Path:
    """A copy of the events of a file, with branches that `change` replaces."""
    with uproot.open(file) as content:
        events = content["Events"].arrays()
        runs = content["Runs"].arrays(library="np")
    change(events)
    names = [n for n in events.fields if not n.startswith("n")]
    with uproot.recreate(out) as target:
        kinds = {n: events[n].type.content for n in names}
        target.mktree("Events", kinds).extend({n: events[n] for n in names})
        target.mktree("Runs", {n: v.dtype for n, v in runs.items()}).extend(runs)
    return out


def with_nan(events, branch: str, entries) -> None:
    """Put NaN into all values that a branch has for some entries."""
    bad = np.isin(np.arange(len(events)), entries)
    events[branch] = ak.values_astype(ak.where(bad, np.nan, 1) * events[branch], np.float32)


def test_what_is_not_finite_is_named(run, tmp_path, files, monkeypatch):
    monkeypatch.setattr(pieces, "MOST_UNUSABLE", 5)  # each costs several readings
    everywhere = np.arange(200)
    file = edited(
        files["two"], tmp_path / "nan.root", lambda e: with_nan(e, "Jet_mass", everywhere)
    )
    with pytest.raises(DataError, match=r"(?s)nan\.root: branch Jet_mass holds nan.*--skip-bad"):
        predict(run, NanoAOD(files=[str(file)]), tmp_path / "s.root")
    # A file of nothing else is damaged, not a file with a few bad events.
    with (
        pytest.raises(DataError, match="no usable file"),
        pytest.warns(SkippedFileWarning, match="Jet_mass holds nan"),
    ):
        predict(run, NanoAOD(files=[str(file)], skip_bad=True), tmp_path / "s.root")


@pytest.mark.parametrize("branch", ["Jet_btagDeepFlavB", "MET_pt"])
def test_an_event_that_is_not_finite_has_no_score_and_spoils_nothing(run, files, tmp_path, branch):
    predict(run, NanoAOD(files=[str(files["two"])]), tmp_path / "whole.root")
    whole = scores_of(tmp_path / "whole.root")
    bad = np.flatnonzero(whole["selected"])[[3, 4, 20]]

    def change(events):
        if branch == "MET_pt":
            with_nan(events, branch, bad)
        else:  # the last jet alone: the others still pass the selection
            last = ak.local_index(events[branch]) == ak.num(events[branch]) - 1
            mine = np.isin(np.arange(len(events)), bad)
            broken = ak.where(last & mine, np.nan, events[branch])
            events[branch] = ak.values_astype(broken, np.float32)

    file = edited(files["two"], tmp_path / "nan.root", change)
    named = rf"nan\.root: .*(entry {bad[0]} \(run 1, |run 1, luminosityBlock 2, event {bad[0]})"
    with pytest.raises(DataError, match=named):
        predict(run, NanoAOD(files=[str(file)]), tmp_path / "s.root")
    reader = NanoAOD(files=[str(file)], skip_bad=True)
    with pytest.warns(UnusableEventsWarning, match=rf"NaN: 3 of {re.escape(str(file))}"):
        done = predict(run, reader, tmp_path / "s.root", chunk_size=70)
    found = scores_of(tmp_path / "s.root")
    assert np.array_equal(identities(tmp_path / "s.root", "Scores"), identities(files["two"]))
    assert np.isnan(found["score"][bad]).all()
    rest = np.setdiff1d(np.arange(200), bad)
    np.testing.assert_allclose(found["score"][rest], whole["score"][rest], atol=1e-6)
    # What the selection says of it, where the reader gives more than its identity.
    assert found["selected"][bad].all() == (branch != "MET_pt")
    n = int(whole["selected"].sum()) - 3
    [row] = done.card["inputs"]
    assert (row["scored"], row["unusable"], row["independence"]["events"]) == (n, 3, n)
    assert (done.card["scored"], done.card["unusable"]) == (n, 3)
    assert "3 of nan.root" in done.cards[0].read_text()


def test_a_prediction_into_a_directory_goes_on(run, files, tmp_path, monkeypatch):
    copies = {name: tmp_path / f"{name}.root" for name in ("one", "two", "free")}
    for name, copy in copies.items():
        copy.write_bytes(files[name].read_bytes())
    reader, out = NanoAOD(files=[str(copy) for copy in copies.values()]), tmp_path / "out"
    whole = predict(run, reader, tmp_path / "whole")
    assert not whole.kept
    scored, genuine = [], Predictor.__call__

    def stopped(self, events, **more):
        if int(events.id["lumi"][0]) == 5 and len(scored) < 3:
            raise KeyboardInterrupt
        return genuine(self, events, **more)

    monkeypatch.setattr(Predictor, "__call__", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict(run, reader, out)
    assert len(list(out.glob("*.root"))) == 2
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}

    def counted(self, events, **more):
        scored.append(int(events.id["lumi"][0]))
        return genuine(self, events, **more)

    monkeypatch.setattr(Predictor, "__call__", counted)
    done = predict(run, reader, out)
    assert scored == [5] and done.kept == done.outputs[:2]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    same = ("inputs", "independence", "cutflow", "entries", "selected", "scored", "outputs")
    assert all(done.card[name] == whole.card[name] for name in same)
    # A call that ended between the scores and their card left that of older scores.
    card, right = done.cards[0], done.cards[0].read_text()
    card.write_text(right.replace("scored", "scored long ago"))
    assert predict(run, reader, out).kept == done.outputs and card.read_text() == right
    # Nothing is left to do.
    assert predict(run, reader, out, device="cpu").kept == done.outputs and scored == [5]
    assert not predict(run, reader, out, overwrite=True).kept


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_scores_of_another_making_are_not_kept(run, files, tmp_path, suffix):
    file = tmp_path / "two.root"
    file.write_bytes(files["two"].read_bytes())
    reader, out = NanoAOD(files=[str(file)]), tmp_path / "out"
    predict(run, reader, out, file_format=suffix)
    again = {"out": out, "file_format": suffix}
    assert predict(run, reader, **again).kept
    refusal = "exists, and was made with another model, input or option"
    with pytest.raises(ConfigError, match=refusal):
        predict(run, reader, embeddings=True, **again)
    with pytest.raises(ConfigError, match=refusal), pytest.warns(OtherSelectionWarning):
        predict(run, reader, selection=selection("pretraining"), **again)
    tolerant = NanoAOD(files=[str(file)], skip_bad=True)
    with pytest.raises(ConfigError, match=refusal):
        predict(run, tolerant, **again)
    kept = Checkpoint.load(run / "checkpoint")
    tensors = {n: v + 1 if n.startswith("head") else v for n, v in kept.tensors.items()}
    other = replace(kept, tensors=tensors).save(tmp_path / "other")
    with pytest.raises(ConfigError, match=refusal):
        predict(other, reader, **again)
    file.write_bytes(files["one"].read_bytes())
    with pytest.raises(ConfigError, match=refusal):
        predict(run, reader, **again)
    [scores] = out.glob(f"*.{suffix}")
    scores.write_bytes(b"mine")
    with pytest.raises(ConfigError, match=refusal):
        predict(run, reader, **again)
    assert scores.read_bytes() == b"mine"
    assert not predict(run, reader, overwrite=True, **again).kept


def test_no_call_takes_the_place_of_a_card_of_another_one(run, files, tmp_path):
    """Into one directory, or beside one another."""
    one, two = (NanoAOD(files=[str(files[name])]) for name in ("one", "two"))
    first = predict(run, one, tmp_path / "out").cards[0]
    card = first.read_text()
    assert predict(run, two, tmp_path / "out").cards[0].parent == first.parent
    assert first.read_text() == card and "one.root" in card
    assert len(list((tmp_path / "out").glob("*.card.md"))) == 2
    predict(run, one, tmp_path / "s.root")
    predict(run, two, tmp_path / "s.parquet")
    assert "one.root" in (tmp_path / "s.root.card.md").read_text()
    assert "two.root" in (tmp_path / "s.parquet.card.md").read_text()


def test_a_card_that_an_interruption_left_out_is_written_later(run, files, tmp_path):
    reader = NanoAOD(files=[str(files["one"])])
    [card] = predict(run, reader, tmp_path / "out").cards
    before = card.read_text()
    card.unlink()
    assert predict(run, reader, tmp_path / "out").kept
    assert card.read_text() == before


def test_each_file_has_a_verdict_of_its_own(run, files, tmp_path):
    names = ["one", "signal"]
    reader = NanoAOD(files=[str(files[name]) for name in names])
    for out in ("s.root", "each"):
        done = predict(run, reader, tmp_path / out)
        fresh, seen = (row["independence"]["verdict"] for row in done.card["inputs"])
        assert fresh == INDEPENDENT
        assert re.fullmatch(r"40 of \d+ events were in the training of the model .*", seen)
        text = "".join(card.read_text() for card in done.cards)
        assert f"| {fresh} |" in text and f"| {seen} |" in text


def test_wrong_arguments_are_explained(run, folder, files, tmp_path, monkeypatch):
    reader = NanoAOD(files=[str(files["two"])])
    with pytest.raises(ConfigError, match="without a head"):
        predict(folder / "pre", reader, tmp_path / "s.root")
    with pytest.raises(ConfigError, match="has no folds"):
        predict(run, reader, tmp_path / "s.root", need_folds=True)
    with pytest.raises(DataError, match="not a checkpoint"):
        predict(tmp_path, reader, tmp_path / "s.root")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU here"):
        predict(run, reader, tmp_path / "s.root", device="cuda")
    with pytest.raises(ConfigError, match="neither root nor parquet"):
        predict(run, reader, tmp_path / "each", file_format="csv")
    with pytest.raises(ConfigError, match=r"ends in \.parquet, which --format root contradicts"):
        predict(run, reader, tmp_path / "s.parquet", file_format="root")
    (tmp_path / "s.root").write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        predict(run, reader, tmp_path / "s.root")
    with pytest.raises(ConfigError, match=r"ends in \.root or \.parquet"):
        predict(run, reader, tmp_path / "s.csv")
    with pytest.raises(ConfigError, match="is an input file"):
        predict(run, reader, files["two"], overwrite=True)
    twin = tmp_path / "other" / "two.root"
    twin.parent.mkdir()
    twin.write_bytes(files["two"].read_bytes())
    with pytest.raises(ConfigError, match="would share"):
        predict(run, NanoAOD(files=[str(files["two"]), str(twin)]), tmp_path / "each")
    with pytest.raises(DataError, match="no branch Jet_puId"):
        narrow = tmp_path / "narrow.root"
        with uproot.recreate(narrow) as file:
            kinds = dict.fromkeys(("run", "luminosityBlock"), np.uint32) | {"event": np.uint64}
            file.mktree("Events", kinds)
        predict(run, NanoAOD(files=[str(narrow)]), tmp_path / "x.root")


def test_a_model_without_a_selection_needs_one(run, files, tmp_path):
    kept = Checkpoint.load(run / "checkpoint")
    for stored in (None, {"name": "toy"}):
        bare = Checkpoint(kept.recipe, kept.tensors, selection=stored, seen=kept.seen)
        place = bare.save(tmp_path / str(stored is None))
        reader = NanoAOD(files=[str(files["two"])])
        out = tmp_path / f"{place.name}.root"
        with pytest.raises(ConfigError, match="--selection NAME"):
            predict(place, reader, out)
        predict(place, reader, out, selection=selection(SELECTION))
    with pytest.warns(OtherSelectionWarning, match="'pretraining' is not 'l1_j4_b1'"):
        predict(run, reader, tmp_path / "o.root", selection=selection("pretraining"))


def test_collision_data_are_certified_or_warned_about(run, tmp_path):
    file = write_nanoaod(tmp_path / "data.root", 60, seed=9, collisions=True)
    reader = NanoAOD(files=[str(file)])
    with pytest.warns(UncertifiedDataWarning, match="--golden-json"):
        predict(run, reader, tmp_path / "free.root")
    golden = tmp_path / "golden.json"
    golden.write_text('{"1": [[1, 8]]}')
    done = predict(run, reader, tmp_path / "none.root", golden_json=golden)
    assert scores_of(tmp_path / "free.root")["selected"].any()
    assert not scores_of(tmp_path / "none.root")["selected"].any()
    assert done.card["independence"]["verdict"] == "no event was scored"
    assert done.card["golden_json_sha256"]
    assert f"certified blocks: {golden}\n" in done.cards[0].read_text()
    golden = tmp_path / "wider.json"
    golden.write_text('{"1": [[9, 9]]}')
    predict(run, reader, tmp_path / "all.root", golden_json=golden)
    free, certified = (scores_of(tmp_path / f"{name}.root") for name in ("free", "all"))
    assert np.array_equal(free["score"], certified["score"], equal_nan=True)
    own = selection(SELECTION).model_copy(update={"golden_json": str(tmp_path / "no.json")})
    with pytest.raises(ConfigError, match="golden JSON of the model's selection is not here"):
        predict(run, reader, tmp_path / "x.root", selection=own)


def test_a_golden_json_must_be_there_and_is_not_said_to_apply_to_simulation(run, files, tmp_path):
    golden = tmp_path / "golden.json"
    reader = NanoAOD(files=[str(files["two"])])
    with pytest.raises(ConfigError, match=r"--golden-json .*golden\.json: there is no such file"):
        predict(run, reader, tmp_path / "s.root", golden_json=golden)
    golden.write_text('{"1": [[1, 8]]}')
    [card] = predict(run, reader, tmp_path / "s.root", golden_json=golden).cards
    assert f"certified blocks: {golden}, not applied: the files are simulation" in card.read_text()


def test_a_file_without_entries_gives_a_tree_without_entries(run, tmp_path, files):
    with uproot.open(files["two"]) as content, uproot.recreate(tmp_path / "empty.root") as file:
        events = content["Events"].arrays()
        names = [n for n in events.fields if not n.startswith("n")]
        file.mktree("Events", {n: events[n].type.content for n in names})
    predict(run, NanoAOD(files=[str(tmp_path / "empty.root")]), tmp_path / "s.root")
    assert len(scores_of(tmp_path / "s.root")["score"]) == 0


def test_the_command_says_what_it_wrote_and_how_independent_it_is(run, files, tmp_path, capsys):
    words = ["predict", str(run), str(files["one"]), "-o", f"{tmp_path}/s.root"]
    assert command(words) == 0
    text = capsys.readouterr().out
    assert f"wrote 300 rows, {scores_of(tmp_path / 's.root')['selected'].sum()} scored" in text
    assert "independence  every event was scored by a model that did not train on it" in text
    assert 'Events->AddFriend("Scores"' in text
    assert command(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert command([*words, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 300
    assert command(["predict", str(run), f"{tmp_path}/no.root", "-o", f"{tmp_path}/t.root"]) == 3


def test_the_command_leaves_out_and_waits_as_it_is_told(run, files, tmp_path, capsys):
    bad = tmp_path / "bad.root"
    bad.write_bytes(files["two"].read_bytes()[:5000])
    known = tmp_path / "bad.txt"
    known.write_text("bad.root  # cut off\n")
    words = ["predict", str(run), str(files["one"]), str(bad), "-o", f"{tmp_path}/s.root"]
    assert command(words) == 3
    assert "--skip-bad" in capsys.readouterr().err
    options = ["--skip", str(known), "--retries", "0", "--timeout", "5"]
    assert command([*words, *options, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["skipped"] == {str(bad): f"{bad}: named by the skip list: cut off"}
    assert card["entries"] == 300 and "cut off" in (tmp_path / "s.root.card.md").read_text()
    only = ["predict", str(run), str(bad), "-o", f"{tmp_path}/t.root", "--skip", str(known)]
    assert command(only) == 3
    assert "no usable file is left" in capsys.readouterr().err
    with pytest.warns(UnmatchedSkipWarning):
        predict(run, NanoAOD(files=[str(files["two"])], skip=["no.root"]), tmp_path / "u.root")
    place = str(shards_of(files["two"]))
    shards = ["predict", str(run), place, "--reader", "shards", "-o", f"{tmp_path}/v.root"]
    assert command([*shards, "--retries", "1"]) == 2
    assert "has no `retries`" in capsys.readouterr().err


def test_retries_and_patience_reach_the_reader(run, files, tmp_path, monkeypatch):
    given = []

    def spy(place, reader, out, **more):
        given.append(reader)
        raise ConfigError("enough")

    monkeypatch.setattr(module, "predict", spy)
    words = ["predict", str(run), str(files["one"]), "-o", f"{tmp_path}/s.root"]
    assert command([*words, "--retries", "7", "--timeout", "2.5"]) == 2
    assert (given[0].retries, given[0].timeout_s) == (7, 2.5)
    assert command(words) == 2
    assert (given[1].retries, given[1].timeout_s) == (4, 30.0)


def test_the_command_says_what_an_earlier_call_had_done(run, files, tmp_path, capsys):
    words = ["predict", str(run), str(files["one"]), str(files["two"]), "-o", f"{tmp_path}/out"]
    assert command(words) == 0
    assert "earlier" not in capsys.readouterr().out
    assert command(words) == 0
    assert capsys.readouterr().out.count(" scored, by an earlier call: ") == 2
