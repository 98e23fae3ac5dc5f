from __future__ import annotations

import concurrent.futures as cf
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import numpy as np
import pytest

from transferline.data import parts
from transferline.data.card import data_card_markdown, load_card
from transferline.data.cutflow import Cutflow
from transferline.data.events import identity_hash
from transferline.data.prepare import prepare
from transferline.data.readers.base import (
    DuplicateEventsWarning,
    MissingBranchWarning,
    SkippedFileWarning,
    UncertifiedDataWarning,
)
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import Shards, ShardSet
from transferline.data.selections import apply, selection
from transferline.errors import ConfigError, DataError
from transferline.executors import given_or_new
from transferline.files import LOCK

from . import nanoaod_files as files

PRE = selection("pretraining")
UNIT = 150  # entries per unit in these tests


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two files of random events, 700 in all."""
    folder = tmp_path_factory.mktemp("inputs")
    events = [files.random_events(400, 1), files.random_events(300, 2, first=400)]
    for i, part in enumerate(events):
        provenance = {"kind": "test", "process": "p", "cross_section": {"pb": 3.5}}
        files.write(folder / f"{i}.root", part, provenance=provenance)
    return folder, files.join(events)


def reader(folder, **options):
    return NanoAOD(files=[str(folder / "*.root")], **options)


def content(path):
    """Everything in a shard directory that must not depend on how it was made."""
    found = {p.name: p.read_bytes() for p in path.iterdir()}
    rows = [json.loads(line) for line in found["files.jsonl"].splitlines()]
    return {**found, "files.jsonl": [row | {"seconds": 0} for row in rows]}


def test_shards_hold_exactly_the_selected_events(inputs, tmp_path):
    folder, events = inputs
    card = prepare(reader(folder), PRE, tmp_path / "s", labels={"signal": 1}, unit_size=UNIT)
    expected = apply(PRE, events, is_simulation=True)
    (read,) = Shards(files=[str(tmp_path / "s")]).chunks()
    assert np.array_equal(read.id, expected.events.id)
    assert np.array_equal(read.weight, expected.events.weight)
    found, wanted = read.particles["object"], expected.events.particles["object"]
    assert found.tolist() == wanted.tolist()
    assert (read.labels["signal"] == 1).all()
    shards = ShardSet(tmp_path / "s")
    assert np.array_equal(shards.hash, identity_hash(read.id))
    assert card.n_events == len(read) > 50
    assert [part["rows"] for part in card.parts] == np.diff(
        np.searchsorted(read.id["event"], [0, 150, 300, 400, 550, 700])
    ).tolist()


def test_card_accounts_for_everything(inputs, tmp_path):
    folder, events = inputs
    card = prepare(reader(folder), PRE, tmp_path / "s", sample="top", unit_size=UNIT)
    expected = apply(PRE, events, is_simulation=True)
    weight = expected.events.weight
    assert card.sum_weight == pytest.approx(events.weight.sum())
    assert card.count == 700
    assert Cutflow.from_list(card.cutflow) == expected.cutflow
    assert card.n_eff == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    assert card.negative_fraction == pytest.approx((weight < 0).mean())
    assert [row["passed"] for row in card.files] == [
        (expected.events.id["event"] < 400).sum(),
        (expected.events.id["event"] >= 400).sum(),
    ]
    assert card.cross_section_pb == 3.5
    assert card.normalisation() == pytest.approx(3.5 / events.weight.sum())
    assert [p["process"] for p in card.provenance] == ["p", "p"]
    assert card.selection == PRE.to_dict()
    assert load_card(tmp_path / "s") == card
    text = data_card_markdown(card)
    assert "top" in text
    assert "b-jets >= 1" in text
    assert (tmp_path / "s" / "card.md").read_text() == text


def test_the_users_cross_section_wins(inputs, tmp_path):
    card = prepare(reader(inputs[0]), PRE, tmp_path / "s", cross_section_pb=2.0)
    assert card.cross_section_pb == 2.0


class Backwards(cf.Executor):
    """Runs what is submitted last first: the result may not depend on it."""

    def __init__(self):
        self.waiting = []

    def submit(self, fn, /, *args, **kwargs):
        future = cf.Future()
        self.waiting.append((future, fn, args, kwargs))
        if len(self.waiting) == self.batch:
            for future_, function, a, k in reversed(self.waiting):
                future_.set_result(function(*a, **k))
            self.waiting = []
        return future

    batch = 2  # two files to look at, then four units


def test_result_depends_neither_on_jobs_nor_on_executors(inputs, tmp_path):
    ways = {
        "one": {},
        "jobs": {"jobs": 2},
        "backwards": {"executor": Backwards()},
    }
    with cf.ThreadPoolExecutor(3) as threads:
        ways["threads"] = {"executor": threads}
        for name, options in ways.items():
            prepare(reader(inputs[0]), PRE, tmp_path / name, unit_size=200, **options)
    assert len(list((tmp_path / "one").glob("*.arrow"))) == 4
    for name in ways:
        assert content(tmp_path / name) == content(tmp_path / "one")


def test_finished_units_are_not_done_again(inputs, tmp_path, monkeypatch):
    folder, out = inputs[0], tmp_path / "s"
    whole = prepare(reader(folder), PRE, out, unit_size=UNIT)
    expected = content(out)

    # As if it had been interrupted: no card, one unit whole, one without its ledger.
    done = []
    real = parts.make_part

    def stop_after_three(unit, **rest):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(unit.index)
        return real(unit, **rest)

    monkeypatch.setattr("transferline.data.prepare.make_part", stop_after_three)
    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        prepare(reader(folder), PRE, again, unit_size=UNIT)
    with pytest.raises(DataError, match="unfinished"):
        ShardSet(again)
    (again / "part-00001.json").unlink()
    (again / ".part-00004.77.partial.arrow").write_bytes(b"half")
    done.clear()
    monkeypatch.setattr("transferline.data.prepare.make_part", lambda unit, **rest: (
        done.append(unit.index), real(unit, **rest))[1])  # fmt: skip
    card = prepare(reader(folder), PRE, again, unit_size=UNIT)
    assert done == [1, 3, 4]
    assert card == whole
    assert content(again) == expected


def test_a_changed_selection_or_file_is_not_mistaken_for_the_old_one(inputs, tmp_path):
    folder, out = inputs[0], tmp_path / "s"
    first = prepare(reader(folder), PRE, out)
    assert prepare(reader(folder), PRE, out) == first  # nothing to do
    with pytest.raises(ConfigError, match="holds another data set"):
        prepare(reader(folder), selection("l1_j4_b1"), out)
    other = prepare(reader(folder), selection("l1_j4_b1"), out, overwrite=True)
    assert other.n_events < first.n_events
    assert ShardSet(out).cards[0] == other


def test_foreign_files_are_never_deleted(inputs, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match=r"holds other files \(thesis\.tex\)"):
        prepare(reader(inputs[0]), PRE, tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        prepare(reader(inputs[0]), PRE, tmp_path / "thesis.tex")


def test_kill_leaves_no_card_and_a_rerun_completes(inputs, tmp_path):
    folder, out = inputs[0], tmp_path / "s"
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
            import time
            from pathlib import Path
            from transferline.data import prepare as module, parts
            from transferline.data.readers.nanoaod import NanoAOD
            from transferline.data.selections import selection

            def slow(unit, **rest):
                time.sleep(0.3)
                return parts.make_part(unit, **rest)

            module.make_part = slow
            module.prepare(NanoAOD(files=[{str(folder / "*.root")!r}]), selection("pretraining"),
                           Path({str(out)!r}), unit_size=20)
        """)
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    while not list(out.glob("part-*.json")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "card.json").exists()
    with pytest.raises(DataError, match="Rerun prepare"):
        load_card(out)
    prepare(reader(folder), PRE, out, unit_size=20)
    prepare(reader(folder), PRE, tmp_path / "straight", unit_size=20)
    assert content(out) == content(tmp_path / "straight")


