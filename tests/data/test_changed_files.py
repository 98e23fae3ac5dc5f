"""Files that come back, are repaired, or change under our hands."""

from __future__ import annotations

import errno
import os
import pickle
import warnings

import numpy as np
import pytest

from transferline.data import parts, survey
from transferline.data.card import load_card
from transferline.data.file_ledger import FileRow, read_ledger, usable_again
from transferline.data.prepare import prepare
from transferline.data.readers.base import SkippedFileWarning
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.patience import Patience
from transferline.data.readers.remote import open_remote
from transferline.data.readers.shards import ShardSet
from transferline.data.readers.status import (
    ChangedFileError,
    FileStatus,
    local_status,
    unchanged,
)
from transferline.data.selections import selection
from transferline.errors import ConfigError, DataError
from transferline.samples import Sample, materialise

from . import nanoaod_files as files
from .web_server import serving

PRE = selection("pretraining")
QUICK = {"retry_wait_s": 0.01, "timeout_s": 10.0, "retries": 1}


@pytest.fixture
def inputs(tmp_path):
    """Two files; the first takes many requests."""
    folder = tmp_path / "in"
    folder.mkdir()
    files.write(folder / "a.root", files.random_events(300, 6), basket=50)
    files.write(folder / "b.root", files.random_events(200, 5, first=300))
    return folder


def dies_late(name, n):
    """A server that lets one file be opened, but not be read through."""
    return "503" if name == "a.root" and n >= 12 else None


def healthy(_name, _n):
    return None


def remote(site, **options):
    return NanoAOD(files=[f"{site.url}/{name}.root" for name in "ab"], **QUICK, **options)


def statuses(out):
    return [row.status for row in read_ledger(out, load_card(out))]


def test_shards_without_a_file_that_is_there_again_are_not_finished(inputs, tmp_path):
    out = tmp_path / "s"
    with serving(inputs, faults=dies_late) as site:
        with pytest.warns(SkippedFileWarning, match=r"a\.root"):
            first = prepare(remote(site, skip_bad=True), PRE, out, unit_size=100)
        assert statuses(out) == ["unreachable", "used"]
        site.faults = healthy
        text = r"without http.*a\.root \(unreachable then\), which may be read now. --overwrite"
        with pytest.raises(ConfigError, match=text):
            prepare(remote(site, skip_bad=True), PRE, out, unit_size=100)
        assert load_card(out) == first
        card = prepare(remote(site, skip_bad=True), PRE, out, unit_size=100, overwrite=True)
        assert statuses(out) == ["used", "used"]
        assert card.count == 500
        assert prepare(remote(site, skip_bad=True), PRE, out, unit_size=100) == card


def test_shards_without_a_file_that_is_still_not_there_are_finished(inputs, tmp_path):
    names = [f"{inputs}/{name}.root" for name in ("a", "c")]
    reader = NanoAOD(files=names, skip_bad=True)
    with pytest.warns(SkippedFileWarning, match=r"c\.root"):
        card = prepare(reader, PRE, tmp_path / "s")
    assert prepare(reader, PRE, tmp_path / "s") == card
    (inputs / "b.root").rename(inputs / "c.root")
    with pytest.raises(ConfigError, match=r"another data set.*without .*c\.root \(unreachable"):
        prepare(reader, PRE, tmp_path / "s")


def test_a_file_that_may_not_be_opened_is_out_of_reach_and_not_damaged(inputs, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("transferline.data.readers.rootfile.Path.open", refuse)
    found = survey.look(f"{inputs}/a.root", NanoAOD(files=[f"{inputs}/a.root"]), {}).found
    assert found.status == "unreachable"
    assert found.reason.endswith("a.root: cannot be opened (Permission denied).")


def spoil(path):
    """The file opens and tells its sums, but cannot be read through."""
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = b"\xab" * third
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["opens", "does not open"])
def test_damaged_files_count_again_once_they_have_changed(inputs, tmp_path, damage):
    bad, out = inputs / "a.root", tmp_path / "s"
    whole = bad.read_bytes()
    if damage == "opens":
        spoil(bad)
    else:
        bad.write_bytes(whole[:-100])
    reader = NanoAOD(files=[f"{inputs}/*.root"], skip_bad=True)
    with pytest.warns(SkippedFileWarning, match=r"a\.root"):
        card = prepare(reader, PRE, out)
    row = read_ledger(out, card)[0]
    assert (row.status, row.stamp) == ("damaged", local_status(str(bad)).stamp)
    assert prepare(reader, PRE, out) == card  # damaged it is, and stays
    bad.write_bytes(whole)
    with pytest.raises(ConfigError, match=r"without .*a\.root \(damaged then\), which may be read"):
        prepare(reader, PRE, out)
    assert prepare(reader, PRE, out, overwrite=True).count == 500


