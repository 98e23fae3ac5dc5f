"""With Sherpa: `transferline generate install-sherpa`, or the extra `sherpa`."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from transferline.errors import ConfigError, DataError
from transferline.generate.events import generate_events
from transferline.generate.nanoaod import read_arrays, read_provenance
from transferline.generate.sherpa.installation import find
from transferline.generate.sherpa.process import event_stream, integrated
from transferline.generate.sherpa.run_card import sherpa_process


@pytest.fixture(scope="module", autouse=True)
def _sherpa():
    """Asked where the tests' own cache is in place, which hides a Sherpa in the user's."""
    try:
        find()
    except ConfigError:
        pytest.skip("no Sherpa: set TRANSFERLINE_SHERPA")


def make(out, process="ttbar_1l", **changes):
    options = {"n": 24, "seed": 1, "mpi": False, "block_size": 12, "generator": "sherpa"}
    return generate_events(process, out, **options | changes)


@pytest.fixture(scope="module")
def small(_sherpa, tmp_path_factory):
    """Integrates the matrix element of ttbar: fifteen seconds."""
    return make(tmp_path_factory.mktemp("sherpa") / "small.root")


def test_provenance(small):
    found = read_provenance(small.path)
    assert (found["generator"], found["tune"]) == ("sherpa", None)
    assert found["versions"]["sherpa-mc"] == find().version
    assert "93 93 -> 6 -6" in found["settings"][0][0]
    assert found["cross_section_sherpa"]["error"] > 0.0
    assert small.cross_section_generator == pytest.approx(202.0, rel=0.8)


def test_sums_of_weights(small):
    arrays = read_arrays(small.path)
    assert small.tried >= small.passed == small.events == 24
    assert small.sum_weight == pytest.approx(small.tried, rel=0.2)
    assert np.allclose(arrays["genWeight"], 1.0, rtol=0.5)


def test_both_charges_and_one_hard_lepton(small):
    arrays = read_arrays(small.path)
    hard = arrays["GenPart_pdgId"][arrays["GenPart_status"] == 23]
    leptons = hard[(abs(hard) == 11) | (abs(hard) == 13) | (abs(hard) == 15)]
    assert ak.all(ak.num(leptons) == 1)
    assert sorted(np.sign(ak.flatten(leptons)).tolist()) == [-1] * 12 + [1] * 12
    tops = abs(arrays["GenPart_pdgId"]) == 6
    assert np.median(ak.flatten(arrays["GenPart_mass"][tops])) == pytest.approx(172.5, abs=1.0)


def test_jets_know_their_hadrons(small):
    arrays = read_arrays(small.path)
    central = arrays["Jet_pt"] > 25.0
    per_event = ak.sum(arrays["Jet_hadronFlavour"][central] == 5, axis=1)
    assert 1.2 < ak.mean(per_event) < 2.3


def test_content_depends_on_the_seed_and_not_on_the_jobs(small, tmp_path):
    one, two = read_arrays(small.path), read_arrays(make(tmp_path / "two.root", jobs=2).path)
    assert all(ak.array_equal(one[name], two[name]) for name in one)
    other = read_arrays(make(tmp_path / "other.root", n=6, seed=2).path)
    assert not ak.array_equal(one["MET_pt"][:6], other["MET_pt"])


def test_generators_do_not_share_a_file(small):
    with pytest.raises(DataError, match="was generated differently"):
        make(small.path, generator="pythia")


def test_sherpa_says_what_it_did_not_understand(small):
    hard, decays = sherpa_process("ttbar_1l").cards(mpi=False)[0]
    with pytest.raises(DataError, match="could not integrate the matrix element: "):
        integrated(find(), hard.replace("6 -6", "6 -66"))
    with (
        pytest.raises(DataError, match="Its log says: "),
        event_stream(find(), (hard, decays + "FRAGMENTATION: Nothing\n"), 1) as stream,
    ):
        raise DataError(f"{len(stream.read())} bytes.")


def test_a_top_quark_with_a_w_boson(tmp_path):
    """The boson has the other charge, and both decay every way they can."""
    done = make(tmp_path / "tw.root", process="singletop_tW", n=24, filter="lepton")
    arrays = read_arrays(done.path)
    code, mother = arrays["GenPart_pdgId"], arrays["GenPart_genPartIdxMother"]
    top = code[abs(code) == 6]
    assert ak.all(ak.num(top) == 1)
    bosons = code[(abs(code) == 24) & (abs(code[mother]) != 6)]
    assert ak.all(bosons[:, :1] == -24 * np.sign(top))
    assert {6, -6} == set(ak.flatten(top).tolist())
    hard = code[arrays["GenPart_status"] == 23]
    leptons = ak.sum((abs(hard) == 11) | (abs(hard) == 13) | (abs(hard) == 15), axis=1)
    assert set(leptons.tolist()) == {1, 2}
    assert done.cross_section_generator == pytest.approx(58.0, rel=0.5)