def test_missing_triggers_warn_once_and_stand_in_the_ledger(tmp_path):
    events = files.random_events(100, 4)
    files.write(tmp_path / "a.root", events[:50])
    files.write(tmp_path / "b.root", events[50:], drop=["HLT_IsoTkMu24"])
    with pytest.warns(MissingBranchWarning, match=r"HLT_IsoTkMu24 \(1 of 2 files\)") as caught:
        card = prepare(reader(tmp_path), PRE, tmp_path / "s", unit_size=30)
    assert len(caught) == 1
    assert [row["missing"] for row in card.files] == [[], ["HLT_IsoTkMu24"]]


def overwritten(path):
    """Spoil the baskets: the file opens and tells its sums, but cannot be read through."""
    bytes_ = bytearray(path.read_bytes())
    third = len(bytes_) // 3
    bytes_[third : 2 * third] = b"\xab" * third
    path.write_bytes(bytes_)


@pytest.mark.parametrize("how", ["truncated", "overwritten"])
def test_bad_files_are_left_out_as_a_whole(tmp_path, how):
    good, bad = files.random_events(200, 5), files.random_events(500, 6, first=200)
    files.write(tmp_path / "a.root", bad, basket=40)
    files.write(tmp_path / "b.root", good)
    if how == "overwritten":
        overwritten(tmp_path / "a.root")
    else:
        whole = (tmp_path / "a.root").read_bytes()
        (tmp_path / "a.root").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"a\.root"):
        prepare(reader(tmp_path), PRE, tmp_path / "s", unit_size=50)
    with pytest.warns(SkippedFileWarning, match=r"a\.root"):
        card = prepare(reader(tmp_path, skip_bad=True), PRE, tmp_path / "s", unit_size=50)
    assert card.sum_weight == pytest.approx(good.weight.sum())
    assert [row["path"][-6:] for row in card.files] == ["b.root"]
    assert list(card.skipped) == [str(tmp_path / "a.root")]
    expected = apply(PRE, good, is_simulation=True).events
    assert np.array_equal(ShardSet(tmp_path / "s").id, expected.id)
    assert {p.name for p in (tmp_path / "s").glob("*.arrow")} == {p["file"] for p in card.parts}


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "a.root").write_text("no")
    with pytest.raises(DataError, match="no usable file"):
        prepare(reader(tmp_path, skip_bad=True), PRE, tmp_path / "s")