def test_which_files_may_be_had_again():
    rows = [
        FileRow("used", "used", bytes=1, mtime_ns=1),
        FileRow("skipped", "skipped"),
        FileRow("gone", "unreachable"),
        FileRow("back", "unreachable"),
        FileRow("changed", "damaged", bytes=1, mtime_ns=1),
        FileRow("tagged", "damaged", bytes=1, mtime_ns=1, etag="x"),
        FileRow("same", "damaged", bytes=1, mtime_ns=2, etag="x"),
        FileRow("unknown", "damaged"),  # by an earlier version
    ]
    stamps = {row.path: [1, 2, "x"] for row in rows} | {"gone": None}
    found = usable_again(rows, stamps)
    assert [row.path for row in found] == ["back", "changed", "tagged"]


def test_the_cache_takes_back_a_file_that_is_there_again(inputs, tmp_path, monkeypatch):
    with serving(inputs, faults=dies_late) as site:
        recipe = remote(site, skip_bad=True)
        sample = Sample.model_validate({"reader": recipe, "selection": "pretraining"})
        with pytest.warns(SkippedFileWarning, match=r"a\.root"):
            place = materialise(sample, tmp_path / "cache")
        assert load_card(place).count == 200
        site.faults = healthy
        assert materialise(sample, tmp_path / "cache") == place
        assert load_card(place).count == 500
        monkeypatch.setattr("transferline.samples.prepare", None)  # now it is finished
        assert materialise(sample, tmp_path / "cache") == place


def test_the_cache_takes_back_a_file_that_was_repaired(inputs, tmp_path):
    bad = inputs / "a.root"
    whole = bad.read_bytes()
    spoil(bad)
    reader = {"kind": "nanoaod", "files": [f"{inputs}/*.root"], "skip_bad": True}
    sample = Sample.model_validate({"reader": reader, "selection": "pretraining"})
    with pytest.warns(SkippedFileWarning, match=r"a\.root"):
        place = materialise(sample, tmp_path / "cache")
    assert materialise(sample, tmp_path / "cache") == place
    bad.write_bytes(whole)
    repaired = materialise(sample, tmp_path / "cache")
    assert load_card(repaired).count == 500


def replace(path, seed):
    """Other events: as many, so that nothing but size and time tell."""
    files.write(path, files.random_events(300, seed), basket=50)


def change_after_survey(monkeypatch, change):
    """Let `change` happen when all files have been looked at."""
    real = survey.Survey.check

    def check(self, **options):
        real(self, **options)
        change()

    monkeypatch.setattr(survey.Survey, "check", check)


def test_a_file_that_changes_behind_the_survey_is_not_read(inputs, tmp_path, monkeypatch):
    change_after_survey(monkeypatch, lambda: replace(inputs / "a.root", 7))
    reader = NanoAOD(files=[f"{inputs}/*.root"])
    with pytest.raises(DataError, match=r"a\.root: changed while it was being read\. Repeat"):
        prepare(reader, PRE, tmp_path / "s")
    assert not (tmp_path / "s" / "card.json").exists()
    monkeypatch.undo()
    assert prepare(reader, PRE, tmp_path / "s").count == 500


def test_a_file_that_changes_between_two_of_its_units(inputs, tmp_path, monkeypatch):
    real, done = parts._select, []

    def select(unit, *rest):
        found = real(unit, *rest)
        done.append(unit.index)
        if len(done) == 2:
            replace(inputs / "a.root", 7)
        return found

    monkeypatch.setattr(parts, "_select", select)
    with pytest.raises(DataError, match=r"a\.root: changed while"):
        prepare(NanoAOD(files=[f"{inputs}/*.root"]), PRE, tmp_path / "s", unit_size=100)
    # It changed before the second unit was written: that one may be a mixture.
    assert [path.name for path in (tmp_path / "s").glob("*.arrow")] == ["part-00000.arrow"]


