"""Readers of jets of constituents: columns, layouts, identities, and what is wrong with files."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transferline.data.events import CONSTITUENTS, SPECIES
from transferline.data.readers import READERS
from transferline.data.readers.delphes import Delphes
from transferline.data.readers.delphes_values import Found, constituent, raw_jets
from transferline.data.readers.hbb import Hbb
from transferline.data.readers.jetclass import JetClass
from transferline.data.readers.jetclass2 import JetClass2
from transferline.data.readers.pfnano import PFNano
from transferline.errors import ConfigError, DataError
from transferline.testing import check_reader

from . import jet_files as files

PER_EVENT = np.array([2, 0, 1, 3, 2, 1, 5, 2])
N = int(PER_EVENT.sum())
COLUMNS = ["pt", "eta", "phi", "mass", "charge", "d0", "d0err", "dz", "dzerr"]


@pytest.fixture(scope="module")
def jets():
    return files.random_jets(N, 5)


def read(reader, **options):
    (events,) = reader.chunks(**options)
    return events


def flat(events, name):
    return ak.to_numpy(ak.flatten(events.particles["constituent"][name], axis=None))


def check_against(events, jets, mass=1e-4):
    """The columns are those of the jets that were written; `mass` in GeV, as the file allows."""
    for name in COLUMNS:
        found, expected = flat(events, name), getattr(jets, name)
        error = files.wrapped(found - expected) if name == "phi" else found - expected
        tolerance = mass if name == "mass" else 2e-4 * (1 + np.abs(expected))
        assert (np.abs(error) < tolerance).all(), name
    assert (flat(events, "species") == files.CODES[jets.kind]).all()
    for i, name in enumerate(files.SPECIES):
        assert ((flat(events, f"is_{name}") == 1) == (jets.kind == i)).all()


def check_jets(events, jets):
    check_against(events, jets, mass=0.3)
    assert ak.num(events.particles["constituent"]).to_list() == jets.counts.tolist()
    for name in ("pt", "eta", "phi", "mass"):
        expected = getattr(jets, f"jet_{name}")
        assert events.context[f"jet_{name}"] == pytest.approx(expected, rel=1e-3, abs=0.3)
    assert events.context["jet_sdmass"] == pytest.approx(0.8 * jets.jet_mass, rel=1e-5)


def test_codes_of_events_are_what_they_were():
    assert list(SPECIES.values()) == list(range(8))
    assert {name: CONSTITUENTS[name] for name in ("electron", "muon", "photon")} == {
        name: SPECIES[name] for name in ("electron", "muon", "photon")
    }
    assert len(set(CONSTITUENTS.values())) == 5


# JetClass


def test_jetclass(tmp_path, jets):
    events = read(JetClass(files=[str(files.write_jetclass(tmp_path / "a.root", jets))]))
    check_jets(events, jets)
    assert {"jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4"} <= set(events.context)
    assert sorted(events.labels) == sorted(files.CLASSES)
    assert (
        np.stack([events.labels[c] for c in files.CLASSES]).argmax(0) == np.arange(N) % 10
    ).all()
    assert (events.weight == 1).all()


def test_the_identity_of_a_jet_is_the_jet(tmp_path, jets):
    """Neither the name of a file, nor its place in a list, nor the row decides on folds."""
    one = str(files.write_jetclass(tmp_path / "a.root", jets))
    (tmp_path / "b").mkdir()
    other = str(files.write_jetclass(tmp_path / "b" / "z.root", files.random_jets(9, 77)))
    both = list(JetClass(files=[other, one]).chunks())
    alone = read(JetClass(files=[one]))
    assert (both[1].id == alone.id).all()
    assert len(np.unique(np.concatenate([chunk.id for chunk in both]))) == N + 9


def test_only_what_is_asked_for_is_read(tmp_path, jets):
    path = files.write_jetclass(tmp_path / "a.root", jets, drop=["part_d0err", "jet_tau4"])
    reader = JetClass(files=[str(path)])
    columns = {"constituent": ["pt", "is_muon"], "context": ["jet_mass"]}
    events = read(reader, columns=columns)
    assert ak.fields(events.particles["constituent"]) == ["pt", "is_muon"]
    assert list(events.context) == ["jet_mass"]
    assert "d0err" not in reader.columns()["constituent"]
    assert "jet_tau4" not in reader.columns()["context"]
    assert read(reader, columns={"context": ["jet_pt"]}).particles == {}


def test_a_missing_branch_is_named_with_the_nearest(tmp_path, jets):
    energies = files.jetclass_branches(jets)["part_energy"]
    path = files.write_jetclass(
        tmp_path / "a.root", jets, drop=["part_energy", "jet_phi"], part_enrgy=energies
    )
    reader = JetClass(files=[str(path)])
    with pytest.raises(DataError) as caught:
        reader.source(str(path))
    text = str(caught.value)
    assert f"{path}: tree 'tree' has no branch jet_phi" in text
    assert "no branch part_energy (column constituent.mass). Nearest: part_enrgy" in text
    with pytest.raises(DataError, match=r"has no column 'constituent\.d0er'"):
        reader.source(str(path), {"constituent": ["d0er"]})
    with pytest.raises(DataError, match="has no 'electron'"):
        reader.source(str(path), {"electron": ["pt"]})


def test_a_foreign_file_is_named(tmp_path, jets):
    path = files.write_hbb_flat(tmp_path / "a.root", jets)
    with pytest.raises(DataError, match=r"a\.root: has no tree 'tree'; it holds .*deepntuplizer"):
        read(JetClass(files=[str(path)]))


@pytest.mark.parametrize(
    ("branch", "value", "what"),
    [
        ("part_px", np.nan, "a constituent has the pt nan, made from part_px, part_py"),
        ("part_energy", np.inf, "a constituent has the mass inf"),
    ],
)
def test_a_momentum_that_is_not_finite_is_damage(tmp_path, jets, branch, value, what):
    values = ak.to_numpy(ak.flatten(files.jetclass_branches(jets)[branch])).copy()
    values[7] = value
    path = files.write_jetclass(tmp_path / "a.root", jets, **{branch: jets.lists(values)})
    with pytest.raises(DataError, match=what) as caught:
        read(JetClass(files=[str(path)]))
    assert "number 4 of its jet, jet 2" in str(caught.value)


def test_a_particle_along_the_beam_is_damage(tmp_path, jets):
    both = {name: ak.to_numpy(ak.flatten(files.jetclass_branches(jets)[name])).copy()
            for name in ("part_px", "part_py")}  # fmt: skip
    for values in both.values():
        values[0] = 0
    changed = {name: jets.lists(values) for name, values in both.items()}
    path = files.write_jetclass(tmp_path / "a.root", jets, **changed)
    with pytest.raises(DataError, match="a constituent has the eta"):
        read(JetClass(files=[str(path)]))


def test_branches_of_another_type_or_length_are_named(tmp_path, jets):
    path = files.write_jetclass(tmp_path / "a.root", jets, part_charge=np.zeros(N, np.float32))
    with pytest.raises(DataError, match="branch part_charge holds 'float32' per entry, not lists"):
        read(JetClass(files=[str(path)]))
    fewer = ak.Array([row[:1] for row in files.jetclass_branches(jets)["part_charge"]])
    path = files.write_jetclass(tmp_path / "b.root", jets, part_charge=fewer)
    with pytest.raises(DataError, match="branch part_charge has other counts"):
        read(JetClass(files=[str(path)]))


def test_errors_that_are_not_finite_are_handed_on(tmp_path, jets):
    """The reader makes no choices; the selection does."""
    errors = ak.to_numpy(ak.flatten(files.jetclass_branches(jets)["part_d0err"])).copy()
    errors[3] = np.nan
    path = files.write_jetclass(tmp_path / "a.root", jets, part_d0err=jets.lists(errors))
    reader = JetClass(files=[str(path)])
    assert np.isnan(flat(read(reader), "d0err")[3])
    check_reader(reader)


def test_jets_without_particles_and_files_without_jets(tmp_path):
    none = files.random_jets(3, 1, counts=[0, 4, 0])
    events = read(JetClass(files=[str(files.write_jetclass(tmp_path / "a.root", none))]))
    assert ak.num(events.particles["constituent"]).to_list() == [0, 4, 0]
    empty = files.write_jetclass(tmp_path / "b.root", files.random_jets(0, 1))
    reader = JetClass(files=[str(empty)])
    assert reader.source(str(empty)).entries == 0
    assert list(reader.chunks()) == []


def test_jetclass_with_one_entry_per_hard_process(tmp_path, jets):
    path = files.write_replicas(tmp_path / "a.root", jets, PER_EVENT)
    single, together = (JetClass(files=[str(path)], sets=sets) for sets in ("jets", "events"))
    events = read(single)
    check_jets(events, jets)
    assert len(np.unique(events.id)) == (PER_EVENT > 0).sum()
    assert (events.id[:2] == events.id[0]).all()
    plain = read(JetClass(files=[str(files.write_jetclass(tmp_path / "b.root", jets))]))
    assert (plain.id[np.cumsum(PER_EVENT[:1])[0] - 2] == events.id[0]).all()
    assert (plain.labels["Hbb"] == events.labels["Hbb"]).all()
    nested = read(together)
    assert ak.num(nested.particles["jet"]).to_list() == PER_EVENT.tolist()
    check_against(nested, jets, mass=0.3)
    assert "label_Hbb" in ak.fields(nested.particles["jet"])
    assert single.source(str(path)).format == "JetClass, one entry per hard process"
    for reader in (single, together):
        check_reader(reader)


def test_events_of_single_jets_of_jetclass_are_refused(tmp_path, jets):
    path = files.write_jetclass(tmp_path / "flat.root", jets)
    reader = JetClass(files=[str(path)], sets="events")
    why = r"flat\.root: has one entry per jet, so it holds no events.*generate jets --replicas"
    for refused in (reader.columns, lambda: reader.source(str(path)), lambda: read(reader)):
        with pytest.raises(DataError, match=why):
            refused()
    # Recipes that were written before keep their digest.
    assert "sets" not in JetClass(files=[str(path)]).to_dict()


# JetClass-II


def test_jetclass2_is_jetclass_in_parquet(tmp_path, jets):
    events = read(JetClass2(files=[str(files.write_jetclass2(tmp_path / "a.parquet", jets))]))
    check_jets(events, jets)
    assert events.labels["jet_label"].tolist() == list(range(N))
    root = read(JetClass(files=[str(files.write_jetclass(tmp_path / "a.root", jets))]))
    assert (events.id == root.id).all()
    for name in ak.fields(root.particles["constituent"]):
        assert (flat(events, name) == flat(root, name)).all()


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_row_groups_do_not_matter(tmp_path, jets, size):
    path = files.write_jetclass2(tmp_path / "a.parquet", jets, row_group_size=5)
    reader, whole = (
        JetClass2(files=[str(path)]),
        read(JetClass2(files=[str(files.write_jetclass2(tmp_path / "b.parquet", jets))])),
    )
    chunks = list(reader.read(str(path), 3, 14, chunk_size=size))
    assert max(map(len, chunks)) <= size
    assert (np.concatenate([chunk.id for chunk in chunks]) == whole.id[3:14]).all()
    found = np.concatenate([flat(chunk, "pt") for chunk in chunks])
    assert (found == flat(whole[3:14], "pt")).all()


def test_parquet_that_is_none(tmp_path, jets):
    bad = tmp_path / "a.parquet"
    bad.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"a\.parquet: is not a readable Parquet file"):
        read(JetClass2(files=[str(bad)]))
    with pytest.raises(ConfigError, match="download it"):
        JetClass2(files=["x"]).source("https://example.org/a.parquet")
    foreign = tmp_path / "b.parquet"
    pq.write_table(pa.table({"part_p": [[1.0]], "jet_pt": [1.0]}), foreign)
    with pytest.raises(DataError, match=r"b\.parquet: the Parquet table has no branch jet_eta"):
        JetClass2(files=[str(foreign)]).columns()


def test_the_real_file_of_jetclass2(shared_data):
    reader = JetClass2(files=[str(shared_data / "JetClassII_example.parquet")])
    check_reader(reader)
    events = read(reader)
    table = pq.read_table(shared_data / "JetClassII_example.parquet")
    assert len(events) == 100
    parts = events.particles["constituent"]
    # The angles that the file holds beside the momenta are those to the jet axis.
    sign = np.where(events.context["jet_eta"] > 0, 1, -1)
    deta = sign * (parts.eta - events.context["jet_eta"])
    stored = ak.from_arrow(table["part_deta"])
    assert ak.to_numpy(ak.flatten(deta)) == pytest.approx(ak.to_numpy(ak.flatten(stored)), abs=2e-4)
    assert ak.num(parts).to_list() == table["jet_nparticles"].to_pylist()
    assert (flat(events, "species") > 0).all()
    assert (events.context["jet_mass"] > 0.9 * events.context["jet_sdmass"]).mean() > 0.9
    assert len(np.unique(events.id)) == 100


# CMS record 12102


def test_hbb_one_entry_per_jet(tmp_path, jets):
    path = files.write_hbb_flat(tmp_path / "a.root", jets, PER_EVENT)
    reader = Hbb(files=[str(path)])
    events = read(reader)
    check_jets(events, jets)
    assert "jet_tau3" in events.context
    assert "jet_tau4" not in events.context
    assert {*files.HBB_LABELS, "isH", "isQCD", "sample_isQCD"} == set(events.labels)
    assert reader.source(str(path)).format == "CMS record 12102, one entry per jet"
    # Jets of one event share its identity, and so its fold.
    assert len(np.unique(events.id)) == (PER_EVENT > 0).sum()
    assert (events.id[:2] == events.id[0]).all()


def test_an_event_task_refuses_jets_and_says_why(tmp_path, jets):
    path = files.write_hbb_flat(tmp_path / "flat.root", jets)
    reader = Hbb(files=[str(path)], sets="events")
    why = r"flat\.root: has one entry per jet, so it holds no events.*cannot be put together again"
    for refused in (reader.columns, lambda: reader.source(str(path)), lambda: read(reader)):
        with pytest.raises(DataError, match=why):
            refused()


def test_hbb_one_entry_per_event_gives_the_same_jets(tmp_path, jets):
    path = files.write_hbb_jagged(tmp_path / "a.root", jets, PER_EVENT)
    reader = Hbb(files=[str(path)])
    events = read(reader)
    check_jets(events, jets)
    flat_file = read(Hbb(files=[str(files.write_hbb_flat(tmp_path / "b.root", jets, PER_EVENT))]))
    assert (events.id == flat_file.id).all()
    assert (events.labels["H_bb"] == flat_file.labels["H_bb"]).all()
    assert reader.source(str(path)).format == "CMS record 12102, one entry per event"
    check_reader(reader)


def test_hbb_events_of_jets_of_constituents(tmp_path, jets):
    path = files.write_hbb_jagged(tmp_path / "a.root", jets, PER_EVENT)
    reader = Hbb(files=[str(path)], sets="events")
    events = read(reader)
    assert len(events) == len(PER_EVENT)
    assert ak.num(events.particles["jet"]).to_list() == PER_EVENT.tolist()
    nested = events.particles["constituent"]
    assert ak.flatten(ak.num(nested, axis=2)).to_list() == jets.counts.tolist()
    check_against(events, jets, mass=0.3)
    assert "label_H_bb" in ak.fields(events.particles["jet"])
    assert len(np.unique(events.id)) == len(PER_EVENT)
    some = events[np.array([3, 0])]
    assert ak.num(some.particles["constituent"], axis=1).to_list() == [3, 2]
    check_reader(reader)


def test_hbb_without_numbers_of_events_knows_events_by_their_jets(tmp_path, jets):
    path = files.write_hbb_jagged(tmp_path / "a.root", jets, PER_EVENT, scalars=False)
    events = read(Hbb(files=[str(path)]))
    assert len(np.unique(events.id)) == (PER_EVENT > 0).sum()
    single = files.write_hbb_flat(
        tmp_path / "b.root", jets, drop=("event_no", "npv", "ntrueInt", "rho")
    )
    assert len(np.unique(read(Hbb(files=[str(single)])).id)) == N


def test_hbb_does_not_take_pile_up_for_an_event(tmp_path, jets):
    """It says which event is meant beside its number alone: splits would be cut by pile-up."""
    alike = {"npv": np.full(N, 30, np.float32), "rho": np.full(N, 20, np.float32)}
    path = files.write_hbb_flat(tmp_path / "a.root", jets, drop=("event_no", "ntrueInt"), **alike)
    events = read(Hbb(files=[str(path)]))
    assert len(np.unique(events.id)) == N
    unnumbered = files.write_hbb_flat(tmp_path / "b.root", jets, drop=files.event_scalars(1))
    assert (events.id == read(Hbb(files=[str(unnumbered)])).id).all()


def test_hbb_takes_the_mass_that_is_stored(tmp_path, jets):
    _, part = files.hbb_branches(jets)
    jagged = {"pfcand_mass": ak.unflatten(jets.mass.astype(np.float32), jets.counts)}
    scalars, _ = files.hbb_branches(jets)
    every = scalars | {name: ak.unflatten(v, jets.counts) for name, v in part.items()} | jagged
    path = files.write_tree(tmp_path / "a.root", "deepntuplizer/tree", every)
    check_against(read(Hbb(files=[str(path)])), jets, mass=1e-5)


# PFNano


def test_pfnano(tmp_path, jets):
    path = files.write_pfnano(tmp_path / "a.root", jets, PER_EVENT)
    reader = PFNano(files=[str(path)])
    events = read(reader)
    # Pairs stand in any order in the file: compare with particles sorted within their jets.
    found = events.particles["constituent"]
    expected = ak.unflatten(jets.pt, jets.counts)
    assert ak.num(found).to_list() == jets.counts.tolist()
    assert ak.to_numpy(ak.flatten(ak.sort(found.pt))) == pytest.approx(
        ak.to_numpy(ak.flatten(ak.sort(expected))), rel=1e-6
    )
    order = ak.argsort(found.pt)
    for name in ("d0", "dzerr"):
        own = ak.unflatten(getattr(jets, name), jets.counts)[ak.argsort(expected)]
        assert ak.to_numpy(ak.flatten(found[name][order])) == pytest.approx(
            ak.to_numpy(ak.flatten(own)), rel=1e-5, abs=1e-6
        )
    kinds = ak.unflatten(files.CODES[jets.kind], jets.counts)[ak.argsort(expected)]
    assert ak.all(found.species[order] == kinds)
    assert set(events.labels) == {"hadron_flavour", "b_hadrons"}
    assert events.id["event"].tolist() == np.repeat(np.arange(100, 108), PER_EVENT).tolist()
    source = reader.source(str(path))
    assert (source.is_simulation, source.entries, source.count) == (True, 8, 8)
    assert set(np.unique(events.weight)) == {-2.0, 3.0}


def test_pfnano_events_and_collisions(tmp_path, jets):
    path = files.write_pfnano(tmp_path / "a.root", jets, PER_EVENT, collisions=True)
    reader = PFNano(files=[str(path)], sets="events")
    events = read(reader)
    assert ak.num(events.particles["jet"]).to_list() == PER_EVENT.tolist()
    assert not reader.source(str(path)).is_simulation
    check_reader(reader)


def test_pfnano_names_what_plain_nanoaod_lacks(tmp_path, jets):
    drop = [f"FatJetPFCands_{name}" for name in ("jetIdx", "pFCandsIdx")]
    path = files.write_pfnano(tmp_path / "a.root", jets, PER_EVENT, drop=drop)
    with pytest.raises(DataError, match="no branch FatJetPFCands_jetIdx"):
        read(PFNano(files=[str(path)]))
    with pytest.raises(DataError, match=r"no branch JetPFCands_jetIdx.*Nearest"):
        whole = files.write_pfnano(tmp_path / "b.root", jets, PER_EVENT)
        read(PFNano(files=[str(whole)], jets="Jet"))


def test_pfnano_with_indices_that_point_nowhere(tmp_path, jets):
    counts = np.bincount(np.repeat(np.arange(8), PER_EVENT)[jets.parent], minlength=8)
    far = ak.unflatten(np.full(counts.sum(), 9, np.int32), counts)
    path = files.write_pfnano(tmp_path / "a.root", jets, PER_EVENT, FatJetPFCands_jetIdx=far)
    with pytest.raises(DataError, match="FatJetPFCands_jetIdx points at number 9, where the event"):
        read(PFNano(files=[str(path)]))


# Delphes


def test_the_real_file_of_delphes(shared_data):
    path = str(shared_data / "events_delphes_example.root")
    events = read(Delphes(files=[path]))
    assert len(events) == 22
    assert len(np.unique(events.id)) == 10
    # A PUPPI jet is the sum of its constituents, before corrections of its energy.
    parts = events.particles["constituent"]
    px, py = (ak.sum(parts.pt * f(parts.phi), axis=1) for f in (np.cos, np.sin))
    angle = files.wrapped(np.arctan2(ak.to_numpy(py), ak.to_numpy(px)) - events.context["jet_phi"])
    assert np.abs(angle).max() < 0.02
    assert ak.to_numpy(np.hypot(px, py)) == pytest.approx(events.context["jet_pt"], rel=0.3)
    assert (events.context["jet_sdmass"] <= events.context["jet_mass"] + 1e-3).all()
    assert (events.context["jet_tau2"] <= events.context["jet_tau1"]).all()


def test_delphes_events_hold_the_other_objects(shared_data):
    path = str(shared_data / "events_delphes_example.root")
    reader = Delphes(files=[path], sets="events")
    check_reader(reader)
    events = read(reader)
    assert len(events) == 10
    assert set(events.particles) == {"jet", "constituent", "electron", "muon", "photon", "met"}
    assert ak.num(events.particles["met"]).to_list() == [1] * 10
    jets = read(Delphes(files=[path]))
    assert flat(events, "pt").tolist() == flat(jets, "pt").tolist()
    with pytest.raises(DataError, match=r"has no collection 'elektron'.*Did you mean 'electron'"):
        read(reader, columns={"elektron": ["pt"]})


def test_delphes_refuses_jets_whose_particles_are_not_there(shared_data):
    path = str(shared_data / "events_delphes_example.root")
    with pytest.raises(DataError, match=r"1102 of 1118 constituents of JetAK8 lie in a collection"):
        read(Delphes(files=[path], jets="JetAK8"))
    with pytest.raises(DataError, match=r"no jets 'JetPUPPIAK9'.*Did you mean 'JetPUPPIAK8'"):
        read(Delphes(files=[path], jets="JetPUPPIAK9"))
    assert len(read(Delphes(files=[path], jets="JetPUPPI"))) == 44


NESTED = {
    "jetclass": lambda path, jets: files.write_replicas(path, jets, PER_EVENT),
    "hbb": lambda path, jets: files.write_hbb_jagged(path, jets, PER_EVENT),
    "pfnano": lambda path, jets: files.write_pfnano(path, jets, PER_EVENT),
    "delphes": lambda _path, _jets: files.delphes(),
}


@pytest.mark.parametrize("kind", NESTED)
def test_events_of_jets_refuse_what_they_do_not_hold(tmp_path, jets, kind):
    path = str(NESTED[kind](tmp_path / "a.root", jets))
    reader = READERS.load(kind)(files=[path], sets="events")
    for columns, message in (
        ({"jetz": ["pt"]}, r"has no .*'jetz'.* Did you mean 'jet'"),
        ({"jet": ["pt"], "context": ["jet_pt"]}, r"no column 'context\.jet_pt'.* of 'jet'"),
    ):
        for refused in (
            lambda c=columns: reader.source(path, c),
            lambda c=columns: read(reader, columns=c),
        ):
            with pytest.raises(DataError, match=message) as caught:
                refused()
            assert path in str(caught.value)
    assert reader.source(path, {"jet": ["pt"], "constituent": [], "context": []}).entries


LABELS = {
    "jetclass": ("Hbbb", "no branch label_Hbbb .label Hbbb.*Nearest: label_Hbb"),
    "hbb": ("Hbb", "no branch label_Hbb .label Hbb.*Nearest: label_H_bb"),
    "pfnano": ("hadron_flavor", "PFNano has no label 'hadron_flavor'.*'hadron_flavour'"),
    "delphes": ("hadron_flavour", "Delphes has no label 'hadron_flavour'.*flavour"),
}


@pytest.mark.parametrize("sets", ["jets", "events"])
@pytest.mark.parametrize("kind", NESTED)
def test_a_label_that_is_asked_for_and_not_there_is_named(tmp_path, jets, kind, sets):
    path = str(NESTED[kind](tmp_path / "a.root", jets))
    reader = READERS.load(kind)(files=[path], sets=sets)
    name, message = LABELS[kind]
    columns = {"constituent": [], "label": [name]}
    if sets == "events":
        columns = {"constituent": [], "jet": ["sdmass", f"label_{name}"]}
    for refused in (lambda: reader.source(path, columns), lambda: read(reader, columns=columns)):
        with pytest.raises(DataError, match=message) as caught:
            refused()
        assert path in str(caught.value)


def test_labels_of_truth_are_not_in_collisions(tmp_path, jets):
    path = files.write_pfnano(tmp_path / "a.root", jets, PER_EVENT, collisions=True)
    reader = PFNano(files=[str(path)], sets="events")
    with pytest.raises(DataError, match=r"no branch FatJet_hadronFlavour .label hadron_flavour"):
        reader.source(str(path), {"jet": ["label_hadron_flavour"]})
    parquet = str(files.write_jetclass2(tmp_path / "a.parquet", jets))
    with pytest.raises(DataError, match=r"JetClass-II has no label 'QCD'.*jet_label"):
        JetClass2(files=[parquet]).source(parquet, {"label": ["QCD"]})
    assert set(read(JetClass2(files=[parquet]), columns={"label": ["jet_label"]}).labels) == {
        "jet_label"
    }


def standard_card():
    """Two events as the standard cards write them; of `FatJet` and what it refers to."""
    rows = {
        "EFlowTrack": {"fUniqueID": [[5, 9], [5]], "PT": [[1.0, 2.0], [3.0]],
                       "PID": [[-211, 13], [11]], "Charge": [[-1, -1], [-1]],
                       **{name: [[0.1, 0.2], [0.3]] for name in (
                           "Eta", "Phi", "Mass", "D0", "ErrorD0", "DZ", "ErrorDZ")}},
        "EFlowPhoton": {"fUniqueID": [[7], [8]], "ET": [[4.0], [5.0]],
                        "Eta": [[0.4], [0.5]], "Phi": [[0.4], [0.5]]},
        "EFlowNeutralHadron": {"fUniqueID": [[], [9]], "ET": [[], [6.0]],
                               "Eta": [[], [0.6]], "Phi": [[], [0.6]]},
        "FatJet": {"PT": [[50.0], [60.0, 40.0]], "Eta": [[0.0], [0.0, 0.0]],
                   "Constituents": [[{"refs": [9, 7]}], [{"refs": [9, 8, 5]}, {"refs": []}]]},
        "Event": {"Number": [[0], [1]], "Weight": [[1.0], [1.0]]},
    }  # fmt: skip
    return {
        f"{collection}/{collection}.{name}": ak.Array(values)
        for collection, members in rows.items()
        for name, values in members.items()
    }


def test_delphes_finds_constituents_in_several_collections():
    """Numbers are unique within an event only: 5 and 9 stand for other particles in each."""
    arrays = standard_card()
    found = Found.of("a.root", list(arrays), None)
    assert (found.jets, len(found.particles)) == ("FatJet", 3)
    plan = found.plan({"constituent": ["pt", "mass", "charge", "species", "is_photon", "d0"]})
    bounds, raw = raw_jets(found, plan, arrays)
    assert bounds.tolist() == [0, 1, 3]
    assert raw.offsets.tolist() == [0, 2, 5, 5]
    assert constituent("pt", raw).tolist() == [2.0, 4.0, 6.0, 5.0, 3.0]
    names = ["muon", "photon", "neutral_hadron", "photon", "electron"]
    assert constituent("species", raw).tolist() == [CONSTITUENTS[name] for name in names]
    assert constituent("charge", raw).tolist() == [-1, 0, 0, 0, -1]
    assert constituent("d0", raw) == pytest.approx([0.2, 0, 0, 0, 0.3])


@pytest.mark.parametrize("kind", ["jetclass", "jetclass2", "hbb", "delphes", "pfnano"])
def test_every_reader_names_a_foreign_file(tmp_path, kind):
    path = files.write_tree(tmp_path / "other.root", "ntuple", {"x": np.zeros(3)})
    reader = READERS.load(kind)(files=[str(path)])
    for refused in (reader.columns, lambda: reader.source(str(path)), lambda: read(reader)):
        with pytest.raises(DataError, match=r"other\.root: (has no tree|is not a readable)"):
            refused()


def test_a_parquet_file_names_the_reader_that_it_needs(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + bytes(60))
    with pytest.raises(DataError, match=r"x\.parquet: is not a ROOT file.*--reader jetclass2"):
        READERS.load("nanoaod")(files=[str(tmp_path / "x.parquet")]).source(
            str(tmp_path / "x.parquet")
        )
