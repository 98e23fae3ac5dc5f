from __future__ import annotations

import json

import numpy as np
import pytest
import uproot

from transferline.data.inspect_file import inspect_file
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection
from transferline.errors import DataError

from . import nanoaod_files as files


@pytest.fixture(scope="module")
def events():
    return files.random_events(120, 9)


def test_a_complete_simulated_file(tmp_path, events):
    provenance = {"kind": "transferline generate events", "process": "ttbar"}
    found = inspect_file(files.write(tmp_path / "a.root", events, provenance=provenance))
    assert (found.format, found.entries, found.is_simulation) == ("NanoAODv9", 120, True)
    assert found.sum_weight == pytest.approx(events.weight.sum())
    assert found.columns["met"] == ["pt", "phi"]
    assert found.missing == []
    assert found.reader == "nanoaod"
    text = found.render()
    assert "CMS NanoAODv9, simulation, 120 events" in text
    assert "process ttbar" in text
    assert "shipped selections: can be applied (working points of 2016postVFP)" in text
    assert json.loads(json.dumps(found.to_dict()))["entries"] == 120


def test_what_is_missing_is_said(tmp_path, events):
    drop = ["Jet_puId", "HLT_IsoMu24"]
    found = inspect_file(files.write(tmp_path / "a.root", events, drop=drop, runs=False))
    assert "jet.pu_id (Jet_puId)" in found.missing
    assert any("cannot be normalised" in text for text in found.missing)
    assert "cannot be applied, the file lacks jet.pu_id" in found.render()
    assert "sums of weights before cuts: unknown" in found.render()


def test_a_file_without_any_trigger_would_pass_nothing(tmp_path, events):
    triggers = selection("lnubbjj").triggers
    found = inspect_file(files.write(tmp_path / "a.root", events, drop=triggers))
    assert "would pass no event, the file has none of HLT_" in found.details["shipped selections"]


def test_collision_data(tmp_path, events):
    found = inspect_file(files.write(tmp_path / "a.root", events, simulation=False, runs=False))
    assert found.is_simulation is False
    assert not any("hadron_flavour" in text for text in found.missing)


def test_any_other_root_file(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("sig_tree", {"x": np.float32}).extend({"x": np.zeros(4, np.float32)})
    found = inspect_file(tmp_path / "a.root")
    assert found.format == "ROOT"
    assert found.reader is None
    assert "a ROOT file with trees 'sig_tree' (4 entries): no reader for it" in found.render()


def test_shards(tmp_path, events):
    path = files.write(tmp_path / "a.root", events)
    card = prepare(NanoAOD(files=[str(path)]), selection("pretraining"), tmp_path / "s", sample="x")
    found = inspect_file(tmp_path / "s")
    assert (found.format, found.entries, found.reader) == ("shards", card.n_events, "shards")
    assert "b-jets >= 1" in found.render()
    assert json.loads(json.dumps(found.to_dict()))["details"]["content"] == card.content_hash


@pytest.mark.parametrize("how", ["missing", "empty", "text", "folder"])
def test_what_it_cannot_tell_is_an_error(tmp_path, how):
    path = tmp_path / "thing"
    if how == "empty":
        path.touch()
    elif how == "text":
        path.write_text("hello")
    elif how == "folder":
        path.mkdir()
    with pytest.raises(DataError, match="thing"):
        inspect_file(path)


def test_real_files(real_data):
    found = inspect_file(real_data / "nano_tt_v15.root")
    assert found.format == "NanoAODv15"
    assert "jet_id" in found.columns["jet"]
    assert inspect_file(real_data / "nano_dimuon.root").is_simulation is False
