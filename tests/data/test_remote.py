"""Files on servers: equal to the local ones, whatever the servers do."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
import uuid

import fsspec
import numpy as np
import pytest

from transferline.data.file_ledger import read_ledger
from transferline.data.inspect_file import inspect_file
from transferline.data.prepare import prepare
from transferline.data.readers.addresses import public_name, public_names
from transferline.data.readers.base import SkippedFileWarning
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.patience import Patience, UnreachableError
from transferline.data.readers.remote import open_remote
from transferline.data.readers.shards import ShardSet
from transferline.data.readers.web import WebFile, WholeDownloadWarning
from transferline.data.selections import selection
from transferline.data.survey import file_stamps
from transferline.errors import ConfigError, DataError
from transferline.stopping import WorkGivenUpError, stop_when

from . import nanoaod_files as files
from .web_server import serving

PRE = selection("pretraining")
COLUMNS = {"muon": ["pt", "charge"], "jet": ["pt", "btagDeepFlavB"], "met": ["pt"]}
QUICK = {"retry_wait_s": 0.01, "timeout_s": 10.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One file of many small baskets, so that it takes many requests."""
    place = tmp_path_factory.mktemp("remote")
    files.write(place / "a.root", files.random_events(1500, 1), basket=300)
    return place


@pytest.fixture(scope="module")
def local(folder):
    return files.join(NanoAOD(files=[str(folder / "a.root")]).chunks(COLUMNS))


def read(site, name="a.root", **options):
    reader = NanoAOD(files=[f"{site.url}/{name}"], **QUICK | options)
    return files.join(reader.chunks(COLUMNS, chunk_size=700))


FAULTS = ["429", "503", "reset", "drop", "short", "whole"]


@pytest.mark.parametrize("fault", FAULTS)
def test_failures_that_pass_change_nothing(folder, local, fault):
    faults = lambda _name, n: fault if n % 3 == 0 else None  # noqa: E731
    with serving(folder, faults=faults) as site:
        assert files.equal(read(site), local)
    assert site.faults_met().count(fault) > 3


