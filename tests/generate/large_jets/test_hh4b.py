"""Events of jets: the layout through its reader, truth against masses, what is asked for."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot

from transferline.data.layouts.hbb import JET_LABELS
from transferline.data.readers.hbb import Hbb
from transferline.errors import ConfigError
from transferline.generate.large_jets.card import load_jet_card
from transferline.generate.large_jets.hh4b import generate_hh4b
from transferline.generate.large_jets.hh4b_request import Request
from transferline.generate.nanoaod import read_provenance

N = 16


def make(out, **changes):
    options = {"mass": 1200, "n": N, "seed": 1, "mpi": False, "block_size": 8} | changes
    return generate_hh4b(out, **options)


def read(path):
    with uproot.open(path) as file:
        return file["deepntuplizer/tree"].arrays()


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    return make(tmp_path_factory.mktemp("signal") / "signal.root")


@pytest.fixture(scope="module")
def qcd(tmp_path_factory):
    path = tmp_path_factory.mktemp("qcd") / "qcd.root"
    return make(path, mass=None, qcd="300-470")


def test_reader_finds_events_of_jets_of_constituents(signal):
    reader = Hbb(files=[str(signal.path)], sets="events")
    (events,) = reader.chunks(None)
    raw = read(signal.path)
    assert len(events) == N
    jets, inside = events.particles["jet"], events.particles["constituent"]
    assert ak.array_equal(jets.pt, raw.fj_pt)
    assert ak.all(ak.num(jets) >= 2)
    assert ak.array_equal(ak.num(inside, axis=2), ak.num(raw.pfcand_ptrel, axis=2))
    assert ak.all(inside.pt > 0.95 * 0.999)
    assert ak.all(ak.num(inside, axis=2) <= 100)
    # Momenta come back: the stored candidates carry nearly all of their jet.
    px = ak.sum(inside.pt * np.cos(inside.phi), axis=2)
    py = ak.sum(inside.pt * np.sin(inside.phi), axis=2)
    share = ak.to_numpy(ak.flatten(np.hypot(px, py) / jets.pt))
    assert np.all((share > 0.85) & (share < 1.05))
    track = inside.charge != 0
    assert ak.all((inside.d0err > 0) == track)
    assert len(np.unique(events.id)) == N
    assert reader.source(str(signal.path)).provenance["process"] == "hh4b_1200"


def test_jets_in_single_file_are_those_of_the_events(signal):
    (events,) = Hbb(files=[str(signal.path)]).chunks(None)
    raw = read(signal.path)
    assert len(events) == ak.sum(ak.num(raw.fj_pt))
    assert set(events.labels["mass_param"]) == {1200.0}
    assert events.labels["H_bb"].tolist() == ak.flatten(raw.label_H_bb).to_list()


def test_higgs_jets_have_their_mass_and_every_jet_one_label(signal, qcd):
    raw = read(signal.path)
    higgs = raw.label_H_bb == 1
    assert ak.mean(ak.sum(higgs, axis=1)) > 1.3
    assert 85 < np.median(ak.flatten(raw.fj_sdmass[higgs])) < 135
    leading = raw[ak.sum(higgs, axis=1) == 2]
    pair = [leading[name][leading.label_H_bb == 1] for name in ("fj_pt", "fj_eta", "fj_phi")]
    pt, eta, phi = (ak.to_numpy(values) for values in pair)
    # Massless jets suffice to find the resonance.
    mass = np.sqrt(2 * pt.prod(axis=1) * (np.cosh(np.diff(eta)) - np.cos(np.diff(phi))).ravel())
    assert 1000 < np.median(mass) < 1300
    for events in (raw, read(qcd.path)):
        assert ak.all(sum(events[f"label_{name}"] for name in JET_LABELS) == 1)
        assert ak.all(events.fj_isH + events.fj_isQCD == 1)
    assert ak.sum(read(qcd.path).fj_isH) == 0


def test_events_say_what_they_are(signal, qcd):
    assert set(ak.to_list(read(signal.path).sample_isQCD)) == {0}
    background = read(qcd.path)
    assert set(ak.to_list(background.sample_isQCD)) == {1}
    assert set(ak.to_list(background.mass_param)) == {0.0}
    found = read_provenance(qcd.path)
    assert found["kind"] == "transferline generate hh4b"
    assert found["process"] == "qcd_300_470"
    # Leading order; 7.8 nb in the record's samples.
    assert 4_000 < found["cross_section"]["pb"] < 12_000
    assert 0.6 < qcd.selected <= 1.0


def test_content_does_not_depend_on_jobs(signal, tmp_path):
    one, other = read(signal.path), read(make(tmp_path / "two.root", jobs=2).path)
    assert all(ak.array_equal(one[name], other[name]) for name in one.fields)


@pytest.mark.parametrize(
    ("mass", "qcd", "message"),
    [
        (None, None, "either a mass or bounds"),
        (1000, "300-470", "either a mass or bounds"),
        (100, None, "outside 500 to 6000"),
        (None, "300", "expected LOW-HIGH"),
        (None, "a-b", "expected LOW-HIGH"),
        (None, "470-300", "LOW < HIGH"),
    ],
)
def test_wrong_requests_are_explained(mass, qcd, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        make(tmp_path / "x.root", mass=mass, qcd=qcd)


def test_the_last_bin_is_open():
    request = Request.parse(None, "3200-")
    assert request.name == "qcd_3200"
    settings = request.settings(load_jet_card("cms"), mpi=True, tune="monash")
    assert "PhaseSpace:pTHatMax = -1" in settings
