from __future__ import annotations

import json
import math
import multiprocessing
import os

import pytest
from pydantic import ValidationError

from transferline.errors import DataError
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.metrics import Measurement
from transferline.evaluation.records import Hashes, Record, append, read, run_key

from .synthetic import record


def test_round_trip_keeps_every_field(tmp_path):
    original = record(
        "finetuned",
        metrics={"auc": Measurement(0.8, 0.001), "rejection_30": Measurement(math.inf, math.inf)},
        extra={"lr": 1e-3, "grid": [{"lr": 1e-3, "auc": 0.7}], "note": "größer"},
        replicas=Replicas("ab12", 0, {"auc": (0.1, 0.2)}),
    )
    append(tmp_path / "new" / "r.jsonl", original)
    assert read(tmp_path / "new" / "r.jsonl") == [original]
    line = (tmp_path / "new" / "r.jsonl").read_text()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_key_names_the_run_and_nothing_else():
    one = record("scratch", 300, 1)
    assert one.key() == record("scratch", 300, 1, commit="other", time="later").key()
    others = [
        record("scratch", 300, 2),
        record("scratch", 1000, 1),
        record("trees", 300, 1),
        record("scratch", 300, 1, task="other"),
        record("scratch", 300, 1, study="other"),
        record("scratch", 300, 1, pretraining="other"),
        record("scratch", 300, 1, hashes=Hashes(config="other")),
    ]
    assert len({r.key() for r in [one, *others]}) == 1 + len(others)


def test_key_is_a_directory_name_and_unique_for_odd_names():
    names = ["a b", "a/b", "../a b", "a-b"]
    keys = {
        run_key(study=n, task="t", mode="m", pretraining="p", n_train=1, seed=0, config="c")
        for n in names
    }
    assert len(keys) == len(names)
    assert not any("/" in key or key.startswith(".") for key in keys)


@pytest.mark.parametrize(
    ("mode", "hashes", "text"),
    [
        ("frozen", {"loaded": "a", "start": "a", "end": "b"}, "at the end"),
        ("frozen", {"loaded": "a", "start": "b", "end": "b"}, "not the one that was loaded"),
        ("finetuned", {"loaded": "a", "start": "b", "end": "c"}, "not the one that was loaded"),
        ("finetuned", {}, "absent"),
        ("scratch", {"loaded": "a", "start": "a", "end": "b"}, "the one of the checkpoint"),
    ],
)
def test_a_record_whose_hashes_contradict_its_mode_cannot_exist(mode, hashes, text):
    with pytest.raises(ValidationError, match=text):
        record(mode, hashes=Hashes(config="c", **hashes))


@pytest.mark.parametrize(
    "line",
    ["{", '{"study": "s"}', "[]", '{"study": "s", "colour": "red"}'],
)
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "r.jsonl"
    append(path, record(seed=1))
    with path.open("a") as handle:
        handle.write(line + "\n")
    append(path, record(seed=2))
    with pytest.raises(DataError, match=r"r\.jsonl:2: is not a record"):
        read(path)


def test_an_unknown_field_and_a_misspelt_metric_field_are_errors(tmp_path):
    path = tmp_path / "r.jsonl"
    for old, new in (('"study"', '"studi"'), ('"error"', '"eror"')):
        path.write_text(record().model_dump_json().replace(old, new) + "\n")
        with pytest.raises(DataError, match=r"r\.jsonl:1"):
            read([path])


@pytest.mark.parametrize("cut", [1, 40, -3])
def test_a_half_written_last_line_is_dropped_then_cut_off(tmp_path, cut):
    path = tmp_path / "r.jsonl"
    append(path, record(seed=1))
    with path.open("a") as handle:
        handle.write(record(seed=2).model_dump_json()[:cut])
    with pytest.warns(RuntimeWarning, match=r"r\.jsonl:2: a half-written"):
        assert [r.seed for r in read(path)] == [1]
    with pytest.warns(RuntimeWarning, match="cut off"):
        append(path, record(seed=3))
    assert [r.seed for r in read(path)] == [1, 3]


def test_a_half_written_letter_does_not_hide_the_other_lines(tmp_path):
    path = tmp_path / "r.jsonl"
    append(path, record(seed=1))
    with path.open("ab") as handle:
        handle.write('{"study": "ü'.encode()[:-1])
    with pytest.warns(RuntimeWarning, match="half-written"):
        assert [r.seed for r in read(path)] == [1]


def test_a_whole_last_line_without_its_end_is_kept(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(record(seed=1).model_dump_json())
    assert [r.seed for r in read(path)] == [1]
    append(path, record(seed=2))
    assert [r.seed for r in read(path)] == [1, 2]


def test_files_that_cannot_be_read_or_written_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read"):
        read(tmp_path / "absent.jsonl")
    (tmp_path / "r.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match=r"r\.jsonl:1: is not UTF-8"):
        read(tmp_path / "r.jsonl")
    with pytest.raises(DataError, match="cannot be written"):
        append(tmp_path, record())


def _write_many(path, first):
    for seed in range(first, first + 25):
        append(path, record(seed=seed, extra={"pad": "x" * 5000}))


def test_four_processes_append_to_one_file(tmp_path):
    path = tmp_path / "r.jsonl"
    context = multiprocessing.get_context("spawn" if os.name == "nt" else "forkserver")
    workers = [context.Process(target=_write_many, args=(path, 100 * i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    expected = sorted(100 * i + k for i in range(4) for k in range(25))
    assert sorted(r.seed for r in read(path)) == expected


def test_a_killed_writer_leaves_a_readable_file(tmp_path):
    path = tmp_path / "r.jsonl"
    context = multiprocessing.get_context("forkserver")
    writer = context.Process(target=_write_many, args=(path, 0))
    writer.start()
    while not path.exists() or path.stat().st_size < 20_000:
        assert writer.is_alive() or path.exists()
    writer.kill()
    writer.join()
    assert all(isinstance(r, Record) for r in read(path))
