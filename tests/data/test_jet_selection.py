"""Selections of jets, and the shards and words that `prepare` and `inspect` make of them."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pytest

from transferline.cli import run
from transferline.data.card import load_card
from transferline.data.inspect_file import inspect_file
from transferline.data.loader import Loader
from transferline.data.prepare import prepare
from transferline.data.readers.base import DuplicateEventsWarning, SkippedFileWarning
from transferline.data.readers.hbb import Hbb
from transferline.data.readers.jetclass import JetClass
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.pfnano import PFNano
from transferline.data.readers.shards import Shards, ShardSet
from transferline.data.selections import (
    JetSelection,
    apply,
    load_selection,
    needed_columns,
    selection,
    shipped,
)
from transferline.errors import ConfigError, DataError
from transferline.testing import check_reader

from . import jet_files as files
from . import nanoaod_files

JETS = load_selection("jets")
N = 40


@pytest.fixture(scope="module")
def jets():
    return files.random_jets(N, 5)


@pytest.fixture(scope="module")
def reader(tmp_path_factory, jets):
    path = files.write_jetclass(tmp_path_factory.mktemp("jets") / "a.root", jets)
    return JetClass(files=[str(path)])


def changed(**keys):
    return JetSelection(**{**JETS.model_dump(), **keys})


def select(reader, chosen):
    chosen = chosen.resolved(reader.columns())
    (events,) = reader.chunks(needed_columns(chosen))
    return apply(chosen, events, is_simulation=True), events


def test_what_is_left_open_is_what_the_file_has(reader):
    found = JETS.resolved(reader.columns())
    assert found.columns[:6] == ("pt", "eta", "phi", "mass", "charge", "species")
    assert found.context[0] == "jet_pt"
    some = changed(particles=["charge"], context=[]).resolved(reader.columns())
    assert (some.columns[4:], some.context) == (("charge",), ())


def test_windows_are_a_cut_flow(reader, jets):
    chosen = changed(pt_min=60, pt_max=400, abs_eta_max=1.2, sdmass_min=5)
    done, events = select(reader, chosen)
    pt, eta, mass = (events.context[f"jet_{name}"] for name in ("pt", "eta", "sdmass"))
    passed = (pt > 60) & (pt < 400) & (np.abs(eta) < 1.2) & (mass > 5)
    assert 5 < passed.sum() < N
    assert (done.passed == passed).all()
    assert [step.name for step in done.cutflow.steps] == [
        "all jets",
        "60 < jet pt < 400 GeV",
        "5 < jet sdmass < inf GeV",
        "jet |eta| < 1.2",
        "constituents >= 1",
        "finite columns of the jet",
    ]
    assert done.cutflow.steps[-1].events == passed.sum()
    assert (done.events.labels["Hbb"] == events.labels["Hbb"][passed]).all()


@pytest.mark.parametrize("limit", [1, 7, 128])
def test_the_hardest_constituents_are_kept_in_order(reader, jets, limit):
    done, events = select(reader, changed(max_constituents=limit))
    given, found = events.particles["constituent"], done.events.particles["object"]
    order = ak.argsort(given.pt, ascending=False, stable=True)[:, :limit]
    for name in ak.fields(found):
        assert ak.to_list(found[name]) == ak.to_list(given[name][order])
    assert done.capped == (jets.counts > limit).sum()


def test_jets_without_constituents_are_cut_or_kept(tmp_path):
    path = files.write_jetclass(tmp_path / "a.root", files.random_jets(3, 1, counts=[0, 4, 0]))
    reader = JetClass(files=[str(path)])
    assert select(reader, JETS)[0].passed.tolist() == [False, True, False]
    assert select(reader, changed(min_constituents=0))[0].passed.all()


def test_errors_that_are_not_finite_mean_not_measured(tmp_path, jets):
    d0 = ak.to_numpy(ak.flatten(files.jetclass_branches(jets)["part_d0val"])).copy()
    error = ak.to_numpy(ak.flatten(files.jetclass_branches(jets)["part_d0err"])).copy()
    charged = np.flatnonzero(d0 != 0)[:2]
    error[charged[0]], d0[charged[1]] = np.nan, np.inf
    tau = files.jetclass_branches(jets)["jet_tau2"].copy()
    tau[4] = np.nan
    changes = {"part_d0val": jets.lists(d0), "part_d0err": jets.lists(error), "jet_tau2": tau}
    path = files.write_jetclass(tmp_path / "a.root", jets, **changes)
    done, events = select(JetClass(files=[str(path)]), JETS)
    assert done.passed.tolist() == [i != 4 for i in range(N)]
    found = done.events.particles["object"]
    lost = 0
    for name in ("d0", "d0err"):
        assert np.isfinite(ak.to_numpy(ak.flatten(found[name]))).all()
        given = events.particles["constituent"][name][done.passed]
        lost += int(ak.sum(given != 0) - ak.sum(found[name] != 0))
    assert lost == 4
    card = prepare(JetClass(files=[str(path)]), JETS, tmp_path / "s")
    assert card.n_events == N - 1
    ShardSet(tmp_path / "s").verify()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"pt_min": 500, "pt_max": 400}, "no jet has a pt above 500 and below 400"),
        ({"min_constituents": 200}, "min_constituents is above max_constituents"),
        ({"pt_mini": 5}, "unknown key. Did you mean 'pt_min'"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(tmp_path, keys, problem):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"kind": "jets", "name": "mine", **keys}))
    with pytest.raises(ConfigError, match=problem):
        load_selection(path)


def test_both_kinds_are_found_by_name_and_by_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("kind: jets\nname: mine\npt_min: 500\n")
    assert load_selection(path).pt_min == 500
    assert load_selection("l1_j4_b1") == selection("l1_j4_b1")
    assert "jets" not in shipped()
    with pytest.raises(ConfigError, match="Did you mean 'jets'"):
        load_selection("jetz")


def test_a_file_has_the_kind_of_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text("kind: jets\nname: base\npt_min: 500\n")
    path = tmp_path / "mine.yaml"
    path.write_text("base: base.yaml\nname: mine\n")
    found = load_selection(path)
    assert isinstance(found, JetSelection) and (found.name, found.pt_min) == ("mine", 500)
    path.write_text("base: none.yaml\nname: mine\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:1:\d+: base: .*none\.yaml"):
        load_selection(path)


def test_shards_hold_jets_labels_and_context(reader, jets, tmp_path):
    card = prepare(reader, JETS, tmp_path / "s", unit_size=15, labels={"mine": 2.0})
    assert card == load_card(tmp_path / "s")
    assert (card.n_events, len(card.parts)) == (N, 3)
    shards = ShardSet(tmp_path / "s")
    assert shards.columns == card.columns
    assert sorted(shards.context_names) == sorted(card.context)
    assert set(shards.label_names) == {*files.CLASSES, "mine"}
    (events,) = reader.chunks()
    assert (shards.id == events.id).all()
    assert (shards.context["jet_mass"] == events.context["jet_mass"]).all()
    assert (shards.labels["Tbqq"] == (np.arange(N) % 10 == 8)).all()
    assert (shards.labels["mine"] == 2).all()
    batch = next(iter(Loader(shards, None, 8, shuffle=False).batches(0)))
    assert batch.is_real.sum(1).tolist() == jets.counts[:8].tolist()
    assert set(batch.columns) == set(card.columns[4:])
    assert set(batch.context) == set(card.context)
    check_reader(Shards(files=[str(tmp_path / "s")]))


def test_bad_files_of_jets_are_named_together(jets, tmp_path):
    for name in ("a.root", "b.root"):
        (tmp_path / name).write_text("no")
    reader = JetClass(files=[str(tmp_path / "*.root")])
    with pytest.raises(DataError, match=r"(?s)2 of 2 files .*a\.root.*b\.root.*--skip-bad"):
        prepare(reader, JETS, tmp_path / "s")
    files.write_jetclass(tmp_path / "c.root", jets)
    with pytest.raises(DataError, match=r"(?s)2 of 3 files .*a\.root.*b\.root.*--skip-bad"):
        prepare(reader, JETS, tmp_path / "s")
    with pytest.warns(SkippedFileWarning):
        card = prepare(reader.model_copy(update={"skip_bad": True}), JETS, tmp_path / "s")
    assert (card.n_events, len(card.skipped)) == (N, 2)


def test_shards_depend_neither_on_chunks_nor_on_jobs(reader, tmp_path, monkeypatch):
    one = prepare(reader, JETS, tmp_path / "one")
    monkeypatch.setattr("transferline.data.prepare.CHUNK_SIZE", 7)
    other = prepare(reader, JETS, tmp_path / "other", jobs=2)
    assert one.content_hash == other.content_hash
    assert prepare(reader, JETS, tmp_path / "one") == one


def test_a_label_of_the_sample_may_not_hide_one_of_the_file(reader, tmp_path):
    with pytest.raises(ConfigError, match=r"--label QCD: .*a\.root has a label of that name"):
        prepare(reader, JETS, tmp_path / "s", labels={"QCD": 1.0})


def test_jets_of_one_event_are_no_duplicates(tmp_path, jets):
    path = files.write_pfnano(tmp_path / "a.root", jets, [2] * 20)
    reader = PFNano(files=[str(path)])
    card = prepare(reader, JETS, tmp_path / "s")
    assert (card.n_events, card.count, card.duplicates) == (N, 20, 0)
    shards = ShardSet(tmp_path / "s")
    assert (shards.hash[::2] == shards.hash[1::2]).all()
    assert card.sum_weight == pytest.approx(shards.weight[::2].sum())


def test_jets_of_data_sets_that_overlap_are_pointed_out(tmp_path, jets):
    for name in ("JetHT.root", "MET.root"):
        files.write_pfnano(tmp_path / name, jets, [2] * 20, collisions=True)
    golden = tmp_path / "golden.json"
    golden.write_text('{"278820": [[1, 9]]}')
    both = PFNano(files=[str(tmp_path / "*.root")])
    with pytest.warns(DuplicateEventsWarning, match="two primary data sets overlap\\?"):
        card = prepare(both, changed(golden_json=str(golden)), tmp_path / "s", unit_size=7)
    assert (card.n_events, card.duplicates) == (2 * N, 20)


# Generated files say what they are; these look like a file that holds jets twice.
@pytest.mark.filterwarnings("ignore:.*is a file given twice")
@pytest.mark.parametrize("per_event", [[2] * 20, [1, 3] * 10, [0, 4] * 10], ids=str)
def test_replicas_share_the_weight_of_their_hard_process(tmp_path, jets, per_event):
    """However often it is showered, it is one event of its cross section."""
    paths = {
        "single": files.write_jetclass(tmp_path / "single.root", jets),
        "replicas": files.write_replicas(tmp_path / "replicas.root", jets, per_event),
    }
    cards = {
        name: prepare(JetClass(files=[str(path)]), JETS, tmp_path / name, cross_section_pb=3.0)
        for name, path in paths.items()
    }
    seen = {name: c.normalisation() * c.cutflow[-1]["sum_weight"] for name, c in cards.items()}
    # Hard processes without a jet are none that are seen.
    some = (np.array(per_event) > 0).mean()
    assert seen == {"single": pytest.approx(3.0), "replicas": pytest.approx(3.0 * some)}
    assert cards["replicas"].n_events == N
    shared = [1 / n for n in per_event for _ in range(n)]
    assert ShardSet(tmp_path / "replicas").weight == pytest.approx(shared)
    assert (ShardSet(tmp_path / "single").weight == 1).all()


def test_jets_of_an_event_are_no_replicas_of_each_other(tmp_path, jets):
    path = files.write_hbb_jagged(tmp_path / "a.root", jets, [2] * 20)
    (events,) = Hbb(files=[str(path)]).chunks()
    assert (events.weight == 1).all()


def test_jets_that_are_named_by_what_they_hold_are_counted_twice(tmp_path, jets):
    for name in ("a.root", "copy.root"):
        files.write_jetclass(tmp_path / name, jets)
    copied = JetClass(files=[str(tmp_path / "*.root")])
    with pytest.warns(DuplicateEventsWarning, match="is a file given twice"):
        card = prepare(copied, JETS, tmp_path / "s")
    assert card.duplicates == card.n_events / 2 > 0


def test_collision_data_are_certified(tmp_path, jets):
    path = files.write_pfnano(tmp_path / "a.root", jets, [2] * 20, collisions=True)
    golden = tmp_path / "golden.json"
    golden.write_text('{"278820": [[1, 6]]}')
    with pytest.raises(DataError, match="the cut 'golden JSON' removes the last 40"):
        prepare(PFNano(files=[str(path)]), changed(golden_json=str(golden)), tmp_path / "s")


def test_files_without_a_label_of_the_selection_are_named_in_the_first_pass(tmp_path, jets):
    for name, drop in (("a", ()), ("b", ("fj_isH",))):
        files.write_hbb_flat(tmp_path / f"{name}.root", jets, drop=drop)
    reader, chosen = Hbb(files=[str(tmp_path / "*.root")]), changed(label="isH")
    with pytest.raises(DataError, match=r"b\.root: tree .* has no branch fj_isH \(label isH\)"):
        prepare(reader, chosen, tmp_path / "s")
    assert not (tmp_path / "s").exists()
    with pytest.warns(SkippedFileWarning):
        card = prepare(reader.model_copy(update={"skip_bad": True}), chosen, tmp_path / "s")
    assert card.n_events == N // 6


def test_the_kind_of_selection_must_be_that_of_the_file(reader, jets, tmp_path):
    with pytest.raises(DataError, match="JetClass has no 'electron'"):
        prepare(reader, selection("pretraining"), tmp_path / "s")
    events = nanoaod_files.write(tmp_path / "n.root", nanoaod_files.random_events(20, 1))
    with pytest.raises(DataError, match="the selection 'jets' is one of jets"):
        prepare(NanoAOD(files=[str(events)]), JETS, tmp_path / "s")
    nested = files.write_hbb_jagged(tmp_path / "h.root", jets, [2] * 20)
    with pytest.raises(DataError, match=r"is one of jets.*`sets: jets`"):
        prepare(Hbb(files=[str(nested)], sets="events"), JETS, tmp_path / "s")


WRITERS = {
    "jetclass": files.write_jetclass,
    "jetclass2": files.write_jetclass2,
    "hbb": files.write_hbb_flat,
    "delphes": lambda _path, _jets: files.delphes(),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_inspect_prepare_inspect(kind, tmp_path, jets, capsys):
    path = WRITERS[kind](tmp_path / "file.data", jets)
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "jets of constituents" in out
    assert f"next:  transferline prepare {path} --reader {kind} --selection jets" in out
    words = ["prepare", str(path), "--reader", kind, "--selection", "jets", "-o"]
    assert run([*words, str(tmp_path / "s")]) == 0
    assert "constituents >= 1" in capsys.readouterr().out
    assert run(["inspect", str(tmp_path / "s")]) == 0
    assert "object: pt, eta, phi, mass, charge, species" in capsys.readouterr().out


def test_inspect_says_that_nanoaod_holds_constituents(tmp_path, jets):
    """PFNano is NanoAOD with more in it; a file with jets alone is for `pfnano`."""
    path = files.write_pfnano(tmp_path / "a.root", jets, [2] * 20, Jet_pt=ak.Array([[50.0]] * 20))
    found = inspect_file(path)
    assert found.reader == "nanoaod"
    assert found.details["constituents"] == "of FatJet; --reader pfnano --selection jets"


def test_the_jets_of_a_file_are_chosen_on_the_command_line(tmp_path, jets, capsys):
    path = str(files.delphes())
    words = ["prepare", path, "--reader", "delphes", "--selection", "jets"]
    assert run([*words, "--jets", "JetPUPPI", "-o", str(tmp_path / "s")]) == 0
    assert "wrote 44 events" in capsys.readouterr().out
    assert run([*words, "--jets", "no jets", "-o", str(tmp_path / "t")]) == 2
    assert "--reader delphes: jets:" in capsys.readouterr().err
    words[3] = "jetclass"
    assert run([*words, "--jets", "Jet", "-o", str(tmp_path / "t")]) == 2
    assert "--reader jetclass: has no `jets`" in capsys.readouterr().err
