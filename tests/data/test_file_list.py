"""Lists of input files, lists of files to leave out, and the ledger that accounts for both."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from transferline.cli import run
from transferline.data.card import load_card
from transferline.data.file_ledger import FileRow, read_ledger, render
from transferline.data.inspect_file import inspect_file
from transferline.data.prepare import prepare
from transferline.data.readers.base import SkippedFileWarning, UnmatchedSkipWarning
from transferline.data.readers.file_list import list_files, named_files
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import selection
from transferline.errors import ConfigError, DataError
from transferline.samples import Sample

from . import nanoaod_files as files

PRE = selection("pretraining")


@pytest.fixture
def inputs(tmp_path):
    """Three files; the events of each."""
    events = [files.random_events(100, i, first=100 * i) for i in range(3)]
    for name, part in zip("abc", events, strict=True):
        files.write(tmp_path / f"{name}.root", part)
    return tmp_path, events


def test_a_text_list_of_files(tmp_path):
    for name in ("b.root", "a.root", "c#1.root"):
        (tmp_path / name).touch()
    text = f"# all\n\n{tmp_path}/[ab].root\t# both\n  {tmp_path}/c#1.root\nhttps://h/d.root?k=1\n"
    (tmp_path / "list.txt").write_text(text)
    reader = NanoAOD(files=[f"@{tmp_path}/list.txt", str(tmp_path / "a.root")])
    shown = [path.rpartition("/")[2] for path in reader.paths()]
    assert shown == ["a.root", "b.root", "c#1.root", "d.root?k=1"]
    with pytest.raises(ConfigError, match=r"@none\.txt: .*cannot be read"):
        NanoAOD(files=["@none.txt"]).paths()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="names no file"):
        NanoAOD(files=[f"@{tmp_path}/empty.txt"]).paths()


def test_a_skip_list_may_name_nothing(tmp_path):
    (tmp_path / "bad.txt").write_text("# files that turned out to be bad\n")
    found = list_files(["a.root"], [f"@{tmp_path}/bad.txt"])
    assert (found.paths, found.left_out, found.unmatched) == (["a.root"], {}, [])


def test_a_file_with_brackets_in_its_name_is_meant_by_it(inputs):
    folder, events = inputs
    name = str((folder / "a.root").rename(folder / "run[1].root"))
    (read,) = NanoAOD(files=[name]).chunks({"muon": ["pt"]})
    assert np.array_equal(read.id, events[0].id)
    one, other = (
        Sample(reader={"kind": "nanoaod", "files": files}, selection="pretraining")
        for files in ([name], [name, "x.root"])
    )
    assert one.shares_events_with(other)


def test_a_file_by_two_names_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.root", "b.root"):
        (tmp_path / name).touch()
    (tmp_path / "link.root").symlink_to("a.root")
    found = list_files(["b.root", "./b.root", "link.root", str(tmp_path / "a.root"), "*.root"])
    assert found.paths == ["b.root", "link.root"]


def test_samples_that_share_a_file_of_a_list_are_recognised(tmp_path):
    (tmp_path / "list.txt").write_text("x/a.root\nx/b.root\n")
    make = lambda name: Sample(  # noqa: E731
        reader={"kind": "nanoaod", "files": [name]}, selection="pretraining"
    )
    listed = make(f"@{tmp_path}/list.txt")
    assert listed.shares_events_with(make("x/b.root"))
    assert not listed.shares_events_with(make("x/c.root"))
    assert named_files(["@nowhere.txt", "a*"]) == ["@nowhere.txt", "a*"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("b.root", ["x/b.root", "y/b.root"]),
        ("y/b.root", ["y/b.root"]),
        ("x/*", ["x/a.root", "x/b.root"]),
        ("?.root", ["x/a.root", "x/b.root", "y/b.root", "https://h/z/c.root?k=1"]),
        ("https://h/z/c.root", ["https://h/z/c.root?k=1"]),
        ("https://h/*/c.root", ["https://h/z/c.root?k=1"]),
        ("root", []),
        ("x*", []),
    ],
)
def test_what_an_entry_of_a_skip_list_means(entry, expected):
    paths = ["x/a.root", "x/b.root", "y/b.root", "https://h/z/c.root?k=1"]
    found = list_files(paths, [entry])
    assert list(found.left_out) == expected
    assert found.paths == [path for path in paths if path not in expected]
    assert found.unmatched == ([] if expected else [entry])


def test_an_absolute_entry_means_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list_files(["x/a.root"], [str(tmp_path / "x/a.root")]).paths == []
    assert list_files([str(tmp_path / "x/a.root")], ["./x/a.root"]).paths == []


@pytest.mark.filterwarnings("default")
def test_the_command_line_takes_lists(inputs, tmp_path, capsys):
    folder, _ = inputs
    (tmp_path / "list.txt").write_text(f"{folder}/a.root\n{folder}/b.root\n")
    (tmp_path / "bad.txt").write_text("a.root # no field\nz.root\n")
    words = [f"@{tmp_path}/list.txt", "--selection", "pretraining", "-o", f"{tmp_path}/s"]
    server = ["--retries", "2", "--timeout", "5"]
    assert run(["prepare", *words, "--skip", f"{tmp_path}/bad.txt", *server]) == 0
    assert "match none of the files: z.root" in capsys.readouterr().err
    assert run(["inspect", f"{tmp_path}/s"]) == 0
    shown = capsys.readouterr().out
    assert "files: 1 used, 1 skipped" in shown
    assert "a.root: named by the skip list: no field" in shown
    assert load_card(tmp_path / "s").reader["retries"] == 2
    assert run(["prepare", *words, "--reader", "shards", "--retries", "2"]) == 2
    assert "has no `retries`" in capsys.readouterr().err


def test_long_lists_are_no_trouble():
    paths = [f"/data/run{i // 100}/{i}.root" for i in range(5000)]
    found = list_files(paths, paths[::2])
    assert found.paths == paths[1::2]


def test_skipped_files_count_nowhere_and_stand_in_the_ledger(inputs, tmp_path):
    folder, events = inputs
    (tmp_path / "bad.txt").write_text("b.root  # wrong beam spot\nz.root\n")
    reader = NanoAOD(files=[f"{folder}/*.root"], skip=[f"@{tmp_path}/bad.txt"])
    with pytest.warns(UnmatchedSkipWarning, match=r"match none of the files: z\.root"):
        card = prepare(reader, PRE, tmp_path / "s")
    few = NanoAOD(files=[f"{folder}/{name}.root" for name in "ac"])
    expected = prepare(few, PRE, tmp_path / "t")
    for name in ("count", "sum_weight", "sum_weight2", "cutflow", "files", "content_hash"):
        assert getattr(card, name) == getattr(expected, name), name
    assert card.sum_weight == pytest.approx(events[0].weight.sum() + events[2].weight.sum())
    assert np.array_equal(ShardSet(tmp_path / "s").id, ShardSet(tmp_path / "t").id)
    assert card.skipped == {f"{folder}/b.root": "named by the skip list: wrong beam spot"}
    with pytest.warns(UnmatchedSkipWarning):
        read = files.join(reader.chunks({"muon": ["pt"]}))
    assert set(read.id["event"] // 100) == {0, 2}


def test_the_ledger_names_every_file(inputs, tmp_path):
    folder, _ = inputs
    whole = (folder / "a.root").read_bytes()
    (folder / "a.root").write_bytes(whole[:-50])
    names = [f"{folder}/{name}.root" for name in ("a", "b", "c", "d")]
    reader = NanoAOD(files=names, skip=["c.root"], skip_bad=True)
    with pytest.warns(SkippedFileWarning, match="2 damaged or unreachable files"):
        card = prepare(reader, PRE, tmp_path / "s", unit_size=30)
    rows = read_ledger(tmp_path / "s", card)
    assert [(row.path[-6:], row.status) for row in rows] == [
        ("a.root", "damaged"),
        ("b.root", "used"),
        ("d.root", "unreachable"),
        ("c.root", "skipped"),
    ]
    assert "truncated" in rows[0].reason
    assert "No such file" in rows[2].reason
    used = rows[1]
    assert (used.entries, used.count, used.passed) == (100, 100, card.n_events)
    assert used.bytes == (folder / "b.root").stat().st_size
    assert used.sum_weight == card.sum_weight
    assert used.seconds > 0
    found = inspect_file(tmp_path / "s")
    text = found.render()
    assert "files: 1 damaged, 1 used, 1 unreachable, 1 skipped" in text
    assert f"skipped: {folder}/c.root: named by the skip list: no reason given" in text
    assert f"{folder}/b.root" in text
    assert json.loads(json.dumps(found.to_dict()))["details"]["files"] == [asdict(r) for r in rows]


def test_shards_without_a_ledger_and_with_a_damaged_one(inputs, tmp_path):
    reader = NanoAOD(files=[f"{inputs[0]}/*.root"])
    prepare(reader, PRE, tmp_path / "s")
    ledger = tmp_path / "s" / "files.jsonl"
    card = load_card(tmp_path / "s")
    before = read_ledger(tmp_path / "s", card)
    ledger.unlink()  # as shards of earlier versions
    after = read_ledger(tmp_path / "s", card)
    assert [(r.path, r.passed, r.bytes) for r in after] == [
        (r.path, r.passed, r.bytes) for r in before
    ]
    ledger.write_text("{broken\n")
    with pytest.raises(DataError, match=r"files\.jsonl: is damaged"):
        inspect_file(tmp_path / "s")


def test_a_long_ledger_is_shortened_but_every_problem_is_shown():
    rows = [FileRow(f"{i}.root", "used", entries=1, bytes=2_000_000) for i in range(3000)]
    rows += [FileRow("x.root", "damaged", "cut short")]
    text = render(rows)
    assert "files: 3,000 used, 1 damaged; 6 GB" in text
    assert "and 2,980 more" in text
    assert "damaged: x.root: cut short" in text
    assert len(text.splitlines()) == 24


def test_all_bad_files_are_named_at_once(inputs, tmp_path):
    folder, _ = inputs
    for name in "ac":
        path = folder / f"{name}.root"
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"(?s)2 of 3 files .*a\.root: .*c\.root: .*--skip-bad"):
        prepare(NanoAOD(files=[f"{folder}/*.root"]), PRE, tmp_path / "s")
    with pytest.raises(DataError, match=r"no usable file is left:\n.*b\.root: named by the skip"):
        prepare(NanoAOD(files=[f"{folder}/b.root"], skip=["*.root"]), PRE, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_key_in_a_link_is_not_shown_where_all_files_are_left_out(tmp_path):
    """Who reads the log could open the file with it."""
    reader = NanoAOD(files=["https://host.example/a.root?X-Amz-Signature=1f2e"], skip=["a.root"])
    with pytest.raises(DataError, match=r"https://host\.example/a\.root: named by the") as caught:
        prepare(reader, PRE, tmp_path / "s")
    assert "1f2e" not in str(caught.value)