def test_no_event_left_is_an_error_that_tells_which_cut_it_was(inputs, tmp_path):
    hard = PRE.model_copy(update={"cuts": PRE.cuts.model_copy(update={"jets_min": 30})})
    text = r"no event passes the selection 'pretraining': the cut 'jets >= 30' removes the last"
    with pytest.raises(DataError, match=rf"(?s){text} \d+.*leading lepton .*b-jets >= 1 +0"):
        prepare(reader(inputs[0]), hard, tmp_path / "s", unit_size=UNIT)
    assert not (tmp_path / "s").exists()
    files.write(tmp_path / "none.root", files.random_events(5, 1)[:0])
    with pytest.raises(DataError, match="the files hold no event"):
        prepare(NanoAOD(files=[str(tmp_path / "none.root")]), PRE, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_users_file_is_not_taken_for_a_ledger(inputs, tmp_path):
    (tmp_path / "files.txt").write_text("a.root")
    with pytest.raises(ConfigError, match=r"holds other files \(files\.txt\)"):
        prepare(reader(inputs[0]), PRE, tmp_path, overwrite=True)


def test_unknown_sums_matter_only_when_a_normalisation_is_asked_for(tmp_path):
    files.write(tmp_path / "a.root", files.random_events(100, 4), runs=False)
    card = prepare(reader(tmp_path), PRE, tmp_path / "s", cross_section_pb=1.0)
    assert card.sum_weight is None
    with pytest.raises(DataError, match="sum of weights before cuts is not known"):
        card.normalisation()


def test_no_cross_section_no_normalisation(tmp_path):
    files.write(tmp_path / "a.root", files.random_events(100, 4))
    card = prepare(reader(tmp_path), PRE, tmp_path / "s")
    with pytest.raises(DataError, match="has no cross section"):
        card.normalisation()
    assert card.normalisation(2.0) == 2.0 / card.sum_weight


def test_data_without_golden_json_are_pointed_out(tmp_path):
    events = files.random_events(100, 4)
    files.write(tmp_path / "a.root", events, simulation=False, runs=False)
    with pytest.warns(UncertifiedDataWarning):
        card = prepare(reader(tmp_path), PRE, tmp_path / "s")
    assert not card.is_simulation
    assert card.sum_weight == 100
    golden = tmp_path / "golden.json"
    golden.write_text('{"1": [[1, 1]]}')
    certified = PRE.model_copy(update={"golden_json": str(golden)})
    kept = prepare(reader(tmp_path), certified, tmp_path / "c")
    assert 0 < kept.n_events <= card.n_events
    golden.write_text('{"1": []}')
    with pytest.raises(ConfigError, match="another data set"):  # the file's content counts
        prepare(reader(tmp_path), certified, tmp_path / "c")


def test_files_of_the_user_with_similar_names_are_never_deleted(inputs, tmp_path):
    names = ("part-00007.snappy.parquet", "part-list.txt", "card.tcl", "card.dat", "origins.root")
    for name in names:
        out = tmp_path / name.replace(".", "_")
        out.mkdir()
        (out / name).write_text("precious")
        with pytest.raises(ConfigError, match="holds other files"):
            prepare(reader(inputs[0]), PRE, out, overwrite=True)
        assert (out / name).read_text() == "precious"


def test_shards_do_not_take_the_place_of_what_they_are_made_of(inputs, tmp_path):
    with pytest.raises(ConfigError, match=r"holds the input .*0\.root"):
        prepare(reader(inputs[0]), PRE, inputs[0])
    assert (inputs[0] / "0.root").exists()


def test_a_lost_part_is_prepared_again(inputs, tmp_path):
    card = prepare(reader(inputs[0]), PRE, tmp_path / "s", unit_size=UNIT)
    before = content(tmp_path / "s")
    (tmp_path / "s" / "part-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"is missing.*again"):
        ShardSet(tmp_path / "s")
    assert prepare(reader(inputs[0]), PRE, tmp_path / "s", unit_size=UNIT) == card
    assert content(tmp_path / "s") == before
    # Another data set does not take the place of one that has lost a part.
    (tmp_path / "s" / "part-00002.arrow").unlink()
    with pytest.raises(ConfigError, match="holds another data set"):
        prepare(reader(inputs[0]), selection("l1_j4_b1"), tmp_path / "s", unit_size=UNIT)
    assert (tmp_path / "s" / "card.json").exists()


def test_processes_that_share_the_work_verify_every_part(inputs, tmp_path):
    out = tmp_path / "s"
    card = prepare(reader(inputs[0]), PRE, out, unit_size=UNIT)
    assert len(card.parts) == 5
    for part in card.parts:
        file = out / part["file"]
        whole = file.read_bytes()
        weight = ShardSet(out).weight.tobytes()[:8]  # some byte that is a value
        at = whole.index(weight) if weight in whole else len(whole) // 2
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = []
        for rank in range(2):
            try:
                ShardSet(out).verify(rank, 2)
            except DataError:
                found.append(rank)
        assert len(found) == 1
        with pytest.raises(DataError, match=file.name):
            ShardSet(out).verify()
        file.write_bytes(whole)


def test_files_without_any_trigger_are_no_part_of_the_normalisation(tmp_path):
    chosen = PRE.model_copy(update={"triggers": ("HLT_IsoMu24", "HLT_Ele27_WPTight_Gsf")})
    for i, drop in enumerate(([], list(chosen.triggers), ["HLT_IsoMu24"])):
        events = files.random_events(100, i, first=100 * i)
        files.write(tmp_path / f"{i}.root", events, drop=drop)
    with pytest.raises(DataError, match=r"1\.root: has none of the triggers .*HLT_IsoMu24"):
        prepare(reader(tmp_path), chosen, tmp_path / "s")
    with pytest.warns(SkippedFileWarning), pytest.warns(MissingBranchWarning):
        card = prepare(reader(tmp_path, skip_bad=True), chosen, tmp_path / "s")
    assert (card.count, list(card.skipped)) == (200, [str(tmp_path / "1.root")])


def test_generated_samples_number_alike_and_share_no_events(tmp_path):
    events = files.random_events(100, 4)
    for seed in (1, 2):
        made = {"kind": "transferline generate events", "process": "ttbar", "seed": seed, "n": 100}
        files.write(tmp_path / f"{seed}.root", events, provenance=made)
    assert prepare(reader(tmp_path), PRE, tmp_path / "s").duplicates == 0


def test_a_longer_generated_sample_repeats_a_shorter_one(tmp_path):
    events = files.random_events(100, 4)
    made = {"kind": "transferline generate events", "process": "ttbar", "seed": 1}
    for n in (60, 100):
        provenance = made | {"n": n, "configuration": "c"}
        files.write(tmp_path / f"{n}.root", events[:n], provenance=provenance)
    with pytest.warns(DuplicateEventsWarning, match="a sample beside a longer one of its seed"):
        card = prepare(reader(tmp_path), PRE, tmp_path / "s")
    assert card.duplicates == apply(PRE, events[:60], is_simulation=True).passed.sum() > 0


MADE = {
    "kind": "transferline generate events",
    "process": "ttbar",
    "seed": 1,
    "n": 50,
    "configuration": "a",
    "filter": {"name": "none"},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2, "filter": {"name": "lepton"}}, r"one process \(ttbar\) with two filters"),
        ({"configuration": "another detector"}, r"same collisions .* \(process ttbar, seed 1;"),
    ],
)
def test_generated_files_that_do_not_go_together_are_refused(tmp_path, change, message):
    for i, made in enumerate((MADE, MADE | {"configuration": "b"} | change)):
        files.write(tmp_path / f"{i}.root", files.random_events(50, i, 50 * i), provenance=made)
    with pytest.raises(ConfigError, match=rf"0\.root and .*1\.root: .*{message}"):
        prepare(reader(tmp_path), PRE, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_older_files_of_lhe_events_do_not_tell_their_cross_section(tmp_path):
    made = {"kind": "test", "process": "ttbar", "lhe_sha256": "x", "cross_section": {"pb": 3.5}}
    files.write(tmp_path / "a.root", files.random_events(50, 0), provenance=made)
    assert prepare(reader(tmp_path), PRE, tmp_path / "s").cross_section_pb is None


def test_a_cross_section_is_that_of_one_process(tmp_path):
    for i, process in enumerate(("ttbar", "Zjets_ll")):
        made = {"kind": "test", "process": process, "cross_section": {"pb": 3.5}}
        files.write(tmp_path / f"{i}.root", files.random_events(50, i, 50 * i), provenance=made)
    assert prepare(reader(tmp_path), PRE, tmp_path / "both").cross_section_pb is None
    one = NanoAOD(files=[str(tmp_path / "0.root")])
    assert prepare(one, PRE, tmp_path / "one").cross_section_pb == 3.5


def test_events_that_are_there_twice_are_pointed_out(tmp_path):
    events = files.random_events(100, 4)
    files.write(tmp_path / "a.root", events)
    files.write(tmp_path / "b.root", events[20:])
    with pytest.warns(DuplicateEventsWarning, match="is a file given twice"):
        card = prepare(reader(tmp_path), PRE, tmp_path / "s")
    assert card.duplicates == apply(PRE, events[20:], is_simulation=True).passed.sum() > 0


def test_data_and_simulation_are_two_samples(tmp_path):
    events = files.random_events(50, 4)
    files.write(tmp_path / "a.root", events, simulation=False, runs=False)
    files.write(tmp_path / "b.root", events)
    with pytest.raises(DataError, match=r"b\.root is simulation and .*a\.root collision data"):
        prepare(reader(tmp_path), PRE, tmp_path / "s")


def test_selected_values_must_be_finite(tmp_path):
    row = files.event(
        muon=[{}],
        jet=[{"eta": 1.5, "phi": 2, "btagDeepFlavB": 0.9}, {"eta": -1, "phi": 2, "mass": np.nan}],
    )
    files.write(tmp_path / "a.root", files.as_events([row]))
    with pytest.raises(DataError, match=r"a\.root: branch Jet_mass holds nan in the event"):
        prepare(reader(tmp_path), PRE, tmp_path / "s")


def test_an_empty_file_contributes_nothing(inputs, tmp_path):
    files.write(tmp_path / "a.root", files.random_events(5, 1)[:0])
    files.write(tmp_path / "b.root", files.random_events(100, 4))
    card = prepare(reader(tmp_path), PRE, tmp_path / "s")
    assert [row["entries"] for row in card.files] == [0, 100]
    assert len(ShardSet(tmp_path / "s")) == card.n_events


def test_who_comes_second_waits_for_the_first_and_takes_what_it_made(inputs, tmp_path):
    """Each removes what it does not know, such as half-written files of the other."""
    out, folder = tmp_path / "out", inputs[0]
    with cf.ThreadPoolExecutor(2) as pool:
        made = [pool.submit(prepare, reader(folder), PRE, out, unit_size=20) for _ in range(2)]
        cards = [one.result() for one in made]
    assert cards[0] == cards[1]
    assert not list(out.glob(".*"))
    ShardSet([out]).verify()


def test_the_directory_is_held_until_the_workers_have_stopped(inputs, tmp_path, monkeypatch):
    """Stopped, workers finish what they are at: who comes next would remove it as foreign."""
    held = []

    @contextmanager
    def pool(given, jobs):
        with given_or_new(given, jobs) as found:
            try:
                yield found
            finally:
                held.append((tmp_path / "s" / LOCK).exists())

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("transferline.data.prepare.given_or_new", pool)
    prepare(reader(inputs[0]), PRE, tmp_path / "s")
    monkeypatch.setattr("transferline.data.prepare.make_part", stopped)
    with pytest.raises(KeyboardInterrupt):
        prepare(reader(inputs[0]), selection("l1_j4_b1"), tmp_path / "s", overwrite=True)
    assert held == [True, True]
    assert not (tmp_path / "s" / LOCK).exists()


def test_ledgers_are_gone_and_the_card_is_json(inputs, tmp_path):
    prepare(reader(inputs[0]), PRE, tmp_path / "s", unit_size=UNIT)
    names = sorted(p.name for p in (tmp_path / "s").iterdir())
    assert names == [
        "card.json",
        "card.md",
        "files.jsonl",
        *(f"part-{i:05d}.arrow" for i in range(5)),
    ]
    assert json.loads((tmp_path / "s" / "card.json").read_text())["sample"] == ""


def test_real_simulation(real_data, tmp_path):
    value = PRE.to_dict() | {"era": "2018", "cuts": {"leptons_min": 1}}
    with pytest.warns(MissingBranchWarning):
        card = prepare(
            NanoAOD(files=[str(real_data / "nano_dy.root")]),
            type(PRE).model_validate(value),
            tmp_path / "s",
        )
    assert card.count == 850_098
    assert card.n_events == 9
    assert card.cutflow[0]["events"] == 40
    with pytest.raises(DataError, match=r"(?s)no branch Jet_puId.*no branch Tau_pt"):
        prepare(NanoAOD(files=[str(real_data / "nano_tt_v12.root")]), PRE, tmp_path / "t")


@pytest.mark.parametrize(
    ("name", "cuts", "n"),
    [
        ("nano_tt_v12.root", {"leptons_min": 1, "jets_min": 2, "bjets_min": 1}, 51),
        # Fully hadronic top pairs: PUPPI jets, recomputed jet identification, PFMET.
        ("nano_tt_v15.root", {"jets_min": 4, "bjets_min": 2}, 66),
    ],
)
def test_real_run3_simulation(real_data, tmp_path, name, cuts, n):
    value = PRE.to_dict() | {"era": "2022postEE", "triggers": [], "filters": []}
    value |= {"taus": None, "cuts": cuts}
    value["jets"]["pu_id"] = None
    chosen = type(PRE).model_validate(value)
    card = prepare(NanoAOD(files=[str(real_data / name)]), chosen, tmp_path / "s")
    assert card.cutflow[0]["events"] == 200
    assert card.n_events == n