def test_all_failures_in_turn_from_the_first_request_on(folder, local):
    faults = lambda _name, n: FAULTS[n // 2 % 5] if n % 2 else None  # noqa: E731
    with serving(folder, faults=faults) as site:
        assert files.equal(read(site), local)
    assert set(site.faults_met()) == set(FAULTS[:5])


def test_a_silent_server_is_asked_again(folder, local):
    faults = lambda _name, n: "silent" if n in (1, 6) else None  # noqa: E731
    with serving(folder, faults=faults) as site:
        assert files.equal(read(site, timeout_s=0.3), local)
    assert site.faults_met() == ["silent"] * 2


def test_what_arrived_is_not_asked_for_again(folder):
    content = (folder / "a.root").read_bytes()
    faults = lambda _name, n: "drop" if 1 < n < 8 else None  # noqa: E731
    with serving(folder, faults=faults) as site:
        file = open_remote(f"{site.url}/a.root", Patience(retries=6, wait_s=0.01))
        assert file.read(2000, 100_000) == content[2000:100_000]
        file.close()
    assert len(site.log) == 8
    assert site.sent[1:] == sorted(set(site.sent[1:]))


def test_a_server_without_ranges_gives_the_same(folder, local):
    faults = lambda _name, n: "drop" if n == 2 else None  # noqa: E731
    with (
        serving(folder, ranges=False, faults=faults) as site,
        pytest.warns(WholeDownloadWarning, match="no ranges"),
    ):
        assert files.equal(read(site), local)
    assert site.faults_met() == ["drop"]
    assert len(site.log) < 10  # once per opening, not once per range


@pytest.mark.parametrize(("fault", "advice"), [("404", "check the address"), ("403", "expired")])
def test_lasting_failures_are_told_at_once(folder, fault, advice):
    with (
        serving(folder, faults=lambda *_: fault) as site,
        pytest.raises(UnreachableError, match=rf"a\.root: .*HTTP {fault}.*{advice}"),
    ):
        read(site, retries=50)
    assert len(site.log) == 1


def test_a_dead_server_ends_after_the_retries(folder):
    with (
        serving(folder, faults=lambda *_: "503") as site,
        pytest.raises(UnreachableError, match=r"3 attempts failed.*HTTP 503"),
    ):
        read(site, retries=2)
    assert len(site.log) == 3
    with pytest.raises(UnreachableError, match=r"2 attempts failed.*connection lost"):
        read(site, retries=1)  # nobody listens there any more


def test_truncated_empty_and_other_files_are_recognised(folder, tmp_path):
    whole = (folder / "a.root").read_bytes()
    (tmp_path / "cut.root").write_bytes(whole[:-100])
    (tmp_path / "none.root").touch()
    (tmp_path / "page.root").write_text("<!DOCTYPE html>" + "log in" * 300)
    with serving(tmp_path) as site:
        with pytest.raises(DataError, match=f"truncated, {len(whole) - 100} of {len(whole)} bytes"):
            read(site, "cut.root")
        with pytest.raises(DataError, match="empty"):
            read(site, "none.root")
        with pytest.raises(DataError, match=r"not a ROOT file.*must you log in"):
            read(site, "page.root")


def test_a_file_that_changes_while_it_is_read_is_no_mixture(folder):
    with serving(folder) as site:
        file = open_remote(f"{site.url}/a.root", Patience())
        file.read(2000, 3000)
        site.etag = '"another mirror"'
        file.read(3000, 4000)  # same time, same length: the same file
        site.modified = "Mon, 23 Nov 2026 08:00:01 GMT"
        with pytest.raises(DataError, match="changed on the server"):
            file.read(4000, 5000)
        file.close()


def test_a_changed_remote_file_is_another_data_set(folder, tmp_path):
    with serving(folder) as site:
        reader = NanoAOD(files=[f"{site.url}/a.root"], **QUICK)
        card = prepare(reader, PRE, tmp_path / "s")
        (row,) = card.files
        assert row["size"] == (folder / "a.root").stat().st_size
        assert (row["etag"], row["mtime_ns"]) == ('"one"', 1795420800 * 10**9)
        assert prepare(reader.model_copy(update={"retries": 9}), PRE, tmp_path / "s") == card
        before = file_stamps(reader)
        site.etag = '"two"'
        assert file_stamps(reader) != before
        with pytest.raises(ConfigError, match="another data set"):
            prepare(reader, PRE, tmp_path / "s")


def test_keys_in_urls_are_stored_nowhere(folder, tmp_path, capsys):
    key = "X-Amz-Signature=5ec2e7%2F&b=1"
    with serving(folder, secret=key) as site:
        address = f"{site.url}/a.root?{key}"
        reader = NanoAOD(files=[address], **QUICK)
        prepare(reader, PRE, tmp_path / "s")
        texts = [p.read_text() for p in (tmp_path / "s").glob("[cf]*")]
        texts += [str(reader.to_dict()), inspect_file(address).render(), str(file_stamps(reader))]
        with pytest.raises(DataError) as missing:
            reader.source(address, {"jet": ["btagPNetB"]})
        site.secret = "another"
        with pytest.raises(DataError) as refused:
            read(site, f"a.root?{key}")
        dead = f"http://127.0.0.1:9/a.root?{key}"
        with pytest.raises(DataError) as unreachable:
            NanoAOD(files=[dead], retries=0).source(dead)
    texts += [str(missing.value), str(refused.value), str(unreachable.value)]
    for text in texts:
        assert "a.root" in text
        assert "5ec2e7" not in text


def test_names_are_distinct_and_without_secrets():
    paths = ["https://u:p@h/get?f=1", "https://u:p@h/get?f=2", "https://h/b.root?k=3", "c?.root"]
    names = list(public_names(paths).values())
    assert names[2:] == ["https://h/b.root", "c?.root"]
    assert len({*names}) == 4
    assert all(name.startswith("https://h/get?") for name in names[:2])
    assert public_name("root://me@host:1094//a.root?authz=x") == "root://host:1094//a.root"


def test_files_that_differ_in_the_query_alone(folder, tmp_path):
    with serving(folder) as site:
        addresses = [f"{site.url}/a.root?part={i}" for i in range(2)]
        with pytest.warns(UserWarning, match="given twice"):
            card = prepare(NanoAOD(files=addresses, **QUICK), PRE, tmp_path / "s")
    assert card.count == 3000
    assert len({row["path"] for row in card.files}) == 2


@pytest.mark.parametrize("fails", ["at once", "later"])
def test_a_file_whose_server_dies_is_left_out_as_a_whole(tmp_path, fails):
    good, bad = files.random_events(200, 5), files.random_events(600, 6, first=200)
    (tmp_path / "in").mkdir()
    files.write(tmp_path / "in/a.root", bad, basket=50)
    files.write(tmp_path / "in/b.root", good)
    limit = 1 if fails == "at once" else 30
    faults = lambda name, n: "503" if name == "a.root" and n >= limit else None  # noqa: E731
    with serving(tmp_path / "in", faults=faults) as site:
        addresses = [f"{site.url}/{name}.root" for name in "ab"]
        reader = NanoAOD(files=addresses, retries=1, **QUICK)
        with pytest.raises(DataError, match=r"a\.root.*HTTP 503"):
            prepare(reader, PRE, tmp_path / "s", unit_size=100)
        if fails == "later":  # some of its units are there already, and must go again
            assert len(list((tmp_path / "s").glob("*.arrow"))) > 2
            site.log.clear()
        reader = reader.model_copy(update={"skip_bad": True})
        with pytest.warns(SkippedFileWarning, match=r"a\.root"):
            card = prepare(reader, PRE, tmp_path / "s", unit_size=100)
        alone = NanoAOD(files=addresses[1:], **QUICK)
        expected = prepare(alone, PRE, tmp_path / "t", unit_size=100)
    for name in ("count", "sum_weight", "sum_weight2", "cutflow", "n_events", "files", "n_eff"):
        assert getattr(card, name) == getattr(expected, name), name
    assert np.array_equal(ShardSet(tmp_path / "s").id, ShardSet(tmp_path / "t").id)
    assert {p.name for p in (tmp_path / "s").glob("*.arrow")} == {p["file"] for p in card.parts}
    rows = read_ledger(tmp_path / "s", card)
    assert [row.status for row in rows] == ["unreachable", "used"]
    assert rows[0].retries == 0 or fails == "at once"
    assert "HTTP 503" in rows[0].reason


def test_the_user_need_not_wait_for_a_server(folder):
    """Ctrl-C in one thread stops the others, which wait for an answer or for the next attempt."""
    stop, ended = threading.Event(), []

    def work(site, options):
        with pytest.raises(WorkGivenUpError):
            read(site, **options)
        ended.append(1)

    slow = {"timeout_s": 600, "retry_wait_s": 600, "retries": 9}
    with (
        serving(folder, faults=lambda *_: "silent") as silent,
        serving(folder, faults=lambda *_: "503") as busy,
        stop_when(stop),
    ):
        threads = [threading.Thread(target=work, args=(x, slow)) for x in (silent, busy)]
        for thread in threads:
            thread.start()
        while not (silent.log and busy.log):
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join(15)
    assert len(ended) == 2


def test_closing_ends_the_requests_in_flight(folder, monkeypatch):
    """Other ranges may still be on their way when one fails for good: the program must end."""
    started, failed = threading.Event(), []

    async def never(*_):
        started.set()
        await asyncio.Event().wait()

    def work(file):
        with pytest.raises(UnreachableError, match="the file was closed"):
            file.read(2000, 3000)
        failed.append(1)

    monkeypatch.setattr(WebFile, "_fetch", never)
    with serving(folder) as site:
        file = open_remote(f"{site.url}/a.root", Patience(retries=9, wait_s=600))
        thread = threading.Thread(target=work, args=(file,), daemon=True)
        thread.start()
        assert started.wait(15)
        file.close()
        thread.join(15)
    assert failed


def test_the_ledger_counts_retries(folder, tmp_path):
    faults = lambda _name, n: "503" if n % 4 == 0 else None  # noqa: E731
    with serving(folder, faults=faults) as site:
        prepare(NanoAOD(files=[f"{site.url}/a.root"], **QUICK), PRE, tmp_path / "s", unit_size=500)
        met = len(site.faults_met())
    (line,) = (tmp_path / "s" / "files.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["retries"] == met > 3
    assert (row["status"], row["entries"], row["etag"]) == ("used", 1500, '"one"')


def test_all_unreachable_files_are_named_at_once(folder, tmp_path):
    with serving(folder) as site:
        names = [f"{site.url}/{name}" for name in ("x.root", "a.root", "y.root")]
        with pytest.raises(DataError, match=r"(?s)2 of 3 files .*x\.root.*404.*y\.root.*404"):
            prepare(NanoAOD(files=names, **QUICK), PRE, tmp_path / "s")
        with pytest.raises(DataError, match=r"(?s)2 of 3 files .*x\.root.*404.*y\.root.*404"):
            file_stamps(NanoAOD(files=names, **QUICK))
        stamps = file_stamps(NanoAOD(files=names, skip_bad=True, **QUICK))
    assert [stamp is None for stamp in stamps.values()] == [True, False, True]
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", ["http://h/a*.root", "root://h//d/[ab].root", "s3://b/*/c.root"])
def test_wildcards_in_urls_are_refused(name):
    with pytest.raises(ConfigError, match=r"wildcards work for local files only.*@files\.txt"):
        NanoAOD(files=[name]).paths()


def test_addresses_that_only_look_like_wildcards():
    names = ["http://[::1]:80/a.root", "https://h/a.root?sig=[*]"]
    assert NanoAOD(files=names).paths() == names


def test_protocols_without_their_package_say_what_to_install():
    with pytest.raises(ConfigError, match=r"'gopher://' cannot be read"):
        NanoAOD(files=["gopher://h/a.root"]).columns()
    for scheme, module, advice in (
        ("root", "fsspec_xrootd", r'pip install "transferline\[xrootd\]"'),
        ("s3", "s3fs", "s3fs"),
    ):
        if not _installed(module):
            with pytest.raises(ConfigError, match=advice):
                NanoAOD(files=[f"{scheme}://h/a.root"], skip_bad=True).columns()


def _installed(module):
    try:
        __import__(module)
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_other_protocols_of_fsspec(folder, local, scheme):
    address = f"file://{folder}/a.root"
    if scheme == "memory":
        address = f"memory://{uuid.uuid4().hex}/a.root"
        with fsspec.open(address, "wb") as target:
            target.write((folder / "a.root").read_bytes())
    reader = NanoAOD(files=[address])
    assert files.equal(files.join(reader.chunks(COLUMNS, chunk_size=700)), local)
    source = reader.source(address)
    assert source.size == (folder / "a.root").stat().st_size
    assert source.mtime_ns is not None
    with pytest.raises(UnreachableError, match=r"none\.root: cannot be read"):
        reader.source(f"{address[:-6]}none.root")


@pytest.fixture(scope="module")
def xrootd(folder, tmp_path_factory):
    """A real XRootD server; the extra `xrootd` has the client only."""
    pytest.importorskip("fsspec_xrootd")
    program = shutil.which("xrootd")
    if program is None:
        pytest.skip("no XRootD server here")
    place = tmp_path_factory.mktemp("xrootd")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = place / "server.cfg"
    config.write_text(
        f"all.export {folder}\nall.adminpath {place}\nall.pidpath {place}\nxrd.port {port}\n"
        "xrd.network nodnr\n"
    )
    server = subprocess.Popen(
        [program, "-c", str(config), "-l", str(place / "log")], stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(port, server)
        yield f"root://127.0.0.1:{port}/{folder}"
    finally:
        server.terminate()
        server.wait()


def _wait_for(port, server):
    while server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.skip("the XRootD server does not start here")


def test_xrootd(xrootd, local, tmp_path):
    reader = NanoAOD(files=[f"{xrootd}/a.root"])
    assert files.equal(files.join(reader.chunks(COLUMNS, chunk_size=700)), local)
    assert prepare(reader, PRE, tmp_path / "s").count == 1500
    with pytest.raises(UnreachableError, match=r"none\.root: .*no such file"):
        reader.source(f"{xrootd}/none.root")
