"""What needs no Sherpa: run cards, the stream of events, the filter, messages."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import yaml

from transferline.errors import ConfigError, DataError
from transferline.generate.ancestry import (
    hadronic_taus,
    hard_process,
    heavy_hadrons,
    invisible_momentum,
    lepton_origin,
)
from transferline.generate.catalogue import process
from transferline.generate.events import generate_events
from transferline.generate.hard_filter import hard_filter
from transferline.generate.sherpa import hook, installation
from transferline.generate.sherpa.installation import Installation
from transferline.generate.sherpa.record import ENTRY, HEADER, MAGIC, read_events, truth_from_events
from transferline.generate.sherpa.run import SherpaRun, check_filter
from transferline.generate.sherpa.run_card import (
    event_card,
    integration_card,
    sherpa_process,
    sherpa_processes,
)

# number: code, status, mother, daughters, px; W -> mu nu, b -> B -> D tau, tau -> pi pi0 nu.
RECORD = [
    (90, -11, 0, 0, 0, 0.0),
    (21, -21, 0, 0, 0, 0.0),
    (24, -22, 1, 3, 4, 80.0),
    (-13, -23, 2, 5, 5, 50.0),
    (14, 23, 2, 0, 0, 30.0),
    (-13, 1, 3, 0, 0, 49.0),
    (5, -23, 1, 7, 7, 40.0),
    (511, -2, 6, 8, 10, 39.0),
    (-411, -2, 7, 11, 11, 19.0),
    (-15, -2, 7, 12, 14, 15.0),
    (16, 1, 7, 0, 0, 5.0),
    (11, 1, 8, 0, 0, 19.0),
    (211, 1, 9, 0, 0, 8.0),
    (111, -2, 9, 0, 0, 4.0),
    (-16, 1, 9, 0, 0, 3.0),
]


def stream(*, events=2, weight=5.0, unit=5.0) -> bytes:
    header = np.array([(len(RECORD), weight, 4.0, unit)], HEADER)
    entries = np.zeros(len(RECORD), ENTRY)
    for name, column in zip(
        ("pdg_id", "status", "mother", "daughter1", "daughter2", "px"),
        zip(*RECORD, strict=True),
        strict=True,
    ):
        entries[name] = column
    entries["energy"] = np.abs(entries["px"]) + 0.5
    entries["charge"] = [0, 0, 1, 1, 0, 1, 0, 0, -1, 1, 0, -1, 1, 0, 0]
    entries["x"] = 0.25
    return MAGIC + events * (header.tobytes() + entries.tobytes())


def read(data: bytes):
    return list(read_events(io.BytesIO(data), "s"))


def test_the_layout_is_that_of_the_hook():
    assert (HEADER.itemsize, ENTRY.itemsize) == (28, 68)
    source = hook.source()
    assert ", ".join(f"'{letter}'" for letter in MAGIC.decode()) in source
    assert f'"{hook.NAME}"' in source
    for name in ENTRY.names[:5]:
        assert f"result.{name}" in source or f"entry.{name}" in source


def test_events_become_a_truth():
    truth = truth_from_events(read(stream(weight=10.0)))
    assert truth.n == 2
    assert truth.offsets.tolist() == [0, len(RECORD), 2 * len(RECORD)]
    assert truth.weight.tolist() == [2.0, 2.0]
    assert truth.p4[2].tolist() == [80.0, 0.0, 0.0, 80.5]
    assert truth.vertex[0].tolist() == [0.25, 0.0, 0.0]
    assert set(truth.charge[~truth.final].tolist()) == {0}
    assert truth.charge[[5, 11, 12]].tolist() == [1, -1, 1]
    assert invisible_momentum(truth)[1].tolist() == [38.0, 0.0]


def test_ancestry_reads_the_record():
    truth = truth_from_events(read(stream(events=1)))
    heavy = heavy_hadrons(truth)
    assert heavy.flavour.tolist() == [5, 4]
    assert len(hadronic_taus(truth).mode) == 0  # the tau is of a B meson
    mother = np.where(truth.pdg_id == -15, 2, truth.mother)  # and now of the W boson
    taus = hadronic_taus(replace(truth, mother=mother))
    assert (taus.mode.tolist(), taus.charge.tolist()) == ([1], [1])
    assert taus.p4[0, 0] == 12.0
    leptons = np.array([5, 11])
    event, zero = np.zeros(2, np.int64), truth.offsets
    assert lepton_origin(leptons, zero, event, truth.pdg_id, truth.mother).tolist() == [1, 5]
    hard = hard_process(truth)
    assert hard.pdg_id.tolist() == [21, 24, -13, 14, 5]
    assert hard.mother.tolist() == [-1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"something else", "no stream of Sherpa events"),
        (stream()[:-1], "ends within an event"),
        (stream() + b"abc", "ends within an event"),
        (MAGIC + np.array([(-3, 1.0, 1.0, 1.0)], HEADER).tobytes(), "claims -3 particles"),
    ],
)
def test_damaged_streams_are_refused(data, message):
    with pytest.raises(DataError, match=f"^s: .*{message}"):
        read(data)


def test_an_empty_stream_has_no_events():
    assert read(b"") == []


@pytest.mark.parametrize(
    ("name", "passes"),
    [("none", True), ("lepton", True), ("lepton_jets", False), ("emu_jets", False)],
)
def test_the_filter_looks_at_the_hard_process(name, passes):
    assert read(stream())[0].accepted(hard_filter(name)) is passes


def test_filters_of_the_shower_are_pythias():
    check_filter(hard_filter("lepton"))
    with pytest.raises(ConfigError, match=r"'four_jets' is Pythia's only"):
        check_filter(hard_filter("four_jets"))


def test_the_cross_section_counts_every_trial():
    run = SherpaRun(("", ""), 1, hard_filter("none"))
    events = run._passing(read_events(io.BytesIO(stream(events=5)), "s"))
    assert [next(events).weight for _ in range(5)] == [5.0] * 5
    value, error = run.cross_section()
    assert (value, run.count.tried, run.count.sum_weight) == (5.0 / 4.0, 5, 5.0)
    assert error == pytest.approx((25.0 / 4.0 - value**2) ** 0.5 / 20.0**0.5)
    with pytest.raises(DataError, match="ended before all events"):
        next(events)


@pytest.mark.parametrize("name", sherpa_processes())
def test_every_card_belongs_to_the_catalogue(name):
    entry = process(name)
    cards = sherpa_process(name).cards(mpi=True)
    check_filter(hard_filter(entry.filter))
    assert len({hard for hard, _ in cards}) == 1, "one integration serves all alternatives"
    assert len({decays for _, decays in cards}) == len(cards)


def test_run_cards():
    parts = sherpa_process("ttbb_1l").cards(mpi=False)[0]
    card = yaml.safe_load(event_card(parts, 17))
    assert (card["BEAM_ENERGIES"], card["RANDOM_SEED"], card["MI_HANDLER"]) == (6500, 17, "None")
    assert list(card["PROCESSES"][0]) == ["93 93 -> 6 -6 5 -5"]
    assert card["PARTICLE_DATA"][5] == {"Mass": 4.75, "Massive": True}
    assert card["HARD_DECAYS"]["Channels"]["24,12,-11"] == {"Status": 2}
    assert card["USERHOOKS"] == card["SHERPA_LDADD"] == [hook.NAME]
    once = yaml.safe_load(integration_card(parts[0]))
    assert once["EVENTS"] == 0
    assert "HARD_DECAYS" not in once
    assert "MI_HANDLER" not in yaml.safe_load(sherpa_process("ttbb_1l").cards(mpi=True)[0][1])


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without Sherpa."""
    monkeypatch.delenv(installation.VARIABLE, raising=False)
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(installation, "_installed_root", lambda: None)
    return tmp_path


