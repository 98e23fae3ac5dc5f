"""Events of jets of constituents: selection, shards, `Nested` batches and their loader."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import awkward as ak
import numpy as np
import pytest
import torch

from transferline.cli import run
from transferline.data.card import load_card
from transferline.data.loader import Loader
from transferline.data.prepare import prepare
from transferline.data.readers.hbb import Hbb
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import (
    JetEventSelection,
    apply,
    load_selection,
    needed_columns,
)
from transferline.errors import DataError

from . import jet_files as files

CUTS = {"pt_min": 0, "abs_eta_max": 2.0, "min_jets": 0, "max_jets": 3, "max_constituents": 20}


def changed(**keys):
    return JetEventSelection(**{**load_selection("jet_events").model_dump(), **CUTS, **keys})


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 6, 60)
    counts[[0, 7]] = 0
    jets = files.random_jets(counts.sum(), 3)
    path = files.write_hbb_jagged(tmp_path_factory.mktemp("hbb") / "a.root", jets, counts)
    return Hbb(files=[str(path)], sets="events")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reader):
    out = tmp_path_factory.mktemp("shards") / "a"
    prepare(reader, changed(), out, sample="toy", unit_size=25)
    return out


@pytest.fixture(scope="module")
def everything(reader):
    """The same selection in the words of awkward, `(jets, constituents)`."""
    chosen = changed().resolved(reader.columns())
    (events,) = reader.chunks(needed_columns(chosen))
    jets, parts = events.particles["jet"], events.particles["constituent"]
    good = (jets.pt > 0) & (abs(jets.eta) < 2.0) & (ak.num(parts, axis=2) >= 1)
    jets, parts = jets[good], parts[good]
    order = ak.argsort(jets.pt, ascending=False, stable=True)[:, :3]
    jets, parts = jets[order], parts[order]
    inner = ak.argsort(parts.pt, axis=2, ascending=False, stable=True)[:, :, :20]
    return jets, parts[inner]


def test_jets_that_count_are_kept_by_falling_pt(reader, everything):
    chosen = changed().resolved(reader.columns())
    (events,) = reader.chunks(needed_columns(chosen))
    done = apply(chosen, events, is_simulation=True)
    jets, parts = everything
    assert np.all(done.passed)
    for name in ("pt", "sdmass", "label_H_bb"):
        assert ak.to_list(done.events.particles["object"][name]) == ak.to_list(jets[name])
    for name in ("pt", "phi", "d0", "species"):
        assert ak.to_list(done.events.particles["constituent"][name]) == ak.to_list(
            ak.values_astype(parts[name], np.float32)
        )
    few = apply(changed(min_jets=2).resolved(reader.columns()), events, is_simulation=True)
    assert few.passed.tolist() == ak.to_list(ak.num(jets.pt) >= 2)
    assert [s.name for s in few.cutflow.steps][1:] == ["jets >= 2", "finite columns of the jets"]


def test_the_first_jets_are_kept_as_the_file_has_them(reader):
    chosen = changed(keep_jets="first", max_jets=2, min_jets=2).resolved(reader.columns())
    (events,) = reader.chunks(needed_columns(chosen))
    done = apply(chosen, events, is_simulation=True).events
    jets, parts = events.particles["jet"], events.particles["constituent"]
    good = (abs(jets.eta) < 2.0) & (ak.num(parts, axis=2) >= 1)
    jets, parts = jets[good], parts[good]
    enough = ak.num(jets) >= 2
    assert ak.to_list(done.particles["object"].pt) == ak.to_list(jets.pt[enough][:, :2])
    leading = ak.max(parts.pt, axis=2)[enough][:, :2]
    first = ak.firsts(done.particles["constituent"].pt, axis=2)
    assert ak.to_list(first) == ak.to_list(ak.values_astype(leading, np.float32))
    assert not ak.all(jets.pt[enough][:, 0] >= jets.pt[enough][:, 1])
    assert "keep_jets" not in changed().to_dict()


def test_the_shards_give_every_jet_its_event_and_lose_none(folder, everything):
    jets, parts = everything
    shards = NestedShardSet(folder)
    assert len(load_card(folder).parts) == 3
    assert shards.lengths.tolist() == ak.to_list(ak.fill_none(ak.max(ak.num(parts, 2), 1), 0))
    rows = np.random.default_rng(1).permutation(len(shards))
    batch = pickle.loads(pickle.dumps(shards)).gather(rows)
    assert len(batch) == len(rows) == len(batch.events)
    assert (
        np.bincount(batch.parent, minlength=len(rows)) == np.asarray(ak.num(jets.pt)[rows])
    ).all()
    assert len(batch.sets) == ak.sum(ak.num(jets.pt))
    real = batch.events.is_real
    assert batch.events.p4[real][:, 0].tolist() == ak.to_list(ak.flatten(jets.pt[rows]))
    for name, values in (("pt", batch.sets.p4[..., 0]), ("d0", batch.sets.columns["d0"])):
        expected = ak.flatten(ak.values_astype(parts[name][rows], np.float32), axis=None)
        assert values[batch.sets.is_real].tolist() == ak.to_list(expected)
    assert torch.equal(batch.sets.id, batch.events.id[batch.parent])
    assert batch.sets.columns["species"].dtype == torch.int64
    assert batch.sets.p4.shape[1] == 24  # 20 constituents at most, rounded up


def longest(batch):
    """Constituents of the longest jet of every event."""
    found = np.zeros(len(batch), int)
    np.maximum.at(found, batch.parent.numpy(), batch.sets.is_real.sum(1).numpy())
    return found.tolist()


def test_batches_are_whole_events_of_similar_length_and_resume_exactly(folder):
    shards = NestedShardSet([folder, folder])
    target = np.arange(len(shards))
    loader = Loader(shards, None, 3, seed=3, pool=4, target=target)
    assert loader.pool == 4
    batches = list(loader.batches(2))
    assert sorted(t for b in batches for t in b.target.tolist()) == target.tolist()
    again = list(loader.batches(2, start=5))
    for one, other in zip(batches[5:], again, strict=True):
        assert one.tensors().keys() == other.tensors().keys()
        assert all(torch.equal(t, other.tensors()[n]) for n, t in one.tensors().items())
    for low in range(0, len(batches), 4):  # the batches of a pool do not interleave in length
        spans = sorted((min(x), max(x)) for x in map(longest, batches[low : low + 4]))
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert loader.memory.batch > max(sum(t.nbytes for t in b.tensors().values()) for b in batches)


def test_an_event_without_jets_alone_makes_a_batch(folder):
    shards = NestedShardSet(folder)
    batch = shards.gather(np.flatnonzero(shards.n_particles == 0)[:1])
    assert (len(batch), len(batch.sets)) == (1, 0)


def test_other_data_and_damage_are_refused(reader, folder, tmp_path):
    with pytest.raises(DataError, match="sets: events"):
        changed().resolved({"constituent": ["pt"], "context": []})
    events = reader.model_copy(update={"sets": "jets"})
    prepare(events, load_selection("jets"), tmp_path / "jets")
    with pytest.raises(DataError, match="no events of jets of constituents"):
        NestedShardSet(tmp_path / "jets")
    with pytest.raises(DataError, match="one of jets"):
        load_selection("jets").resolved(reader.columns())
    card = json.loads((folder / "card.json").read_text())
    assert card["constituents"][:4] == ["pt", "eta", "phi", "mass"]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    card["constituents"] = card["constituents"][::-1]
    (copy / "card.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match="constituent columns"):
        ShardSet(copy)


def test_labels_of_jets_are_looked_for_in_every_file(tmp_path):
    jets = files.random_jets(20, 3)
    files.write_hbb_jagged(tmp_path / "a.root", jets, [2] * 10)
    files.write_hbb_jagged(tmp_path / "b.root", jets, [2] * 10, drop=("label_H_bb",))
    reader = Hbb(files=[str(tmp_path / "*.root")], sets="events")
    with pytest.raises(DataError, match=r"b\.root: .* no branch label_H_bb \(label H_bb\)"):
        prepare(reader, changed(), tmp_path / "s")
    with pytest.raises(DataError, match=r"(?s)2 of 2 .*label Hbb\)\. Nearest: label_H_bb"):
        prepare(reader, changed(jets=["sdmass", "label_Hbb"]), tmp_path / "s")


def test_min_above_max_is_an_error(tmp_path, capsys):
    path = tmp_path / "s.yaml"
    path.write_text("kind: jet_events\nname: s\nmin_jets: 6\nmax_jets: 2\n")
    code = run(["prepare", "a.root", "--selection", str(path), "--out", str(tmp_path / "o")])
    assert code == 2
    assert "min_jets is above max_jets" in capsys.readouterr().err
