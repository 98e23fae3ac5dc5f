"""Jets beyond memory: blocks that mix all files, nothing lost, and a bound on memory that holds."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferline.data import shuffling
from transferline.data.loader import Loader
from transferline.data.prepare import prepare
from transferline.data.readers.jetclass import JetClass
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import load_selection

from . import jet_files

SIZES = (700, 90, 400)  # jets of each class, which has a directory of two files of its own


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jets")
    for i, n in enumerate(SIZES):
        files = [
            str(jet_files.write_jetclass(folder / f"{i}-{k}.root", jet_files.random_jets(n, 9 + k)))
            for k in (0, i + 1)
        ]
        prepare(JetClass(files=files), load_selection("jets"), folder / f"class-{i}")
    return ShardSet([folder / f"class-{i}" for i in range(len(SIZES))])


@pytest.fixture
def by_block(monkeypatch, shards):
    """Make a set of 2380 jets one that is too large for memory."""
    per_jet = shards.nbytes / len(shards)
    monkeypatch.setattr(shuffling, "FULL_SHUFFLE_BYTES", 0)
    monkeypatch.setattr(shuffling, "BLOCK_BYTES", int(8 * per_jet) + 1)
    monkeypatch.setattr(shuffling, "GROUP_BYTES", int(320 * per_jet) + 1)


def rows_of(shards, loader, epoch, start=0):
    """The rows of each batch: no jet tells its row, so they are taken on their way to the files."""
    found = []

    class Spy:
        lengths = shards.lengths

        def gather(self, rows):
            found.append(rows.tolist())

    loader.shards = Spy()
    list(loader.batches(epoch, start))
    return found


@given(
    options=st.fixed_dictionaries(
        {
            "batch_size": st.integers(1, 90),
            "pool": st.integers(1, 6),
            "drop_last": st.booleans(),
        }
    ),
    blocks=st.tuples(st.integers(1, 60), st.integers(1, 900)),
    kept=st.integers(0, 400),
    start=st.integers(0, 30),
)
def test_every_row_exactly_once_and_any_start(shards, options, blocks, kept, start):
    per_jet = shards.nbytes / len(shards)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffling, "FULL_SHUFFLE_BYTES", -1)
        patch.setattr(shuffling, "BLOCK_BYTES", blocks[0] * per_jet)
        patch.setattr(shuffling, "GROUP_BYTES", blocks[1] * per_jet)
        rows = np.random.default_rng(kept).permutation(len(shards))[:kept]
        loader = Loader(shards, rows, **options)
        assert loader._blocks is not None
        batches = rows_of(shards, loader, epoch=1)
        found = list(chain.from_iterable(batches))
        assert len(batches) == len(loader)
        assert len(set(found)) == len(found)
        assert set(found) <= set(rows.tolist())
        size = options["batch_size"]
        assert len(found) == (kept - kept % size if options["drop_last"] else kept)
        assert rows_of(shards, loader, 1, start) == batches[start:]
        other = list(chain.from_iterable(rows_of(shards, loader, 2)))
        assert found != other or len(found) < 20


@pytest.mark.usefixtures("by_block")
def test_every_stretch_holds_all_classes_in_proportion(shards):
    order = Loader(shards, None, 16, pool=4)._order(0)[0 : len(shards)]
    assert sorted(order.tolist()) == list(range(len(shards)))
    shares = np.array(SIZES) / sum(SIZES)
    file = np.searchsorted(shards.file_starts, order, side="right") - 1
    for low in range(0, len(order) - 320, 320):
        counts = np.bincount(shards.source[order[low : low + 320]], minlength=3)
        # A block more or less at either end of a class; plain random blocks miss the rare class.
        np.testing.assert_allclose(counts, 320 * shares, atol=3 * 8)
        assert len(np.unique(file[low : low + 320])) >= 5


@pytest.mark.usefixtures("by_block")
def test_blocks_are_neighbours_and_groups_are_mixed(shards):
    loader = Loader(shards, None, 16, pool=4)
    blocks = loader._blocks
    assert 7 <= blocks.rows_per_block <= 8 and 319 <= blocks.rows_per_group <= 320
    group = loader._order(3)[0:320]
    assert len(set((group // 8).tolist())) < 320 / 8 * 2.5  # few places of the disk are read
    assert np.abs(np.diff(group)).mean() > 300  # and yet no neighbours follow each other


def test_what_fits_in_memory_is_mixed_whole(shards):
    assert Loader(shards, None, 16)._blocks is None
    assert Loader(shards, None, 16).memory.mixed == len(shards)


@pytest.mark.usefixtures("by_block")
def test_order_of_predictions_is_kept(shards):
    rows = np.arange(len(shards))[::-7].copy()
    assert rows_of(shards, Loader(shards, rows, 50, shuffle=False), 0) == [
        rows[low : low + 50].tolist() for low in range(0, len(rows), 50)
    ]


MEASURE = """
import sys, re
from transferline.runtime import prepare_process
prepare_process()
import numpy as np
from transferline.data import shuffling
from transferline.data.loader import Loader
from transferline.data.readers.shards import ShardSet

def anonymous():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])

if sys.argv[1] == "blocks":
    shuffling.FULL_SHUFFLE_BYTES, shuffling.GROUP_BYTES = 0, 1 << 23
shards = ShardSet(sys.argv[2:] * 12)  # the same files many times: more rows, no more disk
next(Loader(ShardSet(sys.argv[2:]), None, 2).batches(0))  # machine code, imports
before = anonymous()
loader = Loader(shards, None, 2048, target=np.zeros(len(shards), np.int64))
print(loader.memory.total)
batch, most = None, 0
for epoch in (0, 1):
    for number, batch in enumerate(loader.batches(epoch)):
        most = max(most, anonymous() - before)
        if number == 25:
            break
print(most)
print(*Loader(ShardSet(sys.argv[2:]), None, 16, seed=7)._order(3)[0:99999])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["blocks", "whole"])
def test_memory_stays_below_what_is_stated_and_every_process_has_one_order(
    shards, how, monkeypatch
):
    command = [sys.executable, "-c", MEASURE, how, *map(str, shards.paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    stated, measured, order = done.stdout.splitlines()
    assert 0.3 * int(stated) < int(measured) <= int(stated)
    if how == "blocks":
        monkeypatch.setattr(shuffling, "FULL_SHUFFLE_BYTES", 0)
        monkeypatch.setattr(shuffling, "GROUP_BYTES", 1 << 23)
    own = Loader(shards, None, 16, seed=7)._order(3)[0:99999]
    assert list(map(int, order.split())) == own.tolist()


def test_the_statement_names_what_counts(shards):
    memory = Loader(shards, None, 256).memory
    width = -(-int(shards.n_particles.max()) // 8) * 8
    assert (memory.width, memory.batch_size, memory.events) == (width, 256, len(shards))
    largest = next(
        Loader(shards, np.argsort(shards.n_particles)[-256:], 256, shuffle=False).batches(0)
    )
    tensors = [largest.p4, largest.is_real, largest.weight, largest.id]
    tensors += [*largest.columns.values(), *largest.context.values()]
    size = sum(tensor.nbytes for tensor in tensors)
    assert size <= memory.batch <= 1.3 * size
    assert f"{len(shards):,} events" in str(memory) and "All events are mixed" in str(memory)
