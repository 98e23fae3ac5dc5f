"""Bad directories of shards."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from transferline.files import json_hash

from .items import Item, Make, Words, inspect, pretrain, transfer
from .material import Good

READ: dict[str, Words] = {"inspect": inspect, "pretrain": pretrain, "transfer": transfer}
PART = "part-00000.arrow"

FLIPS = {"quick": 5, "full": 300}


def copied(change: Callable[[Path], Any]) -> Make:
    """A copy of good shards, changed in place."""

    def make(good: Good, folder: Path) -> Path:
        shutil.copytree(good.shards, folder / "shards")
        change(folder / "shards")
        return folder / "shards"

    return make


def carded(change: Callable[[dict[str, Any]], Any]) -> Make:
    """A copy of good shards with a card that was changed in place."""

    def apply(shards: Path) -> None:
        card = json.loads((shards / "card.json").read_text())
        change(card)
        (shards / "card.json").write_text(json.dumps(card))

    return copied(apply)


def written(name: str, content: bytes) -> Make:
    return copied(lambda shards: (shards / name).write_bytes(content))


def _rehash(shards: Path) -> None:
    """Let the card agree with the bytes: as one who means harm would."""
    path = shards / "card.json"
    card = json.loads(path.read_text())
    for part in card["parts"]:
        data = (shards / part["file"]).read_bytes()
        part |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    card["content_hash"] = json_hash([part["sha256"] for part in card["parts"]])
    path.write_text(json.dumps(card))


def _part(change: Callable[[bytes], bytes], rehash: bool = False) -> Make:
    def apply(shards: Path) -> None:
        data = (shards / PART).read_bytes()
        (shards / PART).write_bytes(change(data))
        if rehash:
            _rehash(shards)

    return copied(apply)


def _table(change: Callable[[pa.Table], pa.Table]) -> Make:
    """Another table under a card that agrees with it."""

    def apply(shards: Path) -> None:
        with pa.OSFile(str(shards / PART), "rb") as source:
            table = change(pa.ipc.open_file(source).read_all())
        with (
            pa.OSFile(str(shards / PART), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as out,
        ):
            out.write_table(table)
        _rehash(shards)

    return copied(apply)


def _elsewhere(name: str) -> Make:
    """A card that names a file outside of its directory, which is there."""

    def make(good: Good, folder: Path) -> Path:
        shutil.copy(good.shards / PART, folder / PART)
        return carded(lambda card: card["parts"][0].update(file=name.format(folder=folder)))(
            good, folder
        )

    return make


def _two_parts(good: Good, folder: Path) -> Path:
    """Two parts that were exchanged."""
    shards = folder / "shards"
    shutil.copytree(good.shards, shards)
    shutil.copy(good.other_shards / PART, shards / "part-00001.arrow")
    card = json.loads((shards / "card.json").read_text())
    other = json.loads((good.other_shards / "card.json").read_text())
    card["parts"] = [
        other["parts"][0] | {"file": PART},
        card["parts"][0] | {"file": "part-00001.arrow"},
    ]
    card["n_events"] += other["n_events"]
    (shards / "card.json").write_text(json.dumps(card))
    return shards


def _floats(table: pa.Table, value: float) -> pa.Table:
    column = table.column("particles").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    width = column.type.value_type.list_size
    values = np.array(column.values.values, np.float32)
    values[0] = value
    inner = pa.FixedSizeListArray.from_arrays(pa.array(values), width)
    particles = pa.ListArray.from_arrays(column.offsets, inner)
    return table.set_column(0, table.schema.field(0), particles)


def _column(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        array = pa.array(values(table.num_rows))
        return table.set_column(place, pa.field(name, array.type), array)

    return change


def _weights(value: float) -> Callable[[pa.Table], pa.Table]:
    return _column("weight", lambda n: np.full(n, value))


def _format(table: pa.Table) -> pa.Table:
    metadata = {**table.schema.metadata, b"format": b"transferline-shards-9"}
    return table.replace_schema_metadata(metadata)


def _no_metadata(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata({})


def _flip(number: int, rehash: bool) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        rng = random.Random(f"shards/{number}")
        changed = bytearray(data)
        # Half of them in the metadata at both ends, where a reader follows offsets.
        edge = 2000 if number % 2 else len(data)
        place = rng.randrange(edge)
        changed[place if rng.random() < 0.5 else -1 - place] ^= 1 << rng.randrange(8)
        return bytes(changed)

    return change


def _empty_directory(_good: Good, folder: Path) -> Path:
    (folder / "shards").mkdir()
    return folder / "shards"


def _a_file(_good: Good, folder: Path) -> Path:
    (folder / "shards").write_text("not a directory")
    return folder / "shards"


def _rows() -> list[tuple[str, Make, str]]:
    card = "card.json: is damaged"
    return [
        ("no directory", lambda _, folder: folder / "shards", "shards"),
        ("empty directory", _empty_directory, "shards"),
        ("a file", _a_file, "shards"),
        ("no card", copied(lambda s: (s / "card.json").unlink()), "has no card.json"),
        ("card is a directory", copied(lambda s: ((s / "card.json").unlink(),
            (s / "card.json").mkdir())), "card.json"),
        ("card empty", written("card.json", b""), card),
        ("card cut", copied(lambda s: (s / "card.json").write_bytes(
            (s / "card.json").read_bytes()[:900])), card),
        ("card not UTF-8", written("card.json", b"\xff\xfe\x00"), card),
        ("card a list", written("card.json", b"[1, 2]"), card),
        ("card nested deep", written("card.json", b"[" * 100_000), card),
        ("card with a number of 5,000 digits", written("card.json", b"9" * 5000), card),
        ("card without keys", written("card.json", b"{}"), card),
        ("card of an older version", carded(lambda c: c.pop("content_hash")), f"{card}.*content_hash"),
        ("columns of another type", carded(lambda c: c.update(columns=5)), f"{card}.*columns"),
        ("columns in another order", carded(lambda c: c["columns"].reverse()), "columns"),
        ("columns renamed", carded(lambda c: c["columns"].__setitem__(6, "x" * 100_000)), "columns"),
        ("number of events wrong", carded(lambda c: c.update(n_events=1)), card),
        ("number of events is text", carded(lambda c: c.update(n_events="many")), card),
        ("cut-flow of another type", carded(lambda c: c.update(cutflow=[{"name": 3}])), card),
        ("selection is text", carded(lambda c: c.update(selection="l1")), card),
        ("part without hash", carded(lambda c: c["parts"][0].pop("sha256")), card),
        ("part with a size that is text", carded(lambda c: c["parts"][0].update(size="x")), card),
        ("part above the directory", _elsewhere("../part-00000.arrow"), card),
        ("part with an absolute path", _elsewhere("{folder}/part-00000.arrow"), card),
        ("part with a NUL", carded(lambda c: c["parts"][0].update(file="part-0\0.arrow")), card),
        ("part a device", carded(lambda c: c["parts"][0].update(file="/dev/zero")), card),
        ("rows wrong", carded(lambda c: (c["parts"][0].update(rows=1), c.update(n_events=1))),
            "does not hold the 1 events"),
        ("content hash wrong", carded(lambda c: c.update(content_hash="0" * 64)), "content hash"),
        ("part missing", copied(lambda s: (s / PART).unlink()), f"{PART}: is missing"),
        ("part empty", written(PART, b""), f"{PART}: is truncated or was changed"),
        ("part cut", _part(lambda d: d[: len(d) // 2]), f"{PART}: is truncated or was changed"),
        ("part cut, card agrees", _part(lambda d: d[: len(d) // 2], rehash=True), f"{PART}: is not a"),
        ("part is text, card agrees", _part(lambda d: b"text" * 99, rehash=True), f"{PART}: is not a"),
        ("part is a directory", copied(lambda s: ((s / PART).unlink(), (s / PART).mkdir())), PART),
        ("parts exchanged", _two_parts, PART),
        ("one byte of a value changed", _part(
            lambda d: d[:20_000] + bytes([d[20_000] ^ 1]) + d[20_001:]), f"{PART}: its bytes"),
        ("another format", _table(_format), "transferline-shards-9"),
        ("without metadata", _table(_no_metadata), f"{PART}: has the format 'unknown'"),
        ("weights are text", _table(_column("weight", lambda n: ["x"] * n)), PART),
        ("weights are absent", _table(_column("weight", lambda n: [None] * n)), PART),
        ("some weights are null", _table(_column("weight", lambda n: [None] + [1.0] * (n - 1))), PART),
        ("no column of hashes", _table(lambda t: t.drop_columns(["hash"])), PART),
        ("no rows", _table(lambda t: t.slice(0, 0)), PART),
    ]  # fmt: skip


def _not_finite() -> list[Item]:
    """Bytes that agree with their card, and numbers that `prepare` never writes."""
    train = {"pretrain": pretrain, "transfer": transfer}
    rows = [
        (f"{value} {where}", _table(change), where)
        for value in (float("nan"), float("inf"))
        for where, change in (
            ("in a weight", _weights(value)),
            ("in a particle", partial(_floats, value=value)),
        )
    ]
    weighted = [
        ("weights of zero", _table(_weights(0.0)), "weight"),
        ("weights of 1e308", _table(_weights(1e308)), "weight|diverged"),
    ]
    return [
        *(Item("shards", n, make, train, "not finite", codes=(3,)) for n, make, _ in rows),
        *(
            Item("shards", n, make, {"transfer": transfer}, says, codes=(3, 4))
            for n, make, says in weighted
        ),
    ]


def _odd() -> list[Item]:
    """Changes that need not matter."""
    return [
        Item("shards", "card of a later version", carded(lambda c: c.update(version="99.0", new=1)),
             READ, may_pass=True),
        Item("shards", "further files beside", written("notes.txt", b"mine"), READ, may_pass=True),
        Item("shards", "a megabyte of name", carded(lambda c: c.update(sample="x" * 1_000_000)),
             {"pretrain": pretrain}, may_pass=True),
    ]  # fmt: skip


def _takers(scale: str, number: int) -> dict[str, Words]:
    """All commands open shards by the same code: in turn, one or two of them stand for all."""
    if scale == "full":
        return READ
    return {"inspect": inspect} if number % 2 else {"pretrain": pretrain, "transfer": transfer}


def items(scale: str) -> list[Item]:
    """All bad directories of shards."""
    rows = [
        Item("shards", name, make, _takers(scale, number), says)
        for number, (name, make, says) in enumerate(_rows())
    ]
    flips = [
        Item("shards flip", f"{n:03d}", _part(_flip(n, False)), _takers(scale, n), PART)
        for n in range(FLIPS[scale])
    ]
    # With a card that agrees nothing tells that a value is another one; the rest must not crash.
    agreed = [
        Item("shards flip, card agrees", f"{n:03d}", _part(_flip(n, True), rehash=True),
             _takers(scale, n), "part-|finite|weight", codes=(3, 4), may_pass=True)
        for n in range(FLIPS[scale])
    ]  # fmt: skip
    return [*rows, *_not_finite(), *_odd(), *flips, *agreed]
