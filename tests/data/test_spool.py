from __future__ import annotations

import subprocess
import sys
import textwrap

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest

from transferline.data.events import ID_DTYPE, Events
from transferline.data.jagged import offsets_of, records
from transferline.data.selections.merge import OBJECT_COLUMNS
from transferline.data.shard_writer import ShardWriter
from transferline.data.spool import Spool
from transferline.errors import DataError


def test_columns_come_back_whole_and_outlive_the_spool(tmp_path):
    rng = np.random.default_rng(0)
    pieces = [rng.random((n, 3)).astype(np.float32) for n in (5, 0, 7)]
    with Spool(tmp_path) as spool:
        for piece in pieces:
            spool.add("values", piece)
            spool.add("count", np.array([len(piece)], np.int64))
        values = spool.column("values", np.float32)
        spool.add("values", pieces[0])
        assert len(spool.column("values", np.float32)) == 3 * 17
        count = spool.column("count", np.int64)
        assert spool.column("never", np.uint64).shape == (0,)
    assert count.tolist() == [5, 0, 7]
    np.testing.assert_array_equal(values.reshape(-1, 3), np.concatenate(pieces))


def test_strided_columns_are_written_in_order(tmp_path):
    identity = np.zeros(3, ID_DTYPE)
    identity["event"] = 7, 8, 9
    with Spool(tmp_path) as spool:
        spool.add("event", identity["event"])
        assert spool.column("event", np.uint64).tolist() == [7, 8, 9]


def test_sorting_a_column_needs_no_memory_of_the_process(tmp_path):
    program = f"""
        import numpy as np, pathlib
        from transferline.data.spool import Spool

        def anonymous():
            lines = pathlib.Path("/proc/self/status").read_text().splitlines()
            return next(int(x.split()[1]) for x in lines if x.startswith("RssAnon"))

        rng = np.random.default_rng(0)
        with Spool(pathlib.Path({str(tmp_path)!r})) as spool:
            before = anonymous()
            for _ in range(40):
                spool.add("hash", rng.integers(0, 2**63, 1 << 16, np.uint64))
            hashes = spool.column("hash", np.uint64)
            hashes.sort()
            assert (hashes[1:] >= hashes[:-1]).all()
            print(anonymous() - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 8 << 10, "kB, for a column of 20 MB"


def test_a_killed_process_leaves_nothing_behind(tmp_path):
    program = f"""
        import numpy as np, os, pathlib
        from transferline.data.spool import Spool

        spool = Spool(pathlib.Path({str(tmp_path)!r}))
        spool.add("a", np.zeros(1000))
        assert spool.column("a", np.float64).sum() == 0
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -9
    assert not list(tmp_path.iterdir())


def _events(counts: list[int], first: int) -> Events:
    n = sum(counts)
    fields = {name: np.arange(n, dtype=np.float32) + i for i, name in enumerate(OBJECT_COLUMNS)}
    identity = np.zeros(len(counts), ID_DTYPE)
    identity["event"] = first + np.arange(len(counts))
    objects = records(offsets_of(np.array(counts, np.int64)), fields)
    return Events({"object": objects}, np.full(len(counts), 0.5), identity)


def _write(tmp_path, name: str, chunks: list[Events]) -> pa.Table:
    with Spool(tmp_path) as spool:
        writer = ShardWriter(spool, {"signal": 1.0}, "a.root")
        for chunk in chunks:
            writer.add(chunk)
        writer.write(tmp_path / name)
        assert len(writer.weight) == sum(map(len, chunks))
    with pa.ipc.open_file(pa.memory_map(str(tmp_path / name), "r")) as file:
        assert file.num_record_batches == (1 if sum(map(len, chunks)) else 0)
        return file.read_all()


def test_chunks_become_one_record_batch(tmp_path):
    chunks = [_events([2, 0], 1), _events([], 3), _events([1, 3, 0], 3)]
    table = _write(tmp_path, "a.arrow", chunks)
    assert [len(objects) for objects in table["particles"].to_pylist()] == [2, 0, 1, 3, 0]
    assert table["event"].to_pylist() == [1, 2, 3, 4, 5]
    assert table["label.signal"].to_pylist() == [1.0] * 5
    expected = ak.concatenate([ak.flatten(chunk.particles["object"]["pt"]) for chunk in chunks])
    found = [row[0] for objects in table["particles"].to_pylist() for row in objects]
    assert found == expected.tolist()


def test_no_event_is_a_file_without_record_batches(tmp_path):
    assert _write(tmp_path, "a.arrow", []).num_rows == 0
    assert _write(tmp_path, "b.arrow", [_events([], 1)]).num_rows == 0


def test_what_is_not_finite_is_named(tmp_path):
    chunk = _events([2], 1)
    fields = {
        name: ak.flatten(chunk.particles["object"][name]).to_numpy() for name in OBJECT_COLUMNS
    }
    fields["mass"] = np.array([1.0, np.nan], np.float32)
    objects = records(offsets_of(np.array([2], np.int64)), fields)
    with Spool(tmp_path) as spool:
        writer = ShardWriter(spool, {}, "a.root")
        with pytest.raises(DataError, match=r"a\.root.*'mass'"):
            writer.add(Events({"object": objects}, chunk.weight, chunk.id))
