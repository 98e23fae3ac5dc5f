from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferline import files
from transferline.errors import DataError, OutputError
from transferline.files import (
    atomic_directory,
    atomic_path,
    file_hash,
    json_hash,
    wait_for_files,
    write_json,
    write_text,
)


class CrashError(Exception):
    pass


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path):
    with atomic_path(tmp_path / "deep" / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "deep" / "a.txt").exists()
        assert temporary.suffix == ".txt"
    assert names(tmp_path / "deep") == ["a.txt"]


def test_a_crash_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(CrashError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise CrashError
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_directory_replaces_the_old_one_as_a_whole(tmp_path):
    target = tmp_path / "set"
    for content in ("one", "two"):
        with atomic_directory(target) as temporary:
            (temporary / content).write_text(content)
    assert names(tmp_path) == ["set"]
    assert names(target) == ["two"]


def test_leavings_are_removed_by_who_knows_that_nobody_else_writes(tmp_path):
    for name in (".set.0.partial", ".set.1.old", ".other.2.partial"):
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    files.remove_leavings(tmp_path / "link")
    assert names(tmp_path) == [".other.2.partial", "link", "set"]


def test_a_file_is_no_directory_and_a_link_stays_one(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="in the way"), atomic_directory(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    with atomic_directory(tmp_path / "link") as temporary:
        (temporary / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "scratch") == ["new"]
    assert names(tmp_path) == ["file", "link", "scratch"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that are exchanged in one step")
def test_a_replaced_directory_is_there_at_every_moment(tmp_path, monkeypatch):
    """A process killed at the worst moment must find its state again."""
    seen = []
    replace = Path.replace

    def watched(path, target):
        result = replace(path, target)
        seen.append((tmp_path / "set").exists())
        return result

    monkeypatch.setattr(Path, "replace", watched)
    for _ in range(3):
        with atomic_directory(tmp_path / "set"):
            pass
    assert seen
    assert all(seen)


def test_a_directory_is_replaced_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    for content in ("one", "two"):
        with atomic_directory(tmp_path / "set") as temporary:
            (temporary / content).write_text(content)
    assert names(tmp_path) == ["set"]
    assert names(tmp_path / "set") == ["two"]


def test_a_crash_leaves_the_old_directory(tmp_path):
    target = tmp_path / "set"
    with atomic_directory(target) as temporary:
        (temporary / "one").write_text("one")
    with pytest.raises(CrashError), atomic_directory(target) as temporary:
        (temporary / "two").write_text("two")
        raise CrashError
    assert names(tmp_path) == ["set"]
    assert names(target) == ["one"]


def test_writers_that_share_a_process_number_do_not_meet(tmp_path, monkeypatch):
    """As threads do, and processes of two machines on one file system."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    text = "x" * 100_000
    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(write_text, tmp_path / "a.txt", text) for _ in range(64)]:
            future.result()
    assert (tmp_path / "a.txt").read_text() == text
    assert names(tmp_path) == ["a.txt"]
    with atomic_directory(tmp_path / "set") as one, atomic_directory(tmp_path / "other") as other:
        assert one != other


def test_files_of_other_machines_are_waited_for(tmp_path):
    late = tmp_path / "late"
    timer = threading.Timer(0.3, late.touch)
    timer.start()
    wait_for_files([tmp_path, late])
    assert late.exists()
    timer.join()
    with pytest.raises(DataError, match=r"never: .*share this file system"):
        wait_for_files([late, tmp_path / "never"], seconds=0.1)


def test_leavings_of_a_killed_process_are_not_in_the_way(tmp_path):
    left = tmp_path / f".set.{os.getpid()}.partial"
    left.mkdir()
    (left / "half").write_text("half")
    with atomic_directory(tmp_path / "set") as temporary:
        (temporary / "whole").write_text("whole")
    assert names(tmp_path / "set") == ["whole"]


def test_json_is_written_to_be_read(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1, "a": [2]}
    assert (tmp_path / "a.json").read_text().endswith("}\n")


def test_file_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a").startswith("ba7816bf8f01cfea")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values))
def test_json_hash_does_not_depend_on_the_order_of_keys(value):
    backwards = dict(reversed(value.items()))
    assert json_hash(backwards) == json_hash(value)


def test_json_hash_tells_values_apart():
    assert json_hash({"a": 1}) != json_hash({"a": "1"})
