from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch

from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import Shards, ShardSet
from transferline.data.selections import selection
from transferline.errors import DataError

from . import nanoaod_files as files

PRE = selection("pretraining")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two shard directories of several parts each."""
    folder = tmp_path_factory.mktemp("shards")
    for i, (name, n) in enumerate((("a", 500), ("b", 300))):
        path = files.write(folder / f"{name}.root", files.random_events(n, i, first=1000 * i))
        labels = {"signal": 1 - i} | ({"extra": 1} if i else {})
        prepare(NanoAOD(files=[str(path)]), PRE, folder / name, labels=labels, unit_size=170)
    return [folder / "a", folder / "b"]


def objects(folders):
    """Plain lists of objects of all rows, read the slow way."""
    rows = []
    for folder in folders:
        for part in json.loads((folder / "card.json").read_text())["parts"]:
            with pa.ipc.open_file(str(folder / part["file"])) as file:
                rows += file.read_all().column("particles").to_pylist()
    return rows


def test_gather_gives_what_the_files_hold(folders):
    shards = ShardSet(folders)
    expected = objects(folders)
    assert len(shards) == len(expected)
    assert shards.n_particles.tolist() == [len(row) for row in expected]
    rows = np.random.default_rng(0).permutation(len(shards))[:50]
    batch = shards.gather(rows)
    assert batch.p4.shape[1] % 8 == 0
    assert batch.columns["species"].dtype == torch.int64
    for i, row in enumerate(rows):
        n = len(expected[row])
        assert batch.is_real[i].tolist() == [True] * n + [False] * (len(batch.is_real[i]) - n)
        columns = [batch.p4[i], *(batch.columns[c][i, :, None] for c in shards.columns[4:])]
        table = torch.cat([c.float() for c in columns], dim=1)
        assert torch.equal(table[:n], torch.tensor(expected[row]))
        assert not table[n:].any()
    assert torch.equal(batch.id[:, 2], torch.from_numpy(shards.id["event"][rows].astype(int)))
    assert torch.equal(batch.weight, torch.from_numpy(shards.weight[rows]).float())


def test_event_columns_run_through_all_directories(folders):
    shards, (a, b) = ShardSet(folders), (ShardSet(f) for f in folders)
    assert shards.source.tolist() == [0] * len(a) + [1] * len(b)
    assert np.array_equal(shards.hash, np.concatenate([a.hash, b.hash]))
    assert shards.label_names == ["signal"]  # `extra` is not in both
    assert np.array_equal(shards.labels["signal"], 1 - shards.source)
    assert b.label_names == ["extra", "signal"]
    assert shards.content_hash == f"{a.content_hash}+{b.content_hash}"


def test_width_can_be_fixed_but_not_too_small(folders):
    shards = ShardSet(folders)
    longest = int(shards.n_particles.max())
    assert shards.gather(np.arange(5), width=40).p4.shape == (5, 40, 4)
    with pytest.raises(ValueError, match="too small"):
        shards.gather(np.arange(len(shards)), width=longest - 1)
    assert shards.gather(np.array([], int)).p4.shape == (0, 8, 4)


def test_values_are_mapped_not_copied(folders):
    shards = ShardSet(folders)
    assert all(not piece.values.flags.owndata for piece in shards._pieces)
    assert all(not piece.values.flags.writeable for piece in shards._pieces)


def test_pickles_as_paths(folders):
    shards = ShardSet(folders)
    copy = pickle.loads(pickle.dumps(shards))
    assert len(pickle.dumps(shards)) < 2000
    assert torch.equal(copy.gather(np.arange(9)).p4, shards.gather(np.arange(9)).p4)


def test_several_record_batches_in_a_file(folders, tmp_path):
    source = folders[0]
    card = json.loads((source / "card.json").read_text())
    for part in card["parts"]:
        with pa.ipc.open_file(str(source / part["file"])) as file:
            table = file.read_all()
        with pa.ipc.new_file(str(tmp_path / part["file"]), table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
        part["size"] = (tmp_path / part["file"]).stat().st_size
    (tmp_path / "card.json").write_text(json.dumps(card))
    one, many = ShardSet(source), ShardSet(tmp_path)
    assert len(many._pieces) > 3 * len(one._pieces)
    rows = np.random.default_rng(1).permutation(len(one))
    left, right = one.gather(rows), many.gather(rows)
    assert torch.equal(left.p4, right.p4)
    assert torch.equal(left.columns["btag"], right.columns["btag"])
    assert np.array_equal(one.hash, many.hash)


def test_reader_chunks_and_unknown_columns(folders):
    reader = Shards(files=[str(f) for f in folders])
    whole = files.join(reader.chunks({"object": ["pt", "species"]}))
    assert whole.particles["object"].fields == ["pt", "species"]
    assert files.equal(whole, files.join(reader.chunks({"object": ["pt", "species"]}, 31)))
    with pytest.raises(DataError, match=r"no column object\.energy"):
        list(reader.chunks({"object": ["energy"]}))
    source = reader.source(str(folders[0]))
    assert source.format == "shards"
    assert source.sum_weight == ShardSet(folders[0]).cards[0].sum_weight


def test_damage_is_named(folders, tmp_path):
    for name, spoil, message in (
        ("gone", lambda d: (d / "part-00001.arrow").unlink(), "part-00001.arrow: is missing"),
        ("cut", lambda d: _cut(d / "part-00000.arrow"), "part-00000.arrow: is truncated"),
        ("zero", lambda d: _zero(d / "part-00000.arrow"), "not a readable Arrow file"),
        ("card", lambda d: (d / "card.json").write_text("{"), "card.json: is damaged"),
        ("no card", lambda d: (d / "card.json").unlink(), "unfinished"),
    ):
        copy = tmp_path / name
        shutil.copytree(folders[0], copy)
        spoil(copy)
        with pytest.raises(DataError, match=message):
            ShardSet(copy)
    with pytest.raises(DataError, match="no such directory"):
        ShardSet(tmp_path / "never")
    with pytest.raises(DataError, match="no shard directory"):
        ShardSet([])


def _cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def _zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def test_directories_must_have_the_same_columns(folders, tmp_path):
    card = json.loads((folders[1] / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(card | {"columns": ["pt", "eta"]}))
    with pytest.raises(DataError, match="has the particle columns"):
        ShardSet([folders[0], tmp_path])


def test_files_and_card_must_agree_on_the_columns(folders, tmp_path):
    copy = shutil.copytree(folders[0], tmp_path / "copy")
    card = json.loads((copy / "card.json").read_text())
    card["columns"][4:6] = ["species", "charge"]
    (copy / "card.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match=r"part-00000\.arrow: holds the particle columns"):
        ShardSet(copy)


def test_a_part_without_events(folders, tmp_path):
    files.write(tmp_path / "a.root", files.as_events([files.event()]))
    files.write(tmp_path / "b.root", files.random_events(100, 4))
    card = prepare(NanoAOD(files=[str(tmp_path / "*.root")]), PRE, tmp_path / "s")
    assert [part["rows"] for part in card.parts] == [0, card.n_events]
    shards = ShardSet(tmp_path / "s")
    assert len(shards) == len(shards.hash) == len(shards.n_particles) == card.n_events
