from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import transferline
from transferline.cli import run
from transferline.doctor import computing, discreet, installation, machine, packages, places
from transferline.doctor import plugins as plugs
from transferline.doctor.limits import cpu_limit, memory_limit
from transferline.doctor.look import TroubleError, seen
from transferline.runtime import cache_directory


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """The environment of somebody with a name, whose cache lies in a place named after her."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "people" / "alice").mkdir(parents=True)
    (folder / "disk" / "alice" / "cache").mkdir(parents=True)
    places = {"HOME": f"{folder}/people/alice", "TRANSFERLINE_CACHE": f"{folder}/disk/alice/cache"}
    return {**os.environ, **places, "USER": "alice", "LOGNAME": "alice", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def text(private):
    command = [sys.executable, "-m", "transferline", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=private)
    return done.stdout


@pytest.fixture(scope="module")
def report(text):
    return json.loads(text)


def test_every_table_of_plug_ins_is_looked_at():
    """One that is left out could hold a broken row of another package without a word."""
    families = {
        match
        for file in Path(transferline.__file__).parent.rglob("*.py")
        for match in re.findall(r"Registry\(\s*\"(\w+)\"", file.read_text())
    }
    assert families == set(plugs.TABLES)


def test_without_a_home_or_a_name_the_report_is_made(monkeypatch):
    """As in a container that runs as a number."""

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TRANSFERLINE_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    discreet._homes.cache_clear()
    try:
        assert discreet.discreet("/somewhere") == "/somewhere"
        assert cache_directory().is_absolute()
    finally:
        discreet._homes.cache_clear()


def test_the_report_has_what_a_bug_report_needs(report):
    assert list(report) == [
        *("transferline", "machine", "computing", "places", "packages", "extras", "plug-ins"),
        "problems",
    ]
    assert re.match(r"\d+\.\d+\.\d+ in ", report["transferline"]["version"])
    assert re.match(r"3\.\d+\.\d+ \(CPython\)", report["machine"]["python"])
    assert re.search(r"\d usable of \d", report["machine"]["cores"])
    assert re.search(r"\d GB, .*available", report["machine"]["memory"])
    assert "utf-8" in report["machine"]["text"]
    assert "OMP_NUM_THREADS=1" in report["computing"]["variables"]
    assert re.match(r"2\.\d+", report["packages"]["torch"])
    assert "transformer" in report["plug-ins"]["backbones"]
    assert all(fact for title in report.values() for fact in title.values())


def test_what_ships_is_verified_and_the_generator_runs(report):
    shipped = report["transferline"]
    assert "hash verified" in shipped["checkpoints"]
    assert re.search(r"ttbar \([\d,]+ events, hash verified\)", shipped["samples"])
    if "not installed" not in report["extras"]["generate"]:
        assert re.search(
            r"8\.\d+, an event of \d{2,} particles; data in .*xmldoc", shipped["pythia"]
        )
    assert not [name for name in report["problems"] if name.startswith("transferline")]


def test_nobody_is_named(text, report):
    assert "alice" not in text
    # As a name: a host called vm is no part of llvmlite.
    assert not re.search(rf"(?<!\w){re.escape(socket.gethostname())}(?!\w)", text)
    assert report["places"]["cache"].partition(":")[0].endswith("/disk/<user>/cache")


def test_names_are_replaced_where_they_are_names(monkeypatch):
    monkeypatch.setattr(discreet, "_homes", lambda: ["/people/numpy"])
    monkeypatch.setattr(discreet, "_users", lambda: ["numpy"])
    monkeypatch.setattr(discreet, "_hosts", lambda: ["node7.lab.org", "node7"])
    given = (
        "/people/numpy/x, /people/numpyro, numpy 2.1, /disk/numpy/y, numpy@node7.lab.org, node77"
    )
    wanted = "~/x, /people/numpyro, numpy 2.1, /disk/<user>/y, <user>@<host>, node77"
    assert discreet.discreet(given) == wanted


def test_the_page_lists_problems_last(monkeypatch, capsys):
    facts = {"machine": {"cores": "1"}, "problems": {"machine: cores": "too few"}}
    monkeypatch.setattr("transferline.doctor.examine", lambda: facts)
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert shown == "machine\n  cores  1\nproblems\n  machine: cores  too few\n"


def test_a_broken_torch_leaves_the_rest_of_the_report():
    code = (
        "import sys, json; sys.modules['torch'] = None; from transferline.doctor import examine;"
        "print(json.dumps(examine()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert "fails with ModuleNotFoundError" in report["computing"]["torch threads"]
    assert {"computing: torch threads", "transferline: checkpoints"} <= set(report["problems"])
    assert "machine: cores" not in report["problems"]
    assert report["packages"]["torch"]


def write(place, **files):
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / name.replace("__", ".")).write_text(content)


def test_limits_of_control_groups(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/jobs/7\n")
    two = tmp_path / "two"
    write(two / "jobs" / "7", cpu__max="max 100000\n", memory__max="max\n")
    assert (cpu_limit(two, own), memory_limit(two, own)) == (None, None)
    write(two / "jobs" / "7", cpu__max="300000 100000\n", memory__max="5000000000\n")
    assert (cpu_limit(two, own), memory_limit(two, own)) == (3.0, 5_000_000_000)
    write(two / "jobs", cpu__max="150000 100000\n", memory__max="4000000000\n")
    assert (cpu_limit(two, own), memory_limit(two, own)) == (1.5, 4_000_000_000)

    own.write_text("5:cpu,cpuacct:/jobs\n4:memory:/elsewhere\n")
    one = tmp_path / "one"
    quota = {"cpu__cfs_quota_us": "50000", "cpu__cfs_period_us": "100000"}
    write(one / "cpu,cpuacct" / "jobs", **quota)
    write(one / "cpu,cpuacct", **{**quota, "cpu__cfs_quota_us": "-1"})
    write(one / "memory", memory__limit_in_bytes="9223372036854771712")
    assert (cpu_limit(one, own), memory_limit(one, own)) == (0.5, None)
    write(one / "memory", memory__limit_in_bytes="1000")
    assert memory_limit(one, own) == 1000
    assert cpu_limit(one, tmp_path / "none") is None


def trouble(look):
    text, is_problem = seen(look)
    assert is_problem
    return text


def test_more_threads_than_cores_are_a_problem(monkeypatch):
    monkeypatch.setattr(computing, "usable_cores", lambda: 0.5)
    assert not seen(computing.looks()["torch threads"])[1]  # one thread is the least
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    assert "8 on 0.5 usable cores" in trouble(computing.looks()["torch threads"])


def test_few_open_files_are_a_problem():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        assert trouble(machine.looks()["open files"]).startswith("200 at once are few")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_output_that_cannot_show_errors_is_a_problem(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert "export PYTHONUTF8=1" in trouble(machine.looks()["text"])


def test_a_place_that_cannot_be_written_to_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path / "new" / "cache"))
    assert "not there yet" in places.looks()["cache"]()
    (tmp_path / "new").write_text("a file")
    assert "cannot be written to" in trouble(places.looks()["cache"])


def test_changed_samples_are_a_problem(tmp_path, monkeypatch):
    shutil.copytree(installation._shipped() / "shipped", tmp_path / "shipped")
    monkeypatch.setattr(installation, "_shipped", lambda: tmp_path)
    look = installation.looks()["samples"]
    assert "hash verified" in look()
    part = next((tmp_path / "shipped" / "samples" / "ttH").glob("*.arrow"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    assert "was changed" in trouble(look)


def test_a_generator_that_dies_does_not_take_the_report_with_it():
    pytest.importorskip("pythia8mc")
    assert "fails (code -6)" in trouble(lambda: installation.pythia("import os; os.abort()"))
    said = trouble(lambda: installation.pythia("raise SystemExit('no file ParticleData.xml')"))
    assert said == "fails (code 1): no file ParticleData.xml"


def test_the_second_generator_is_optional_but_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRANSFERLINE_SHERPA", raising=False)
    assert seen(installation.sherpa)[1] is False
    monkeypatch.setenv("TRANSFERLINE_SHERPA", str(tmp_path))
    assert "is no unpacked wheel of sherpa-mc" in trouble(installation.sherpa)


def test_versions_that_are_not_allowed_are_a_problem():
    assert seen(lambda: packages._core(Requirement("numpy>=1")))[1] is False
    old = trouble(lambda: packages._core(Requirement("numpy>=999")))
    assert old.endswith("but numpy>=999 is needed: pip install 'numpy>=999'")
    absent = Requirement("a-package-that-is-not-there")
    assert trouble(lambda: packages._core(absent)).startswith("missing")
    assert packages._extra("x", [absent]) == "not installed: pip install 'transferline[x]'"
    assert "missing: pip install" in packages._extra("x", [absent, Requirement("numpy")])
    assert packages._extra("x", []) == "not for this Python or machine"


@pytest.fixture
def forgetful_tables():
    """Tables that look their outside rows up anew: one process does so once, a test may be late."""

    def forget():
        for family in plugs.TABLES:
            vars(plugs._table(family)).pop("_outside", None)

    forget()
    yield
    forget()


@pytest.mark.usefixtures("forgetful_tables")
def test_plug_ins_of_other_packages_are_named_and_imported(tmp_path, monkeypatch):
    write(tmp_path / "alien-1.2.dist-info", METADATA="Name: alien\nVersion: 1.2\n")
    rows = """
        [transferline.backbones]
        good = alien_rows:Good
        bad = alien_rows.broken:Bad
        transformer = alien_rows:Good
        """
    (tmp_path / "alien-1.2.dist-info" / "entry_points.txt").write_text(textwrap.dedent(rows))
    write(tmp_path / "alien_rows", broken__py="1 / 0\n")
    (tmp_path / "alien_rows" / "__init__.py").write_text("class Good: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    looks = plugs.looks()
    assert "transformer" in looks["backbones"]()
    assert "good" not in looks["backbones"]()
    assert looks["backbones: good"]() == "alien_rows:Good of alien 1.2"
    assert "division by zero" in trouble(looks["backbones: bad"])
    assert "another row has this name" in trouble(looks["backbones: transformer"])


def test_a_message_is_one_line_of_bearable_length():
    def look():
        raise TroubleError("a\nb " + "x" * 1000)

    text = trouble(look)
    assert text.startswith("a b xxx")
    assert len(text) < 450