def test_what_changes_is_left_out_as_a_whole_with_skip_bad(inputs, tmp_path, monkeypatch):
    change_after_survey(monkeypatch, lambda: replace(inputs / "a.root", 7))
    reader = NanoAOD(files=[f"{inputs}/*.root"], skip_bad=True)
    with pytest.warns(SkippedFileWarning, match=r"a\.root: changed while"):
        card = prepare(reader, PRE, tmp_path / "s")
    monkeypatch.undo()
    assert card.count == 200
    with pytest.raises(ConfigError, match=r"without .*a\.root .*which may be read now"):
        prepare(reader, PRE, tmp_path / "s")


@pytest.mark.parametrize("what", ["etag", "size"])
def test_a_remote_file_that_changes_behind_the_survey(inputs, tmp_path, monkeypatch, what):
    with serving(inputs, modified=None) as site:

        def change():
            site.etag = '"two"' if what == "etag" else site.etag
            if what == "size":
                (inputs / "a.root").write_bytes((inputs / "a.root").read_bytes() + b"\0")

        change_after_survey(monkeypatch, change)
        with pytest.raises(DataError, match=r"a\.root: changed while it was being read"):
            prepare(remote(site), PRE, tmp_path / "s")
    assert not (tmp_path / "s" / "card.json").exists()


def test_another_mirror_of_the_same_file_is_no_change(inputs, tmp_path, monkeypatch):
    with serving(inputs) as site:
        change_after_survey(monkeypatch, lambda: setattr(site, "etag", '"mirror"'))
        assert prepare(remote(site), PRE, tmp_path / "s").count == 500


def test_replicas_have_times_of_their_own(inputs):
    """A redirector may send each opening to another server; size and tag must agree."""
    path = inputs / "a.root"
    address, size = f"file://{path}", path.stat().st_size
    for then, same in (
        (FileStatus(size, 1), True),
        (FileStatus(size, 1, "tag"), True),
        (FileStatus(size + 1, path.stat().st_mtime_ns), False),
    ):
        with unchanged(address, then):
            if same:
                open_remote(address, Patience()).close()
            else:
                with pytest.raises(ChangedFileError, match=r"a\.root: changed"):
                    open_remote(address, Patience())


def test_a_file_that_is_written_while_it_is_surveyed(inputs, monkeypatch):
    """Its description would mix the old and the new one."""
    reader, path = NanoAOD(files=[f"{inputs}/a.root"]), inputs / "a.root"
    real = NanoAOD.source

    def source(self, *args):
        found = real(self, *args)
        os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(NanoAOD, "source", source)
    found = survey.look(str(path), reader, {}).found
    assert "changed while" in found.reason
    assert found.status == "unreachable"


def test_damage_by_a_change_is_told_as_a_change(tmp_path):
    path = tmp_path / "a.root"
    path.write_bytes(b"old")
    then = local_status(str(path))
    with pytest.raises(ChangedFileError), unchanged(str(path), then):
        path.write_bytes(b"half of the n")
        raise DataError("looks damaged")
    with pytest.raises(DataError, match="looks damaged"), unchanged(str(path), None):
        raise DataError("looks damaged")
    path.unlink()
    with pytest.raises(ChangedFileError), unchanged(str(path), then):
        raise AssertionError("not reached")
    assert local_status(str(tmp_path)) is None


def test_what_a_worker_says_of_a_change_arrives_as_it_was_said(tmp_path):
    """A process makes an error anew from the text of the one that another raised."""
    path = tmp_path / "a.root"
    path.write_bytes(b"old")
    then = local_status(str(path))
    with pytest.raises(ChangedFileError) as caught, unchanged(str(path), then):
        path.write_bytes(b"newer")
    arrived = pickle.loads(pickle.dumps(caught.value))
    assert type(arrived) is ChangedFileError
    assert str(arrived) == str(caught.value)
    assert str(arrived).count("changed while") == 1


def test_undisturbed_files_are_read_as_before(inputs, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        local = prepare(NanoAOD(files=[f"{inputs}/*.root"]), PRE, tmp_path / "s")
        with serving(inputs) as site:
            prepare(remote(site), PRE, tmp_path / "t")
    assert np.array_equal(ShardSet(tmp_path / "s").id, ShardSet(tmp_path / "t").id)
    assert local.count == 500
