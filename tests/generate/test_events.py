from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import awkward as ak
import numpy as np
import pytest
import uproot

import transferline.generate.events as module
from transferline.errors import ConfigError, DataError
from transferline.files import alone_in
from transferline.generate import growth
from transferline.generate.block_files import load_block, read_count
from transferline.generate.events import generate_events, summary_json
from transferline.generate.nanoaod import read_arrays, read_provenance

from .conftest import make

FLOAT, INT, BOOL, BYTE = "float", "int32_t", "bool", "uint8_t"
KINEMATICS = {"pt": FLOAT, "eta": FLOAT, "phi": FLOAT, "mass": FLOAT}
COLLECTIONS = {
    "Electron": {
        **KINEMATICS,
        "charge": INT,
        "deltaEtaSC": FLOAT,
        "dxy": FLOAT,
        "dz": FLOAT,
        "cutBased": INT,
        "mvaFall17V2Iso_WP90": BOOL,
        "pfRelIso03_all": FLOAT,
        "genPartFlav": BYTE,
    },
    "Muon": {
        **KINEMATICS,
        "charge": INT,
        "dxy": FLOAT,
        "dz": FLOAT,
        "tightId": BOOL,
        "mediumId": BOOL,
        "looseId": BOOL,
        "pfRelIso04_all": FLOAT,
        "genPartFlav": BYTE,
    },
    "Tau": {
        **KINEMATICS,
        "charge": INT,
        "dz": FLOAT,
        "decayMode": INT,
        "idDeepTau2017v2p1VSjet": BYTE,
        "idDeepTau2017v2p1VSe": BYTE,
        "idDeepTau2017v2p1VSmu": BYTE,
        "genPartFlav": BYTE,
    },
    "Jet": {
        **KINEMATICS,
        "btagDeepFlavB": FLOAT,
        "jetId": INT,
        "puId": INT,
        "hadronFlavour": INT,
        "electronIdx1": INT,
        "muonIdx1": INT,
        "nConstituents": INT,
    },
    "GenJet": dict(KINEMATICS),
    "GenPart": {**KINEMATICS, "pdgId": INT, "status": INT, "genPartIdxMother": INT},
}
SCALARS = {
    "run": "uint32_t",
    "luminosityBlock": "uint32_t",
    "event": "uint64_t",
    "genWeight": FLOAT,
    "MET_pt": FLOAT,
    "MET_phi": FLOAT,
    "MET_sumEt": FLOAT,
    "GenMET_pt": FLOAT,
    "GenMET_phi": FLOAT,
    "PV_npvsGood": INT,
    "HLT_IsoMu24": BOOL,
    "HLT_IsoTkMu24": BOOL,
    "HLT_Ele27_WPTight_Gsf": BOOL,
    "Flag_goodVertices": BOOL,
    "Flag_globalSuperTightHalo2016Filter": BOOL,
    "Flag_HBHENoiseFilter": BOOL,
    "Flag_HBHENoiseIsoFilter": BOOL,
    "Flag_EcalDeadCellTriggerPrimitiveFilter": BOOL,
    "Flag_BadPFMuonFilter": BOOL,
    "Flag_BadPFMuonDzFilter": BOOL,
    "Flag_eeBadScFilter": BOOL,
}


def same_events(first, second):
    one, other = read_arrays(first), read_arrays(second)
    return one.keys() == other.keys() and all(
        ak.array_equal(one[name], other[name]) for name in one
    )


def test_layout_is_that_of_nanoaod(small):
    expected = dict(SCALARS)
    for name, branches in COLLECTIONS.items():
        expected[f"n{name}"] = INT
        expected |= {f"{name}_{k}": f"{kind}[]" for k, kind in branches.items()}
    with uproot.open(small.path) as file:
        assert file.classnames(cycle=False) == {
            "Events": "TTree",
            "Runs": "TTree",
            "transferline": "TObjString",
        }
        assert file["Events"].typenames() == expected


