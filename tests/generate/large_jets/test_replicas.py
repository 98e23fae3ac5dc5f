"""Replicas: one hard process in several showers, the same object in a row, determinism."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, replace

import awkward as ak
import numpy as np
import pytest
import uproot

from transferline.data.readers.jetclass import JetClass
from transferline.errors import ConfigError
from transferline.generate.ancestry import hard_process
from transferline.generate.large_jets import blocks
from transferline.generate.large_jets.card import load_jet_card
from transferline.generate.large_jets.classes import jet_class
from transferline.generate.large_jets.content import Found
from transferline.generate.large_jets.jets import Jets
from transferline.generate.large_jets.matching import Decays, direction
from transferline.generate.large_jets.production import configure
from transferline.generate.large_jets.replica_content import same_objects
from transferline.generate.large_jets.settings import generator_cards, replica_settings
from transferline.generate.nanoaod import read_provenance
from transferline.generate.replicas import share_processes
from transferline.testing import check_reader

from .conftest import make, read

N = 6
OPTIONS = {"n": N, "block_size": 3, "replicas": 2}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make(tmp_path_factory.mktemp("pairs") / "pairs.root", "Tbqq", **OPTIONS)


def configuration(replicas, name="Tbqq", **changes):
    entry, card, how = jet_class(name), load_jet_card("cms"), {"mpi": False, "tune": "monash"}
    settings = {"seed": 1, "detector": "cms", "block_size": 3} | changes
    return configure(
        name,
        generator_cards(entry, card, "pythia", **how),
        entry.rule,
        **settings,
        replicas=replicas,
        showers=replica_settings(entry, card, replicas, "pythia", **how),
    )


def same_jets(first, second):
    one, other = read(first), read(second)
    return one.fields == other.fields and all(ak.array_equal(one[k], other[k]) for k in one.fields)


def process_of(pythia):
    names = ("id", "status", "mother1", "mother2", "daughter1", "daughter2", "col", "acol")
    values = ("px", "py", "pz", "e", "m", "scale")
    record = pythia.process
    rows = [[getattr(record[i], x)() for x in names + values] for i in range(record.size())]
    return np.array(rows, float)


@pytest.fixture(scope="module")
def showered():
    run = configuration(3).run(0, 0)
    (truth,) = run.batches(7)
    return run, truth


def test_showers_begin_from_the_process_record_as_it_was_made(showered):
    run, _ = showered
    hard, shower = run._hard._pythia, run._shower._pythia
    made, given = process_of(hard), process_of(shower)
    assert made.shape == (15, 14)  # two tops and all that they and their W decay to
    assert np.allclose(given, made, rtol=1e-9, atol=1e-9)
    # Where showers of an internal process begin.
    assert shower.process.scale() == hard.process.scale() == hard.infoPython().QFac()
    assert shower.infoPython().scalup() == hard.infoPython().QFac()


def test_replicas_share_the_hard_process_and_nothing_else(showered):
    run, truth = showered
    assert truth.n == 9
    assert run.count.passed == 3
    assert share_processes(truth, 3)
    assert not share_processes(truth, 9)
    # The partons of the process; tops go on with other momenta, after other radiation.
    process = truth.p4[truth.offsets[:-1, None] + np.arange(3, 7)].reshape(3, 3, -1)
    assert np.ptp(process, axis=1).max() == 0
    assert np.ptp(process, axis=0).max() > 10
    hard = hard_process(truth)
    tops = hard.p4[np.abs(hard.pdg_id) == 6].reshape(3, 3, -1)
    assert np.ptp(tops, axis=1).min(axis=1).max() > 1
    assert np.ptp(hard.pdg_id.reshape(3, 3, -1), axis=1).max() == 0
    # The W decay as they did, whatever recoiled against them: into the same masses.
    quarks = hard.p4[hard.status == 23].reshape(3, 3, -1, 4)
    for first, second in ((2, 3), (4, 5)):
        total = quarks[:, :, first] + quarks[:, :, second]
        mass = np.sqrt(total[..., 3] ** 2 - (total[..., :3] ** 2).sum(axis=-1))
        assert np.allclose(mass, mass[:, :1], rtol=1e-6)
        assert len(np.unique(mass[:, 0].round(3))) == 3
    sizes = np.diff(truth.offsets).reshape(3, 3)
    assert all(len(set(row)) == 3 for row in sizes.tolist())


def test_rows_are_replicas_of_the_same_object(pairs):
    with uproot.open(pairs.path) as file:
        assert "RNTuple" in file.classnames(cycle=False)["tree"]
    jets = read(pairs.path)
    assert ak.num(jets.jet_pt).to_list() == [2] * N
    pid, eta, phi, pt = (
        ak.to_numpy(jets[name]) for name in ("aux_genpart_pid", "jet_eta", "jet_phi", "jet_pt")
    )
    assert np.all(np.abs(pid) == 6)
    assert np.all(pid[:, 0] == pid[:, 1])
    assert np.all((pt > 500) & (pt < 1000))
    dphi = (phi[:, 0] - phi[:, 1] + np.pi) % (2 * np.pi) - np.pi
    assert np.all(np.hypot(eta[:, 0] - eta[:, 1], dphi) < 1.0)
    assert np.all(pt[:, 0] != pt[:, 1])
    match = ak.to_numpy(jets.aux_truth_match)
    assert np.all(match[:, 0] == match[:, 1])
    assert ak.all(ak.num(jets.part_px, axis=2) == jets.jet_nparticles)
    px = ak.sum(jets.part_px, axis=2)
    py = ak.sum(jets.part_py, axis=2)
    assert np.allclose(np.hypot(px, py), jets.jet_pt, rtol=1e-4)
    assert read_provenance(pairs.path)["replicas"] == 2
    assert pairs.replicas == 2


def p4_of(pt, eta, phi):
    pt, eta, phi = np.broadcast_arrays(pt, eta, phi)
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], 1)


def test_same_objects_are_paired_whatever_their_order_and_the_nearest_jet_counts():
    # Two processes with two replicas each: tops (6) and antitops (-6) at phi = 0 and 3.
    event, phi = np.repeat(np.arange(4), 2), np.tile([0.0, 3.0], 4)
    p4 = p4_of(600.0, 0.1, phi)
    decays = Decays(event, np.tile([6, -6], 4), p4, np.arange(9), direction(p4), np.full(8, 5))
    # (event, phi, decay): of process 0 both pair up; the antitop of process 1 is lost once.
    rows = [(0, 3.0, 1), (0, 0.0, 0), (1, 0.5, 2), (1, 0.1, 2), (1, 3.0, 3), (1, 1.5, -1)]
    rows += [(2, 0.0, 4), (2, 3.0, 5), (3, 0.0, 6)]
    jet_event, jet_phi, match = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    jets = Jets(jet_event, p4_of(600.0, 0.1, jet_phi), np.zeros(n + 1, int), np.zeros(0, int))
    found = Found(None, jets, decays, match)
    assert same_objects(found, 4, 2).tolist() == [[1, 3], [0, 4], [6, 8]]
    # Were the records of two replicas to differ, they would not be paired.
    other = replace(decays, pdg_id=np.array([6, -6, -6, 6, 6, -6, 6, -6]))
    assert same_objects(replace(found, decays=other), 4, 2).tolist() == [[6, 8]]
    assert same_objects(found.take(np.zeros(0, int)), 4, 2).shape == (0, 2)


def test_content_depends_neither_on_jobs_nor_on_an_interruption(
    pairs, tmp_path, monkeypatch, capsys
):
    import transferline.generate.large_jets.sample as module

    original, out = module.generate_jet_block, tmp_path / "resumed.root"

    def second_only(configuration, block, n, path):
        if block == 0 and stopping:
            raise KeyboardInterrupt
        return original(configuration, block, n, path)

    stopping = False
    monkeypatch.setattr(module, "generate_jet_block", second_only)
    with monkeypatch.context() as patched:
        patched.setattr("transferline.generate.plan.Plan.missing", lambda plan: [1, 0])
        stopping = True
        with pytest.raises(KeyboardInterrupt):
            make(out, "Tbqq", **OPTIONS)
    assert "repeat the command to resume" in capsys.readouterr().err
    blocks = [p.name for p in (tmp_path / "resumed.root.parts").glob("block-*")]
    assert blocks == ["block-00001.npz"]
    monkeypatch.setattr(module, "generate_jet_block", original)
    make(out, "Tbqq", jobs=2, **OPTIONS)
    assert same_jets(pairs.path, out)


def test_the_reader_gives_pairs_and_single_jets(pairs):
    path = str(pairs.path)
    together, single = JetClass(files=[path], sets="events"), JetClass(files=[path])
    (events,), (jets,) = together.chunks(None), single.chunks(None)
    assert (len(events), len(jets)) == (N, 2 * N)
    assert jets.labels["Tbqq"].tolist() == [1] * 2 * N
    # Replicas share identity, and so fold and split.
    assert (jets.id == np.repeat(events.id, 2)).all()
    assert len(np.unique(events.id)) == N
    raw = read(pairs.path)
    assert ak.array_equal(events.particles["jet"].pt, raw.jet_pt)
    assert ak.array_equal(ak.num(events.particles["constituent"], axis=2), ak.num(raw.part_px, 2))
    assert ak.array_equal(ak.flatten(raw.jet_sdmass), jets.context["jet_sdmass"])
    for reader in (together, single):
        check_reader(reader)


def test_a_quark_is_paired_with_its_own_jet(tmp_path):
    made = read(make(tmp_path / "qcd.root", "QCD", n=2, block_size=2, replicas=3).path)
    assert ak.num(made.jet_pt).to_list() == [3, 3]
    parton = [ak.to_numpy(made[f"aux_genpart_{name}"]) for name in ("pt", "eta", "phi", "pid")]
    assert all(np.ptp(values, axis=1).max() == 0 for values in parton)
    dphi = (ak.to_numpy(made.jet_phi) - parton[2] + np.pi) % (2 * np.pi) - np.pi
    assert np.all(np.hypot(ak.to_numpy(made.jet_eta) - parton[1], dphi) < 0.8)
    assert np.all(parton[0] > 0)


def test_single_jets_keep_the_hash_that_they_had():
    one = configuration(1)
    old = {f.name for f in fields(one)} - {"replicas", "showers"}
    content = {k: v for k, v in asdict(one).items() if k in old}
    content |= {"jets_revision": blocks.REVISION}
    text = json.dumps(content, sort_keys=True)
    assert one.hash == hashlib.sha256(text.encode()).hexdigest()
    assert len({one.hash, configuration(2).hash, configuration(3).hash}) == 3
    # The showers are told nothing that would make hard processes of their own.
    assert not any(s.startswith(("Top:", "PhaseSpace:")) for s in configuration(2).showers[0])


def test_wrong_requests_name_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match="Only Pythia showers a hard process several times"):
        make(tmp_path / "x.root", "Tbqq", generator="sherpa", replicas=2)
    for replicas in (0, 101):
        with pytest.raises(ConfigError, match=f"1 to 100 replicas of a jet, not {replicas}"):
            make(tmp_path / "x.root", replicas=replicas)
