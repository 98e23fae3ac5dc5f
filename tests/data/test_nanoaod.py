from __future__ import annotations

import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from transferline.data.readers import nanoaod
from transferline.data.readers.base import MissingBranchWarning, SkippedFileWarning
from transferline.data.readers.jet_id import jet_id
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.nanoaod_branches import detect_version
from transferline.data.selections import needed_columns, selection
from transferline.errors import DataError

from . import nanoaod_files as files


@pytest.fixture(scope="module")
def events():
    return files.random_events(300, seed=3)


@pytest.mark.parametrize("version", [9, 12, 15])
@pytest.mark.parametrize("rntuple", [False, True], ids=["ttree", "rntuple"])
def test_every_version_gives_the_same_columns(tmp_path, events, version, rntuple):
    path = files.write(tmp_path / "a.root", events, version=version, rntuple=rntuple)
    reader = NanoAOD(files=[str(path)])
    (read,) = reader.chunks()
    assert reader.source(str(path)).format == f"NanoAODv{version}"
    assert np.array_equal(read.id, events.id)
    assert np.array_equal(read.weight, events.weight)
    for name, expected in events.particles.items():
        found = read.particles[name]
        for column in set(expected.fields) - {"pu_id", "jet_id"}:
            assert ak.all(found[column] == expected[column]), f"{name}.{column}"
    central = abs(events.particles["jet"].eta) < 2.6  # what v15 computes differs beyond
    tight = (read.particles["jet"].jet_id >> 1) & 1
    assert ak.all((tight == (events.particles["jet"].jet_id > 0))[central])
    assert ("pu_id" in read.particles["jet"].fields) == (version == 9)


@pytest.mark.parametrize(
    ("branches", "version"),
    [
        ({"PFMET_pt", "Jet_btagPNetB"}, "v15"),
        ({"Jet_btagUParTAK4B", "Jet_btagDeepFlavB"}, "v15"),
        ({"Jet_btagPNetB", "Tau_idDeepTau2018v2p5VSjet"}, "v12"),
        ({"Tau_idDeepTau2018v2p5VSjet", "Electron_mvaIso_WP90"}, "v11"),
        ({"Electron_mvaIso_WP90"}, "v10"),
        ({"Jet_btagDeepFlavB", "Electron_scEtOverPt"}, "v9"),
        ({"Jet_btagCMVA", "Jet_btagDeepFlavB"}, "v7 or older"),
        ({"Jet_btagDeepFlavB"}, "v9"),
    ],
)
def test_version_comes_from_branches_with_a_reason(branches, version):
    found = detect_version(branches)
    assert str(found) == version
    assert found.reason


def test_only_the_branches_asked_for_are_read(tmp_path, events):
    path = files.write(tmp_path / "a.root", events, drop=["Muon_mediumId", "Tau_mass"])
    (read,) = NanoAOD(files=[str(path)]).chunks({"muon": ["pt", "tight_id"], "met": ["pt"]})
    assert read.particles["muon"].fields == ["pt", "tight_id"]
    assert read.particles["met"].fields == ["pt"]
    assert set(read.particles) == {"muon", "met"}


def test_chunks_do_not_change_the_result(tmp_path, events):
    first = files.write(tmp_path / "a.root", events, basket=70)
    second = files.write(tmp_path / "b.root", files.random_events(101, 5, first=300))
    reader = NanoAOD(files=[str(first), str(second)])
    whole = files.join(reader.chunks())
    assert len(whole) == 401
    for size in (23, 100, 401):
        assert files.equal(whole, files.join(reader.chunks(chunk_size=size)))


def test_sums_of_weights_are_those_before_any_cut(tmp_path, events):
    path = files.write(tmp_path / "a.root", events)
    source = NanoAOD(files=[str(path)]).source(str(path))
    assert source.count == 300
    assert source.sum_weight == pytest.approx(events.weight.sum())
    assert source.sum_weight2 == pytest.approx((events.weight**2).sum())


def test_a_file_without_runs_has_no_sums(tmp_path, events):
    path = files.write(tmp_path / "a.root", events, runs=False)
    source = NanoAOD(files=[str(path)]).source(str(path))
    assert (source.count, source.sum_weight) == (None, None)


def test_collision_data_have_weight_one(tmp_path, events):
    path = files.write(tmp_path / "a.root", events, simulation=False, runs=False)
    reader = NanoAOD(files=[str(path)])
    (read,) = reader.chunks({"met": ["pt"]})
    assert np.all(read.weight == 1)
    source = reader.source(str(path))
    assert (source.is_simulation, source.sum_weight) == (False, 300.0)


def test_simulation_without_weights_is_refused(tmp_path, events):
    path = files.write(tmp_path / "a.root", events, drop=["genWeight"])
    with pytest.raises(DataError, match="no branch genWeight"):
        list(NanoAOD(files=[str(path)]).chunks())