def test_runs_hold_sums_over_all_events_tried(small):
    with uproot.open(small.path) as file:
        runs = file["Runs"].arrays(library="np")
    assert runs["run"].tolist() == [1]
    assert runs["genEventCount"].tolist() == [small.tried]
    assert runs["genEventSumw"].tolist() == [small.sum_weight]
    assert runs["genEventSumw2"].tolist() == [small.sum_weight2]
    assert small.tried >= small.passed == small.events == 60


def test_events_are_numbered_uniquely(small):
    arrays = read_arrays(small.path)
    assert ak.to_list(arrays["event"]) == list(range(1, 61))
    assert ak.to_list(arrays["luminosityBlock"]) == [1 + event // 20 for event in range(60)]


def test_provenance_reads_through_uproot(small):
    with uproot.open(small.path) as file:
        found = json.loads(str(file["transferline"]))
    assert found == read_provenance(small.path)
    assert found["process"] == "ttbar_1l"
    assert (found["n"], found["seed"], found["mpi"]) == (60, 1, False)
    assert found["filter"]["tried"] == small.tried
    assert found["cross_section"]["pb"] == 365.4
    assert found["cross_section_pythia"]["error"] > 0.0
    assert "PartonLevel:MPI = off" in found["settings"][0]
    json.dumps(summary_json(small))


def test_content_does_not_depend_on_the_number_of_jobs(small, tmp_path):
    assert same_events(small.path, make(tmp_path / "two.root", jobs=2).path)


def test_content_does_not_depend_on_the_executor(small, tmp_path):
    with ThreadPoolExecutor(1) as executor:
        assert same_events(small.path, make(tmp_path / "t.root", executor=executor).path)


def test_seeds_differ(small, tmp_path):
    assert not same_events(small.path, make(tmp_path / "other.root", seed=2).path)


def test_interrupted_generation_resumes(small, tmp_path, monkeypatch, capsys):
    out = tmp_path / "resumed.root"
    parts = tmp_path / "resumed.root.parts"
    original = module.generate_block
    made = []

    def until_the_third(configuration, block, n, path):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(block)
        return original(configuration, block, n, path)

    monkeypatch.setattr(module, "generate_block", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        make(out)
    assert "repeat the command to resume" in capsys.readouterr().err
    assert sorted(p.name for p in parts.glob("block*")) == ["block-00000.npz", "block-00001.npz"]
    assert not out.exists()
    (parts / "block-00000.npz").unlink()
    made.clear()
    make(out)
    assert made == [0, 2]
    assert not parts.exists()
    assert same_events(small.path, out)


def test_a_finished_file_is_left_as_it_is(small):
    before = small.path.stat().st_mtime_ns
    again = make(small.path)
    assert small.path.stat().st_mtime_ns == before
    assert (again.tried, again.sum_weight) == (small.tried, small.sum_weight)


@pytest.mark.parametrize("beside", [False, True], ids=["in place", "beside"])
@pytest.mark.parametrize("at_once", [1, 10])
def test_a_sample_grows_without_making_again_what_there_is(
    small, tmp_path, monkeypatch, beside, at_once
):
    out = tmp_path / "grown.root"
    first = tmp_path / "first.root" if beside else out
    make(first, n=40)
    original, made = module.generate_block, []

    def counted(configuration, block, n, path):
        if not made:
            made.append("stopped")
            raise KeyboardInterrupt
        made.append(block)
        return original(configuration, block, n, path)

    monkeypatch.setattr(module, "generate_block", counted)
    monkeypatch.setattr(growth, "_BLOCKS_AT_ONCE", at_once)
    with pytest.raises(KeyboardInterrupt):
        make(out, smaller=[first])
    grown = make(out, smaller=[first] if beside else [])
    assert made == ["stopped", 2]
    assert same_events(small.path, out)
    assert (grown.tried, grown.passed) == (small.tried, small.passed)
    for name in ("sum_weight", "sum_weight2"):
        assert getattr(grown, name) == pytest.approx(getattr(small, name), rel=1e-12)
    for name in ("cross_section_generator", "cross_section_generator_error"):
        # From the one estimate of two blocks: by how many events were tried, not by each of them.
        assert getattr(grown, name) == pytest.approx(getattr(small, name), rel=0.02)
    assert read_provenance(out)["n"] == 60
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_blocks_that_were_made_count_as_those_that_were_taken(small, tmp_path, monkeypatch):
    """A file tells the sums of all its blocks: shares of them beside a block's own add wrongly."""
    out, first = tmp_path / "grown.root", tmp_path / "first.root"
    original, made = module.generate_block, []

    def until_the_second(configuration, block, n, path):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(block)
        return original(configuration, block, n, path)

    with monkeypatch.context() as patched:
        patched.setattr(module, "generate_block", until_the_second)
        with pytest.raises(KeyboardInterrupt):
            make(out)
    make(first, n=40)
    assert make(out, smaller=[first]).tried == small.tried


@pytest.mark.parametrize(
    "changes", [{"n": 80}, {"n": 50}, {"n": 40, "seed": 2}, {"n": 40, "block_size": 10}], ids=str
)
def test_only_whole_blocks_of_the_same_sample_are_a_beginning(changes, tmp_path, monkeypatch):
    """More events, a part of a block, another seed and other blocks are none."""
    other = tmp_path / "other.root"
    make(other, **changes)
    taken = []
    monkeypatch.setattr(module, "take_blocks", lambda *given: taken.append(given))
    make(tmp_path / "out.root", smaller=[other, tmp_path / "none.root"])
    assert taken == []


def test_a_second_process_waits_for_the_first(small, tmp_path, capsys):
    out = tmp_path / "out.root"
    parts = tmp_path / "out.root.parts"
    parts.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with alone_in(parts):
            second = pool.submit(make, out)
            while "waiting for it" not in capsys.readouterr().err:
                time.sleep(0.05)
            shutil.copy(small.path, out)  # what the first one makes
            before = out.stat().st_mtime_ns
        assert second.result(timeout=60).tried == small.tried
    assert out.stat().st_mtime_ns == before
    assert not parts.exists()


def test_another_configuration_is_refused(small, tmp_path):
    with pytest.raises(DataError, match="was generated differently"):
        make(small.path, seed=7)
    (tmp_path / "text.root").write_text("not a ROOT file")
    with pytest.raises(DataError, match="not a generated sample"):
        make(tmp_path / "text.root")


def test_blocks_of_another_configuration_are_refused(tmp_path, monkeypatch):
    out = tmp_path / "mixed.root"
    with monkeypatch.context() as patched:
        patched.setattr(module, "_merge", lambda *_: (_ for _ in ()).throw(KeyError("stop")))
        with pytest.raises(KeyError):
            make(out, n=20)
    block = tmp_path / "mixed.root.parts" / "block-00000.npz"
    count, _ = read_count(block)
    table = load_block(block)
    assert count.events == table.n == 20
    with pytest.raises(DataError, match="blocks of another configuration"):
        make(out, n=20, seed=5)
    for left in (1000, 0):
        block.write_bytes(block.read_bytes()[:left])
        with pytest.raises(DataError, match="not a block of generated events"):
            make(out, n=20)
    shutil.rmtree(block.parent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"process": "ttbar_3l"}, "Unknown process 'ttbar_3l'"),
        ({"detector": "cmss"}, "Did you mean 'cms'"),
        ({"filter": "leptons"}, "Did you mean 'lepton'"),
        ({"tune": "cp6"}, "Did you mean 'cp5'"),
        ({"n": 0}, "must be positive"),
        ({"process": "external"}, "needs --lhe"),
    ],
)
def test_wrong_requests_name_what_is_wrong(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        make(tmp_path / "x.root", **changes)


def test_missing_pythia_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pythia8mc", None)
    with pytest.raises(ConfigError, match=r"transferline\[generate\]"):
        generate_events("ttbar", tmp_path / "x.root", n=1, seed=1)


def test_second_detector_gives_other_events(small, tmp_path):
    atlas = read_arrays(make(tmp_path / "atlas.root", n=20, detector="atlas").path)
    cms = read_arrays(small.path)
    # The same generated events: only what the detector measures changes.
    assert np.allclose(np.sort(cms["GenMET_pt"][:20]), np.sort(atlas["GenMET_pt"]))
    assert not np.allclose(np.sort(cms["MET_pt"][:20]), np.sort(atlas["MET_pt"]))