def test_missing_sherpa_says_how_to_get_it(nowhere):
    with pytest.raises(ConfigError, match="transferline generate install-sherpa"):
        generate_events("ttbb_1l", nowhere / "x.root", n=1, seed=1)


def unpacked(root):
    for part in ("lib64", "include", "share"):
        (root / part / "SHERPA-MC").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin" / "Sherpa").write_text("#!/bin/sh\nexit 1\n")
    return root


def test_where_sherpa_is_looked_for(nowhere, monkeypatch):
    cached = unpacked(installation.cached_root())
    assert installation.find().root == cached
    installed = unpacked(nowhere / "installed")
    monkeypatch.setattr(installation, "_installed_root", lambda: installed)
    assert installation.find().root == installed
    named = unpacked(nowhere / "named")
    monkeypatch.setenv(installation.VARIABLE, str(named))
    found = installation.find()
    assert (found.root, found.version) == (named, "unknown")
    assert found.environment(nowhere)["LD_LIBRARY_PATH"].endswith(f":{nowhere}")
    (named / "bin" / "Sherpa").unlink()
    with pytest.raises(DataError, match="has no bin/Sherpa"):
        installation.find()


def test_install_unpacks_what_pip_gets(nowhere):
    calls = []

    def pip(command, **options):
        calls.append(command)
        unpacked(type(nowhere)(command[command.index("--target") + 1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    assert installation.install(pip) == installation.install(pip) == installation.cached_root()
    assert len(calls) == 1
    assert calls[0][-1] == f"sherpa-mc=={installation.VERSION}"


def test_a_failed_install_leaves_nothing(nowhere):
    def pip(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no network\n")

    with pytest.raises(ConfigError, match="could not install sherpa-mc: ERROR: no network"):
        installation.install(pip)
    assert not installation.cached_root().exists()


def test_missing_compiler_is_named(nowhere, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"no compiler 'no-such-compiler'. Install g\+\+"):
        hook.compiled_hook(Installation(nowhere, "1"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": "sherpa", "process": "ttH_bb_1l"}, "no run card for Sherpa"),
        ({"generator": "sherpa", "tune": "cp5"}, "Tunes are Pythia's"),
        ({"generator": "sherpa", "lhe": "events.lhe", "filter": "none"}, "reads no LHE file"),
        ({"generator": "sherpa", "filter": "four_jets"}, "Pythia's only"),
        ({"generator": "shrepa"}, "Did you mean 'sherpa'"),
        ({"generator": "pythia", "process": "ttbb_1l"}, "needs --generator sherpa, or --lhe"),
    ],
)
def test_wrong_requests_name_what_is_wrong(changes, message, nowhere, monkeypatch):
    monkeypatch.setattr("transferline.generate.events.count_events", lambda path: 1)
    options = {"process": "ttbar_1l", "n": 1, "seed": 1} | changes
    with pytest.raises(ConfigError, match=message):
        generate_events(options.pop("process"), nowhere / "x.root", **options)