def test_missing_triggers_and_filters_are_counted_once(tmp_path, events):
    whole = files.write(tmp_path / "a.root", events)
    lacking = ["HLT_IsoTkMu24", "Flag_BadPFMuonDzFilter"]
    part = files.write(tmp_path / "b.root", events, drop=lacking)
    with pytest.warns(MissingBranchWarning) as caught:
        read = files.join(
            NanoAOD(files=[str(whole), str(part)]).chunks({"context": lacking}, chunk_size=99)
        )
    assert len(caught) == 1
    assert "HLT_IsoTkMu24 (1 of 2 files)" in str(caught[0].message)
    assert not read.context["HLT_IsoTkMu24"][300:].any()
    assert read.context["Flag_BadPFMuonDzFilter"][300:].all()


def test_a_missing_branch_is_named_with_its_neighbours(tmp_path, events):
    path = files.write(tmp_path / "a.root", events, drop=["Muon_tightId"])
    with pytest.raises(DataError) as caught:
        list(NanoAOD(files=[str(path)]).chunks(needed_columns(selection("pretraining"))))
    text = str(caught.value)
    assert "a.root" in text
    assert "Muon_tightId" in text
    assert "Nearest: Muon_" in text


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"muons": ["pt"]}, "no collection 'muons'. Did you mean 'muon'"),
        ({"muon": ["ptt"]}, "no column 'ptt'. Did you mean 'pt'"),
        ({"context": ["rho"]}, "no branch rho"),
    ],
)
def test_columns_that_do_not_exist(tmp_path, events, columns, message):
    path = files.write(tmp_path / "a.root", events)
    with pytest.raises(DataError, match=message):
        list(NanoAOD(files=[str(path)]).chunks(columns))


def _truncated(path, events):
    files.write(path, events)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwritten(path, events):
    """Spoil the middle, where the baskets are: length and directory stay right."""
    files.write(path, events, basket=60)
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = b"\xab" * third
    path.write_bytes(content)


CORPUS = {
    # name: how to make it, what the error must say
    "missing": (lambda path, events: None, "cannot be opened"),
    "directory": (lambda path, events: path.mkdir(), "is a directory"),
    "empty": (lambda path, events: path.touch(), "is empty"),
    "text": (lambda path, events: path.write_text("<html>502</html>"), "not a ROOT file"),
    "header only": (lambda path, events: path.write_bytes(b"root\0\0"), "truncated"),
    "wrong tree": (
        lambda path, events: files.write(path, events, tree="events"),
        "no tree 'Events'.*'events'",
    ),
    "truncated": (_truncated, "is truncated"),
    "no identity": (
        lambda path, events: files.write(path, events, drop=["luminosityBlock"]),
        "no branch luminosityBlock",
    ),
    "overwritten": (_overwritten, "cannot be read"),
}


@pytest.mark.parametrize("how", CORPUS)
def test_bad_files_get_one_clear_error(tmp_path, events, how):
    path = tmp_path / "bad.root"
    make, message = CORPUS[how]
    make(path, events)
    with pytest.raises(DataError, match=message) as caught:
        list(NanoAOD(files=[str(path)]).chunks())
    assert "bad.root" in str(caught.value)


@pytest.mark.parametrize("how", [how for how in CORPUS if how != "overwritten"])
def test_bad_files_are_skipped_on_request(tmp_path, events, how):
    good = files.write(tmp_path / "good.root", events)
    CORPUS[how][0](tmp_path / "bad.root", events)
    reader = NanoAOD(files=[str(tmp_path / "bad.root"), str(good)], skip_bad=True)
    with pytest.warns(
        SkippedFileWarning, match=r"1 damaged or unreachable files left out:\n.*bad\.root"
    ):
        assert len(files.join(reader.chunks())) == 300


def test_wildcards_are_sorted_and_must_match(tmp_path, events):
    for name in ("b.root", "a.root"):
        files.write(tmp_path / name, events)
    reader = NanoAOD(files=[str(tmp_path / "*.root"), str(tmp_path / "a.root")])
    assert [path[-6:] for path in reader.paths()] == ["a.root", "b.root"]
    with pytest.raises(DataError, match="no file matches"):
        NanoAOD(files=[str(tmp_path / "*.parquet")]).paths()


def test_provenance_that_is_no_json_is_an_error(tmp_path, events):
    path = files.write(tmp_path / "a.root", events)
    with uproot.update(path) as file:
        file["transferline"] = "{broken"
    with pytest.raises(DataError, match="JSON"):
        NanoAOD(files=[str(path)]).source(str(path))


