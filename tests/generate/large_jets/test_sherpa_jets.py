"""Jets of Sherpa; what needs Sherpa itself runs where TRANSFERLINE_SHERPA names it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from transferline.data.readers.jetclass import JetClass
from transferline.errors import ConfigError, DataError
from transferline.generate.large_jets.card import load_jet_card
from transferline.generate.large_jets.classes import jet_class
from transferline.generate.large_jets.hard_filter import BoostedDecay
from transferline.generate.large_jets.settings import generator_cards
from transferline.generate.nanoaod import read_provenance
from transferline.generate.sherpa.installation import find
from transferline.generate.sherpa.process import integration_place
from transferline.generate.sherpa.record import ENTRY, Event
from transferline.runtime import cache_directory

from .conftest import make, read


def test_sherpa_makes_some_classes_and_says_which(tmp_path):
    card = load_jet_card("cms")
    for name in ("QCD", "Tbqq"):
        entry = jet_class(name)
        ((hard, rest),) = generator_cards(entry, card, "sherpa", mpi=False, tune="monash")
        ((_, with_mpi),) = generator_cards(entry, card, "sherpa", mpi=True, tune="monash")
        ((_, low, high),) = [rule[1:] for rule in entry.sherpa.hard["SELECTORS"]]
        assert (low, high) == entry.pt_hat
        assert "SELECTORS" in hard
        assert "Max_Proper_Lifetime: 1000.0" in rest
        assert "MI_HANDLER" in rest and "MI_HANDLER" not in with_mpi
    out = tmp_path / "x.root"
    with pytest.raises(ConfigError, match=r"no jets of class Hbb, only QCD, Tbqq\."):
        make(out, "Hbb", generator="sherpa")
    with pytest.raises(ConfigError, match="Tunes are Pythia's"):
        make(out, "QCD", generator="sherpa", tune="cp5")
    with pytest.raises(ConfigError, match="Did you mean 'pythia'"):
        make(out, "QCD", generator="pytha")


def top_decay(pt, *, apart=0.0, eta=0.0):
    """An event whose hard process is g g -> t, t -> b W, W -> q q', each with a third of `pt`."""
    entries = np.zeros(9, ENTRY)
    entries["pdg_id"] = [90, 21, 21, 6, 24, 5, 2, -1, 211]
    entries["status"] = [-11, -21, -21, -22, -22, -23, -23, -23, 1]
    entries["mother"] = [0, 0, 0, 1, 3, 3, 4, 4, 5]
    phi = np.array([0.0, apart, -apart])
    entries["px"][5:8], entries["py"][5:8] = pt / 3 * np.cos(phi), pt / 3 * np.sin(phi)
    entries["pz"][5:8] = pt / 3 * np.sinh(eta)
    return Event(1.0, 1.0, 1.0, entries)


@pytest.mark.parametrize(
    ("event", "passes"),
    [
        (top_decay(440.0), True),
        (top_decay(420.0), False),
        (top_decay(800.0, apart=0.9), True),
        (top_decay(800.0, apart=1.0), False),
        (top_decay(800.0, eta=2.7), False),
    ],
)
def test_the_filter_of_the_classes_reads_sherpas_record(event, passes):
    assert event.accepted(BoostedDecay(name="boosted_decay", resonance=6)) is passes
    assert event.accepted(BoostedDecay(name="boosted_decay", resonance=0))
    assert not event.accepted(BoostedDecay(name="boosted_decay", resonance=25))


@pytest.fixture
def _integrated():
    """Take the matrix element of top quarks, a minute's work, from the cache that holds Sherpa."""
    try:
        sherpa = find()
    except ConfigError:
        pytest.skip("no Sherpa: set TRANSFERLINE_SHERPA")
    entry, card = jet_class("Tbqq"), load_jet_card("cms")
    ((hard, _),) = generator_cards(entry, card, "sherpa", mpi=False, tune="monash")
    place = integration_place(sherpa, hard)
    known = sherpa.root.parent / place.relative_to(cache_directory())
    if not place.exists():
        if not known.exists():
            pytest.skip("no integration beside Sherpa: run generate jets Tbqq --generator sherpa")
        shutil.copytree(known, place)


@pytest.mark.usefixtures("_integrated")
def test_top_quarks_of_sherpa(tmp_path):
    done = make(tmp_path / "x.root", "Tbqq", generator="sherpa", block_size=12)
    assert (done.jets, done.generator) == (12, "sherpa")
    assert done.tried > done.passed >= 12
    assert done.cross_section_generator == pytest.approx(2.3, rel=0.5)
    found = read_provenance(done.path)
    assert (found["generator"], found["tune"]) == ("sherpa", None)
    assert found["versions"]["sherpa-mc"] == find().version
    jets = read(done.path)
    assert np.all(jets.label_Tbqq == 1)
    assert set(jets.aux_truth_match.tolist()) <= {11.0, 12.0}
    assert set(np.abs(jets.aux_genpart_pid).tolist()) == {6}
    assert 150.0 < np.median(jets.jet_sdmass) < 190.0
    assert np.all((jets.jet_pt > 500.0) & (jets.jet_pt < 1000.0))
    assert JetClass(files=[str(done.path)])
    with pytest.raises(DataError, match="was generated differently"):
        make(done.path, "Tbqq", generator="pythia", block_size=12)
