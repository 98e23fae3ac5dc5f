"""The filter `tagged_jets` from end to end: what it keeps, counts, and must not lose."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import uproot

from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import apply, needed_columns, selection
from transferline.errors import ConfigError
from transferline.files import json_hash
from transferline.generate import pythia
from transferline.generate.card import load_card
from transferline.generate.catalogue import process
from transferline.generate.detector import simulate
from transferline.generate.events import generate_events
from transferline.generate.filter_rules import FilterCount
from transferline.generate.hard_filter import FILTERS, hard_filter
from transferline.generate.nanoaod import read_arrays, read_provenance, to_nanoaod, write_nanoaod
from transferline.generate.objects import reconstruct
from transferline.generate.pythia import PythiaRun
from transferline.generate.tables import concatenate
from transferline.generate.tagged_jets import TaggedJets, Thinning

RULE = hard_filter("tagged_jets")
SCORE = RULE.tag.score


def make(path, n=20, **changes):
    options = {"seed": 5, "mpi": False, "block_size": 10, "filter": "tagged_jets"} | changes
    return generate_events("Zjets_ll", path, n=n, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tagged") / "tagged.root")


def test_every_event_has_a_lepton_two_jets_and_a_tag(done):
    events = read_arrays(done.path)
    good = (events["Jet_pt"] > 30.0) & (abs(events["Jet_eta"]) < 2.4)
    assert len(events["event"]) == done.events == done.passed == 20
    assert ak.all(ak.sum(good, axis=1) >= 2)
    assert ak.all(ak.any(good & (events["Jet_btagDeepFlavB"] > SCORE), axis=1))
    leptons = [events["Muon_pt"], events["Electron_pt"]]
    assert ak.all(ak.max(ak.concatenate(leptons, axis=1), axis=1) > 24.0)


def test_events_that_pythia_gives_up_are_made_up_for(tmp_path, monkeypatch):
    """One batch then has fewer events than were asked for; the same block fails every time."""
    strict = (*pythia.COMMON, "Check:epTolErr = 4e-14", "PartonLevel:MPI = off")
    monkeypatch.setattr(pythia, "COMMON", strict)
    run = PythiaRun(process("Zjets_ll").settings(0), 1, hard_filter("none"))
    assert 1 < len(next(run.batches(100)).offsets) < 101  # one more than events
    assert make(tmp_path / "few.root", n=10).events == 10


def test_weights_are_one_and_sums_are_over_all_tried(done):
    note = read_provenance(done.path)["filter"]
    weight = np.asarray(read_arrays(done.path)["genWeight"])
    assert (note["name"], note["tried"], note["passed"]) == ("tagged_jets", done.tried, 20)
    assert note["overweight"] == (weight > 1.0).sum() < 3
    assert (weight >= 1.0).all()
    with uproot.open(done.path) as file:
        runs = file["Runs"].arrays(library="np")
    assert runs["genEventCount"].tolist() == [done.tried]
    assert runs["genEventSumw"].tolist() == [done.tried]
    # One in a hundred passes: the cross section is still that of all of them.
    assert 40 < done.tried / 20 < 250
    assert done.cross_section_generator == pytest.approx(1220.0, rel=0.2)


def test_content_does_not_depend_on_the_number_of_jobs(done, tmp_path):
    one, other = read_arrays(done.path), read_arrays(make(tmp_path / "two.root", jobs=2).path)
    assert all(ak.array_equal(one[name], other[name]) for name in one)


def test_fewer_events_are_the_first_of_more(done, tmp_path):
    """What was tried after the last event that was wanted is not counted."""
    first = set(read_arrays(done.path)["MET_pt"][:10].tolist())
    # They come in one batch of what Pythia hands over.
    few, more = (make(tmp_path / f"{n}.root", n=n) for n in (2, 5))
    found = [set(read_arrays(one.path)["MET_pt"].tolist()) for one in (few, more)]
    assert found[0] < found[1] < first
    assert few.tried < more.tried < done.tried


class Asked(TaggedJets):
    """Says yes to every event, and remembers what `tagged_jets` would have said."""

    def accepts(self, process):
        answers.append(super().accepts(process))
        return any(code in (11, 13, 15) for code in _final_codes(process))

    def keeps(self, event, finder, further=0):
        answers[-1] &= super().keeps(event, finder, further)
        return True

    def one_in(self, event, finder, further):
        answers[-1] &= super().one_in(event, finder, further) > 0
        return 1


answers: list[bool] = []
EVENTS = 1200


def _final_codes(process):
    return [process[i].idAbs() for i in range(process.size()) if process[i].isFinal()]


@pytest.mark.parametrize(("name", "harder"), [("Wjets_lnu", 60), ("Zjets_ll", 35)])
def test_what_is_selected_passes(name, harder, tmp_path):
    """Next to no event with a selected lepton and two selected jets is given up on the way."""
    answers.clear()
    # Hard events have two jets more often.
    more = ("PartonLevel:MPI = off", f"PhaseSpace:pTHatMin = {harder}.")
    run = PythiaRun((*process(name).settings(0), *more), 7, Asked(**vars(RULE)))
    card, rng = load_card("cms"), np.random.default_rng(7)
    tables = [reconstruct(t, simulate(t, card, rng), card, rng) for t in run.batches(EVENTS)]
    table = to_nanoaod(concatenate(tables), 1, 1)
    sums = {"count": EVENTS, "sum_weight": EVENTS, "sum_weight2": EVENTS}
    write_nanoaod(tmp_path / "all.root", [table], **sums, provenance={})
    recipe = selection("pretraining")
    cuts = recipe.cuts.model_copy(update={"bjets_min": 0})
    (events,) = NanoAOD(files=[str(tmp_path / "all.root")]).chunks(needed_columns(recipe))
    passed = apply(recipe.model_copy(update={"cuts": cuts}), events, is_simulation=True).passed
    assert len(answers) == EVENTS
    kept = np.array(answers)
    assert passed.sum() > 50
    assert kept[passed].mean() > 0.97
    assert kept.mean() < 0.75


def test_thinning_keeps_one_in_so_many_and_remembers_them():
    thinning, count = Thinning(3), FilterCount()
    kept = []
    for number in range(6000):
        count.add(1.0, accepted=True)
        event = [SimpleNamespace(e=lambda number=number: float(number))] * 4
        if thinning.keeps(event, (0, 1, 3, 10)[number % 4], count):
            kept.append(number)
    share = np.bincount(np.array(kept) % 4, minlength=4) / 1500
    assert share[:2].tolist() == [0.0, 1.0]
    assert share[2:] == pytest.approx([1 / 3, 1 / 10], abs=0.04)
    batch = SimpleNamespace(offsets=np.array([0, 4, 8]), p4=np.zeros((8, 4)))
    batch.p4[[3, 7], 3] = kept[5], kept[9]
    found = thinning.of(batch)
    assert [one.count.tried - 1 for one in found] == [kept[5], kept[9]]
    assert [one.one_in for one in found] == [(0, 1, 3, 10)[kept[i] % 4] for i in (5, 9)]
    with pytest.raises(KeyError):
        thinning.of(batch)


RULES = {
    "none": "9cabf7ccf681",
    "lepton": "677ef9d38562",
    "lepton_jets": "88bb300a80c2",
    "emu_jets": "44b756f39511",
    "four_partons": "fee5abb2b9da",
    "four_jets": "563b3a9b6ace",
}


@pytest.mark.parametrize("name", RULES)
def test_filters_of_existing_samples_keep_their_hash(name):
    """It is part of the hash of a sample: with another one, all are generated again."""
    assert json_hash(asdict(FILTERS[name])).startswith(RULES[name])


def test_sherpa_cannot_look_into_the_shower(tmp_path):
    pytest.importorskip("fastjet")
    with pytest.raises(ConfigError, match=r"Pythia.s only|Sherpa"):
        generate_events("ttbar_1l", tmp_path / "x.root", n=1, seed=1, generator="sherpa",
                        filter="tagged_jets")  # fmt: skip
