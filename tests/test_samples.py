from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from transferline import samples
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import selection
from transferline.errors import ConfigError, DataError
from transferline.generate import hard_filter
from transferline.runtime import cache_directory
from transferline.samples import Sample, chosen_selection, materialise

from .generated_events import BACKGROUND, SIGNAL, cache, shards
from .learning.event_shards import write_nanoaod, write_shards


def test_a_process_becomes_shards_with_its_cross_section():
    place = shards(SIGNAL)
    card = json.loads((place / "card.json").read_text())
    assert place.is_relative_to(cache())
    assert card["cross_section_pb"] == 0.1297
    assert len(ShardSet(place)) == card["n_events"] > 100
    assert card["selection"]["name"] == "l1_j4_b1"


def test_what_is_in_the_cache_is_not_made_again(monkeypatch):
    place = shards(SIGNAL)

    def never(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr(samples, "prepare", never)
    assert materialise(SIGNAL, cache()) == place


def test_another_selection_reuses_the_generated_file(monkeypatch):
    first = shards(BACKGROUND)
    monkeypatch.setattr("transferline.generate.events._make_blocks", None)
    other = materialise(BACKGROUND.model_copy(update={"selection": "l1_j4_b2"}), cache())
    assert other != first
    assert len(ShardSet(other)) < len(ShardSet(first))
    assert len(list((cache() / "generated").glob("ttbar*.root"))) == 1


def test_the_place_follows_whatever_changes_the_content(monkeypatch):
    base = samples._generation(SIGNAL)
    for change in ({"seed": 2}, {"n": 801}, {"mpi": True}, {"filter": "lepton"}):
        assert samples._generation(SIGNAL.model_copy(update=change)) != base
    assert samples._generation(SIGNAL.model_copy(update={"label": "x"})) == base
    assert samples._generation(SIGNAL.model_copy(update={"generator": "pythia"})) == base
    emu = SIGNAL.model_copy(update={"filter": "emu_jets"})
    before = samples._generation(emu)
    harder = replace(hard_filter.FILTERS["emu_jets"], parton_pt=35.0)
    with monkeypatch.context() as patch:
        patch.setitem(hard_filter.FILTERS, "emu_jets", harder)
        assert samples._generation(emu) != before
    monkeypatch.setattr(samples, "package_versions", lambda _: {"pythia8mc": "9"})
    assert samples._generation(SIGNAL) != base


def test_a_finished_sample_of_sherpa_is_found_where_there_is_no_sherpa(monkeypatch, tmp_path):
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path))
    monkeypatch.delenv("TRANSFERLINE_SHERPA", raising=False)
    sample = Sample(process="ttbb_1l", n=10, selection="l1_j4_b1")
    found = samples._generation(sample)
    assert found["generator"] == "sherpa"
    assert found["cards"] and found["made_by"]
    assert found == samples._generation(sample.model_copy(update={"generator": "sherpa"}))


def test_files_become_shards_and_a_changed_file_is_another_sample(tmp_path):
    file = write_nanoaod(tmp_path / "a.root", 200, seed=1)
    sample = Sample.model_validate(
        {"reader": {"kind": "nanoaod", "files": [str(file)]}, "selection": "l1_j4_b1"}
    )
    place = materialise(sample, tmp_path / "cache")
    assert materialise(sample, tmp_path / "cache") == place
    assert not np.isnan(ShardSet(place).weight).any()
    write_nanoaod(file, 300, seed=2)
    assert materialise(sample, tmp_path / "cache") != place


def test_existing_shards_are_taken_as_they_are(tmp_path):
    place = write_shards(tmp_path, 100, seed=1)
    assert materialise(Sample(shards=str(place)), tmp_path / "cache") == place
    assert not (tmp_path / "cache").exists()
    with pytest.raises(DataError, match=r"card\.json is missing"):
        materialise(Sample(shards=str(tmp_path)))


def test_samples_know_when_they_hold_the_same_collisions(tmp_path):
    same = SIGNAL.model_copy(update={"n": 10, "filter": "lepton", "selection": "pretraining"})
    assert SIGNAL.shares_events_with(same)
    assert not SIGNAL.shares_events_with(SIGNAL.model_copy(update={"seed": 2}))
    assert not SIGNAL.shares_events_with(BACKGROUND)
    pythia = BACKGROUND.model_copy(update={"generator": "pythia"})
    assert BACKGROUND.shares_events_with(pythia)
    assert not BACKGROUND.shares_events_with(BACKGROUND.model_copy(update={"generator": "sherpa"}))
    spelled = [Sample(process=name, n=5, selection="l1_j4_b1")
               for name in ("H0_HpmW", "H0_HpmW_425_325", "H0_HpmW_500_400")]  # fmt: skip
    assert spelled[0].shares_events_with(spelled[1])
    assert not spelled[0].shares_events_with(spelled[2])
    assert not SIGNAL.shares_events_with(Sample(shards="x"))
    assert Sample(shards="x").shares_events_with(Sample(shards="x"))
    files = [
        Sample.model_validate(
            {"reader": {"kind": "nanoaod", "files": names}, "selection": "l1_j4_b1"}
        )
        for names in (["a.root", "b.root"], ["b.root"], ["c.root"])
    ]
    assert files[0].shares_events_with(files[1]) and not files[0].shares_events_with(files[2])


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "exactly one of process, reader, shards"),
        ({"process": "ttbar_1l", "shards": "x", "n": 1}, "exactly one of"),
        ({"process": "ttbar_1l", "n": 5}, "needs a selection"),
        ({"shards": "x", "selection": "l1_j4_b1"}, "have theirs already"),
        ({"process": "ttbar_1l", "selection": "l1_j4_b1"}, "belong together"),
        ({"process": "ttbar_1l", "n": 0, "selection": "l1_j4_b1"}, "greater than 0"),
    ],
)
def test_bad_samples_are_explained(recipe, message):
    with pytest.raises(ValidationError, match=message):
        Sample.model_validate(recipe)


def test_unknown_names_are_config_errors(tmp_path):
    with pytest.raises(ConfigError, match="ttbar_1l"):
        materialise(SIGNAL.model_copy(update={"process": "ttbar_1"}), tmp_path)
    with pytest.raises(ConfigError, match="l1_j4_b2"):
        materialise(SIGNAL.model_copy(update={"selection": "l1_j4_b3"}), tmp_path)


def test_one_environment_variable_says_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("TRANSFERLINE_CACHE")
    assert cache_directory().parts[-2:] == (".cache", "transferline")


def test_a_sample_replaces_triggers_and_certified_blocks_of_its_selection():
    sample = Sample(
        process="ttbar_1l",
        n=10,
        selection="pretraining",
        veto_triggers=["HLT_IsoMu24"],
        golden_json="certified.json",
    )
    chosen = chosen_selection(sample)
    plain = selection("pretraining")
    assert chosen.veto_triggers == ("HLT_IsoMu24",)
    assert chosen.golden_json == "certified.json"
    assert chosen.triggers == plain.triggers
    assert plain.veto_triggers == ()
