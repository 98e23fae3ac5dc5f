"""Generated jets: layout, labels, momenta, truth, determinism."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot

from transferline.data.layouts.jetclass import CLASSES, FLAGS
from transferline.data.readers.jetclass import JetClass
from transferline.errors import ConfigError, DataError
from transferline.generate.large_jets.card import load_jet_card
from transferline.generate.large_jets.classes import jet_class
from transferline.generate.nanoaod import read_provenance

from .conftest import make, read

FLOAT, INT, BOOL = "float", "int32_t", "bool"
PARTICLES = {
    **{f"part_{name}": FLOAT for name in ("px", "py", "pz", "energy", "deta", "dphi")},
    **{f"part_{name}": FLOAT for name in ("d0val", "d0err", "dzval", "dzerr", "charge")},
    **{f"part_is{name}": INT for name in ("ChargedHadron", "NeutralHadron", "Photon")},
    **{f"part_is{name}": INT for name in ("Electron", "Muon")},
}
JETS = {
    "label_QCD": FLOAT,
    **{f"label_{name}": BOOL for name in ("Hbb", "Hcc", "Hgg", "H4q", "Hqql")},
    **{f"label_{name}": INT for name in ("Zqq", "Wqq", "Tbqq", "Tbl")},
    **{f"jet_{name}": FLOAT for name in ("pt", "eta", "phi", "energy", "nparticles", "sdmass")},
    **{f"jet_tau{n}": FLOAT for n in (1, 2, 3, 4)},
    **{f"aux_genpart_{name}": FLOAT for name in ("eta", "phi", "pid", "pt")},
    "aux_truth_match": FLOAT,
}
MATCH = {"QCD": {50}, "Hbb": {41}, "Hcc": {42}, "Hgg": {44}, "H4q": {45}, "Hqql": {46}}
MATCH |= {"Zqq": {31, 32, 33}, "Wqq": {21, 22}, "Tbqq": {11, 12}, "Tbl": {15, 16}}
RESONANCE = {"H": 25, "Z": 23, "W": 24, "T": 6}


def same_jets(first, second):
    one, other = read(first), read(second)
    return one.fields == other.fields and all(ak.array_equal(one[k], other[k]) for k in one.fields)


def test_layout_is_that_of_jetclass(made):
    with uproot.open(made("Hbb").path) as file:
        assert file.classnames(cycle=False) == {"tree": "TTree", "transferline": "TObjString"}
        lists = {name: f"{kind}[]" for name, kind in PARTICLES.items()}
        assert file["tree"].typenames() == {"npart": INT, **lists, **JETS}


@pytest.mark.parametrize("name", CLASSES)
def test_jets_of_every_class(name, made):
    jets = read(made(name).path)
    assert len(jets) == 12
    for other in CLASSES:
        assert ak.to_list(jets[f"label_{other}"]) == [other == name] * 12
    assert ak.all((jets.jet_pt > 500) & (jets.jet_pt < 1000) & (abs(jets.jet_eta) < 2))
    assert set(ak.to_list(jets.aux_truth_match)) <= MATCH[name]
    resonance = RESONANCE.get(name[0])
    if resonance:
        assert set(np.abs(ak.to_numpy(jets.aux_genpart_pid))) == {resonance}
        dphi = (jets.jet_phi - jets.aux_genpart_phi + np.pi) % (2 * np.pi) - np.pi
        assert ak.all(np.hypot(jets.jet_eta - jets.aux_genpart_eta, dphi) < 0.8)
    check_particles(jets)


def check_particles(jets):
    px, py = jets.part_px, jets.part_py
    total = np.hypot(ak.sum(px, axis=1), ak.sum(py, axis=1))
    assert np.allclose(total, jets.jet_pt, rtol=1e-4)
    # Tracks are stored as they leave the tracker.
    assert np.allclose(ak.sum(jets.part_energy, axis=1), jets.jet_energy, rtol=0.05)
    assert ak.all(ak.num(px) == jets.jet_nparticles)
    pt = np.hypot(px, py)
    assert ak.all(pt[:, 1:] <= pt[:, :-1] + 1e-4)
    eta = np.arcsinh(jets.part_pz / pt)
    sign = np.where(jets.jet_eta > 0, 1, -1)
    assert np.allclose(
        ak.flatten(sign * (eta - jets.jet_eta)), ak.flatten(jets.part_deta), atol=1e-4
    )
    assert ak.all(abs(jets.part_dphi) < 1)
    flags = [jets[name] for name in FLAGS]
    assert ak.all(sum(flags) == 1)
    track = jets.part_isChargedHadron + jets.part_isElectron + jets.part_isMuon == 1
    assert ak.all(track == (jets.part_charge != 0))
    for value in ("d0", "dz"):
        measured = pt > 0.6  # softer ones may have had too little momentum for an error
        assert ak.all((track == (jets[f"part_{value}err"] > 0))[~track | measured])
        assert ak.all(track | (jets[f"part_{value}val"] == 0))
    taus = np.stack([ak.to_numpy(jets[f"jet_tau{n}"]) for n in (1, 2, 3, 4)], axis=1)
    assert np.all((taus > 0) & (taus < 1))
    assert np.all(np.diff(taus) < 0)


def test_masses_are_those_of_the_resonances(made):
    medians = {name: np.median(read(made(name).path).jet_sdmass) for name in CLASSES}
    assert medians["QCD"] < 60 < medians["Wqq"] < 100
    assert 100 < medians["Hbb"] < 135 < medians["Tbqq"] < 200


def test_tracks_from_b_quarks_are_displaced(made):
    def displaced(name):
        jets = read(made(name).path)
        track = jets.part_isChargedHadron == 1
        significance = abs(jets.part_d0val[track] / jets.part_d0err[track])
        return ak.mean(ak.sum((significance > 5) & (abs(jets.part_d0val[track]) < 5), axis=1))

    b, light = displaced("Hbb"), displaced("QCD")
    assert b > 2 * light


def test_leptons_of_leptonic_classes_are_in_the_jet(made):
    for name in ("Hqql", "Tbl"):
        jets = read(made(name).path)
        lepton = (jets.part_isElectron == 1) | (jets.part_isMuon == 1)
        pt = np.hypot(jets.part_px, jets.part_py)[lepton]
        assert ak.mean(ak.any(pt > 20, axis=1)) > 0.7


def test_reader_finds_what_was_written(made):
    path = made("Tbqq").path
    (events,) = JetClass(files=[str(path)]).chunks(None)
    jets = read(path)
    assert events.labels["Tbqq"].tolist() == [1] * 12
    assert np.allclose(events.context["jet_sdmass"], jets.jet_sdmass)
    found = events.particles["constituent"]
    assert np.allclose(ak.flatten(found.pt), ak.flatten(np.hypot(jets.part_px, jets.part_py)))
    assert ak.array_equal(ak.values_astype(found.d0err, np.float32), jets.part_d0err)


def test_content_does_not_depend_on_jobs_and_resumes(made, tmp_path):
    assert same_jets(made("Hbb").path, make(tmp_path / "two.root", jobs=2).path)


def test_seeds_and_detectors_differ(made, tmp_path):
    assert not same_jets(made("Hbb").path, make(tmp_path / "other.root", seed=2).path)
    atlas = make(tmp_path / "atlas.root", detector="atlas")
    assert not same_jets(made("Hbb").path, atlas.path)
    with pytest.raises(DataError, match="was generated differently"):
        make(atlas.path)


def test_interrupted_generation_resumes(made, tmp_path, monkeypatch, capsys):
    import transferline.generate.large_jets.sample as module

    original = module.generate_jet_block

    def first_only(configuration, block, n, path):
        if block > 0:
            raise KeyboardInterrupt
        return original(configuration, block, n, path)

    out = tmp_path / "resumed.root"
    with monkeypatch.context() as patched:
        patched.setattr(module, "generate_jet_block", first_only)
        with pytest.raises(KeyboardInterrupt):
            make(out)
    assert "repeat the command to resume" in capsys.readouterr().err
    made_before = (out.with_name("resumed.root.parts") / "block-00000.npz").stat().st_mtime_ns
    assert made_before > 0
    assert not out.exists()
    make(out)
    assert same_jets(made("Hbb").path, out)


def test_provenance_tells_how_a_file_was_made(made):
    found = read_provenance(made("Tbl").path)
    assert (found["kind"], found["process"], found["n"]) == (
        "transferline generate jets",
        "Tbl",
        12,
    )
    assert "ParticleDecays:limitTau0 = off" in found["settings"][0]
    assert found["filter"]["tried"] >= found["filter"]["passed"] > 0


def test_wrong_requests_name_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match=r"Unknown class of jets 'Hbbb'. Did you mean 'Hbb'"):
        make(tmp_path / "x.root", "Hbbb")
    with pytest.raises(ConfigError, match="Did you mean 'cms'"):
        make(tmp_path / "x.root", detector="cmss")
    with pytest.raises(ConfigError, match="must be positive"):
        make(tmp_path / "x.root", n=0)


def test_cards_and_classes_are_whole():
    assert load_jet_card("atlas").jets == load_jet_card("cms").jets.model_copy(
        update={"source": load_jet_card("atlas").jets.source}
    )
    assert {jet_class(name).resonance for name in CLASSES} == {0, 6, 23, 24, 25}