def test_jet_id_follows_the_recommendation():
    base = {"eta": 0.0, "chHEF": 0.5, "neHEF": 0.2, "chEmEF": 0.1, "neEmEF": 0.1, "muEF": 0.0}
    base |= {"chMultiplicity": 10, "neMultiplicity": 10}
    cases = [
        ({}, 6),
        ({"muEF": 0.9}, 2),
        ({"chEmEF": 0.85}, 2),
        ({"neHEF": 0.995}, 0),
        ({"neEmEF": 0.95}, 0),
        ({"chHEF": 0.0}, 0),
        ({"chMultiplicity": 0}, 0),
        ({"chMultiplicity": 1, "neMultiplicity": 0}, 0),
        ({"eta": -2.65, "neHEF": 0.95}, 0),
        ({"eta": -2.65, "chHEF": 0.0, "muEF": 0.9}, 2),
        ({"eta": 2.9, "neEmEF": 1.0, "muEF": 0.9}, 6),
        ({"eta": 3.5, "neEmEF": 0.3, "neMultiplicity": 2}, 6),
        ({"eta": 3.5, "neEmEF": 0.5}, 0),
        ({"eta": -3.5, "neMultiplicity": 1}, 0),
    ]
    rows = [base | change for change, _ in cases]
    columns = {name: np.array([row[name] for row in rows]) for name in base}
    assert jet_id(columns).tolist() == [bits for _, bits in cases]


# Real files of CMS.

REAL = {
    # name: version, events, simulation, weights before cuts known
    "nano_dy.root": ("v7 or older", 40, True, True),
    "nano_tt_v12.root": ("v12", 200, True, False),
    "nano_tt_v15.root": ("v15", 200, True, False),
    "nano_dimuon.root": ("v7 or older", 40, False, True),
    "nano_dy_empty.root": ("v7 or older", 0, True, False),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(real_data, tmp_path, name):
    version, n, is_simulation, known = REAL[name]
    path = Path(shutil.copy(real_data / name, tmp_path))
    reader = NanoAOD(files=[str(path)])
    columns = reader.columns()
    columns["context"] = columns["context"][:5]  # of hundreds of triggers
    source = reader.source(str(path), columns)
    assert source.format == f"NanoAOD{version}"
    assert source.entries == n
    assert source.is_simulation is is_simulation
    assert (source.sum_weight is not None) is known
    chunks = list(reader.chunks(columns, chunk_size=n // 2 + 1))
    assert sum(len(chunk) for chunk in chunks) == n
    if n:
        assert files.equal(files.join(reader.chunks(columns)), files.join(chunks))
    with path.open("r+b") as handle:
        handle.truncate(60_000)
    with pytest.raises(DataError, match=name):
        list(reader.chunks())


def test_2015_open_data(shared_data):
    """Private production in the v9 layout: old tau identification, no `Runs`, signed weights."""
    path = str(shared_data / "nanoAOD_2015_CMS_Open_Data_ttbar.root")
    reader = NanoAOD(files=[path])
    assert reader.source(path).format == "NanoAODv9"
    assert "vs_jet_level" not in reader.columns()["tau"]
    (read,) = reader.chunks({"jet": ["btagDeepFlavB"], "tau": ["decay_mode"]})
    assert len(read) == 200
    assert (read.weight < 0).any()
    with pytest.raises(DataError, match=r"no branch Tau_idDeepTau2018v2p5VSjet or"):
        reader.source(path, {"tau": ["vs_jet_level"]})


@pytest.mark.parametrize(
    ("is_mask", "values", "message"),
    [
        (True, [1, 3, 4], "taken for a bit mask, as in NanoAODv9 and before, but holds 4"),
        (False, [1, 3, 15], "taken for a level, as in NanoAODv10 and later, but holds 15"),
    ],
)
def test_a_level_taken_for_a_mask_is_an_error(is_mask, values, message):
    """A skim loses CMS's titles and the branches that tell its version."""
    with pytest.raises(DataError, match=rf"a\.root: Tau_x: is {message}"):
        nanoaod._level(np.array(values, np.uint8), is_mask, "a.root: Tau_x")
    good = np.array([0, 1, 3, 7], np.uint8) if is_mask else np.array([0, 1, 2, 3], np.uint8)
    assert nanoaod._level(good, is_mask, "").tolist() == [0, 1, 2, 3]


def test_tau_levels_agree_between_mask_and_level(real_data):
    """In nano_dy.root the mask is nested, so the level is the number of its bits."""
    path = str(real_data / "nano_dy.root")
    (read,) = NanoAOD(files=[path]).chunks({"tau": ["vs_jet_level"]})
    with uproot.open(path) as file:
        mask = ak.flatten(file["Events"]["Tau_idDeepTau2017v2p1VSjet"].array())
    bits = [bin(value).count("1") for value in mask]
    assert ak.flatten(read.particles["tau"].vs_jet_level).tolist() == bits
    assert max(bits) > 4
