from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transferline.data.loader import Loader
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import selection

from . import nanoaod_files as files


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loader")
    path = files.write(folder / "a.root", files.random_events(1500, 7))
    prepare(NanoAOD(files=[str(path)]), selection("pretraining"), folder / "s", unit_size=400)
    return ShardSet(folder / "s")


def numbers(batches):
    """Event numbers, batch by batch."""
    return [batch.id[:, 2].tolist() for batch in batches]


def flat(batches):
    return [number for batch in numbers(batches) for number in batch]


@given(
    options=st.fixed_dictionaries(
        {
            "batch_size": st.integers(1, 6) | st.integers(7, 90),
            "pool": st.integers(1, 6),
            "shuffle": st.booleans(),
        }
    ),
    epoch=st.integers(0, 3),
    kept=st.integers(0, 200),
)
def test_every_row_exactly_once_per_epoch(shards, options, epoch, kept):
    rows = np.arange(len(shards))[::-1][:kept].copy()
    loader = Loader(shards, rows, **options)
    batches = numbers(loader.batches(epoch))
    assert len(batches) == len(loader)
    events = shards.id["event"][rows].tolist()
    assert sorted(chain.from_iterable(batches)) == sorted(events)
    if not options["shuffle"]:
        assert list(chain.from_iterable(batches)) == events


@given(
    size=st.integers(1, 6) | st.integers(7, 60), pool=st.integers(1, 5), start=st.integers(0, 40)
)
def test_start_equals_skipping(shards, size, pool, start):
    loader = Loader(shards, None, size, pool=pool, seed=3)
    assert numbers(loader.batches(1, start)) == numbers(loader.batches(1))[start:]


def test_skipped_batches_are_not_read(shards, monkeypatch):
    loader = Loader(shards, None, 20)
    gathered = []
    real = ShardSet.gather
    monkeypatch.setattr(ShardSet, "gather", lambda s, rows: gathered.append(0) or real(s, rows))
    list(loader.batches(0, len(loader) - 2))
    assert len(gathered) == 2


def test_order_depends_on_seed_and_epoch_alone(shards):
    one, same, other = (Loader(shards, None, 32, seed=s) for s in (1, 1, 2))
    assert flat(one.batches(4)) == flat(same.batches(4))
    assert flat(one.batches(4)) == flat(one.batches(4))
    assert flat(one.batches(4)) != flat(one.batches(5))
    assert flat(one.batches(4)) != flat(other.batches(4))


def test_batches_are_of_similar_length(shards):
    rows = np.tile(np.arange(len(shards)), 12)  # enough for pools of 16 batches

    def real_share(**options):
        batches = Loader(shards, rows, 16, **options).batches(0)
        return np.mean([batch.is_real.float().mean().item() for batch in batches])

    assert real_share(pool=16) > real_share(pool=1) + 0.05


def test_few_events_meet_others_in_every_epoch(shards):
    """One pool of all of them, sorted, would be cut at the same places again and again."""
    loader = Loader(shards, np.arange(160), 16)
    one, other = (
        {frozenset(pair) for batch in numbers(loader.batches(epoch)) for pair in _pairs(batch)}
        for epoch in (0, 1)
    )
    assert len(one & other) < 0.2 * len(one)  # 16 of 160 by chance: a tenth


def _pairs(batch):
    return combinations(batch, 2)


def test_padding_is_zero(shards):
    for batch in Loader(shards, None, 50).batches(0):
        empty = ~batch.is_real
        assert not batch.p4[empty].any()
        assert not any(values[empty].any() for values in batch.columns.values())
        assert (batch.p4[..., 0] > 0)[batch.is_real].all()


def test_target_and_weight_follow_their_rows(shards):
    target = (shards.id["event"] % 3).astype(np.int64)
    weight = shards.id["event"] * 0.5
    loader = Loader(shards, np.arange(5, 180), 40, target=target, weight=weight)
    for batch in loader.batches(0):
        assert torch.equal(batch.target, batch.id[:, 2] % 3)
        assert torch.equal(batch.weight, batch.id[:, 2].float() * 0.5)
    plain = next(Loader(shards, None, 40).batches(0))
    assert plain.target is None
    assert (plain.weight < 0).any()  # signed, as they come from the shards
    with pytest.raises(ValueError, match="target has 3 entries"):
        Loader(shards, None, 40, target=target[:3])


def test_drop_last_leaves_out_other_events_each_epoch(shards):
    loader = Loader(shards, np.arange(100), 32, drop_last=True)
    assert len(loader) == 3
    left = [set(range(100)) - _rows(shards, loader, epoch) for epoch in range(4)]
    assert all(len(rows) == 4 for rows in left)
    assert len(set(map(frozenset, left))) > 1


def _rows(shards, loader, epoch):
    place = {event: row for row, event in enumerate(shards.id["event"].tolist())}
    return {place[event] for event in flat(loader.batches(epoch))}


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 4, "pool": 0}])
def test_sizes_must_be_positive(shards, options):
    with pytest.raises(ValueError, match="at least 1"):
        Loader(shards, None, **options)


@pytest.mark.parametrize("row", [-1, 10**6])
def test_rows_must_exist(shards, row):
    with pytest.raises(ValueError, match="rows must lie in 0"):
        Loader(shards, np.array([0, row]), 8)


def test_no_rows(shards):
    assert list(Loader(shards, np.array([], np.int64), 8).batches(0)) == []
