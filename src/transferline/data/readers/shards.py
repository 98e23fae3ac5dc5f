"""Prepared shards: as a reader of `Events`, and memory-mapped for batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from transferline.data.batch import Batch
from transferline.data.card import DataCard, load_card
from transferline.data.events import ID_DTYPE, Events
from transferline.data.jagged import offsets_of, records
from transferline.data.layouts.shards import CARD, P4_COLUMNS
from transferline.data.readers.base import CHUNK_SIZE, Columns, Reader, Source
from transferline.data.readers.gather import gather_rows
from transferline.errors import DataError

_WIDTH_STEP = 8  # few distinct widths: less padding than powers of two, few shapes to compile


@dataclass(frozen=True)
class _Piece:
    """One record batch: views of the memory map, nothing copied."""

    batch: pa.RecordBatch
    offsets: NDArray[np.int32]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> _Piece:
        particles = batch.column("particles")
        inner = particles.values
        width = inner.type.list_size
        flat = inner.values.to_numpy(zero_copy_only=True).reshape(-1, width)
        start = inner.offset
        return cls(batch, particles.offsets.to_numpy(zero_copy_only=True), flat[start:])

    def column(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self.batch.column(name).to_numpy(zero_copy_only=True)
        return values


def _open_part(directory: Path, part: dict[str, Any]) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """Map one shard file.

    Raises:
        DataError: the file is missing, or is not as long as its card says, or is not Arrow.
    """
    path = directory / part["file"]
    if not path.exists():
        raise DataError(f"{path}: is missing, though the card of {directory} names it.")
    size = path.stat().st_size
    if size != part["size"]:
        raise DataError(
            f"{path}: is truncated or was changed ({size} bytes, the card says {part['size']}). "
            f"Prepare {directory} again."
        )
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path), "r"))
        batches = [file.get_batch(i) for i in range(file.num_record_batches)]
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: is not a readable Arrow file ({error}).") from error
    if sum(batch.num_rows for batch in batches) != part["rows"]:
        raise DataError(f"{path}: does not hold the {part['rows']} events its card names.")
    return file.schema, batches


def _check_schema(path: Path, schema: pa.Schema, columns: list[str]) -> None:
    """The order of columns stands in the card and in every file; both must agree."""
    stated = json.loads((schema.metadata or {}).get(b"columns", b"null"))
    if stated != columns:
        raise DataError(f"{path}: holds the particle columns {stated}, its card says {columns}.")


class ShardSet:
    """One or several shard directories as one table of events, memory-mapped.

    Rows are numbered through all directories in the order given. Opening is cheap; a pickled
    copy opens the files anew.

    Attributes:
        paths: the directories.
        cards: one per directory.
        columns: names of the particle columns, the first four are pt, eta, phi, mass.
        label_names, context_names: event columns that all directories have.
    """

    def __init__(self, paths: Sequence[Path | str] | Path | str) -> None:
        """Open directories.

        Raises:
            DataError: a directory is unfinished or damaged, or particle columns differ.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        if not given:
            raise DataError("no shard directory is given.")
        self.paths = [Path(path) for path in given]
        self.cards: list[DataCard] = [load_card(path) for path in self.paths]
        self._check_columns()
        self._pieces: list[_Piece] = []
        rows, names = [], []
        for path, card in zip(self.paths, self.cards, strict=True):
            before = len(self)
            for part in card.parts:
                schema, batches = _open_part(path, part)
                _check_schema(path / part["file"], schema, card.columns)
                names.append(set(schema.names))
                self._pieces += [_Piece.of(b) for b in batches if b.num_rows]
                self.__dict__.pop("_starts", None)
            rows.append(len(self) - before)
        self._rows_of_source = np.array(rows)
        common = set.intersection(*names) if names else set()
        self.label_names = sorted(n[6:] for n in common if n.startswith("label."))
        self.context_names = sorted(n[8:] for n in common if n.startswith("context."))

    def _check_columns(self) -> None:
        self.columns = list(self.cards[0].columns)
        for path, card in zip(self.paths, self.cards, strict=True):
            if card.columns != self.columns:
                raise DataError(
                    f"{path}: has the particle columns {card.columns}, "
                    f"but {self.paths[0]} has {self.columns}."
                )

    def __reduce__(self) -> tuple[type[ShardSet], tuple[list[Path]]]:
        """Pickle as the paths alone."""
        return ShardSet, (self.paths,)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """First row of every piece, and behind them the number of rows."""
        return np.cumsum([0, *(piece.batch.num_rows for piece in self._pieces)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _all(self, name: str, dtype: Any) -> NDArray[Any]:
        if len(self._pieces) == 1:
            return self._pieces[0].column(name)
        return np.concatenate([np.empty(0, dtype), *(p.column(name) for p in self._pieces)])

    @cached_property
    def hash(self) -> NDArray[np.uint64]:
        """`identity_hash` of every event, `[n]`."""
        return self._all("hash", np.uint64)

    @cached_property
    def weight(self) -> NDArray[np.float64]:
        """Signed weight of every event, `[n]`."""
        return self._all("weight", np.float64)

    @cached_property
    def id(self) -> NDArray[np.void]:
        """Identity of every event, `[n]` with `ID_DTYPE`."""
        identity = np.empty(len(self), ID_DTYPE)
        for name in ("run", "lumi", "event"):
            identity[name] = self._all(name, ID_DTYPE[name])
        return identity

    @cached_property
    def n_particles(self) -> NDArray[np.int32]:
        """Number of particles of every event, `[n]`."""
        counts = [np.diff(piece.offsets) for piece in self._pieces]
        return np.concatenate([np.empty(0, np.int32), *counts])

    @cached_property
    def labels(self) -> dict[str, NDArray[np.float32]]:
        """Event labels, name -> `[n]`."""
        return {name: self._all(f"label.{name}", np.float32) for name in self.label_names}

    @cached_property
    def context(self) -> dict[str, NDArray[np.float32]]:
        """Event scalars, name -> `[n]`."""
        return {name: self._all(f"context.{name}", np.float32) for name in self.context_names}

    @cached_property
    def source(self) -> NDArray[np.int64]:
        """Index of the directory of every event, `[n]`."""
        return np.repeat(np.arange(len(self.paths)), self._rows_of_source)

    @property
    def content_hash(self) -> str:
        """The content hashes of the directories, joined."""
        return "+".join(card.content_hash for card in self.cards)

    def gather(self, rows: NDArray[np.int64], width: int | None = None) -> Batch:
        """Return the events `rows` as one zero-padded batch.

        Args:
            rows: `[b]` global row numbers, in any order.
            width: number of particle places; by default the longest event rounded up to a
                multiple of 8.

        Raises:
            ValueError: `width` is too small for the longest of these events.
        """
        rows = np.asarray(rows, dtype=np.int64)
        n, longest = len(rows), int(self.n_particles[rows].max(initial=0))
        if width is None:
            width = max(-(-longest // _WIDTH_STEP), 1) * _WIDTH_STEP
        elif width < longest:
            raise ValueError(f"width {width} is too small for an event of {longest} particles")
        p4 = np.zeros((n, width, 4), np.float32)
        extra = np.zeros((len(self.columns) - 4, n, width), np.float32)
        is_real = np.zeros((n, width), np.bool_)
        self._fill(rows, p4, extra, is_real)
        names = self.columns[len(P4_COLUMNS) :]
        columns = {name: torch.from_numpy(extra[i]) for i, name in enumerate(names)}
        if "species" in columns:
            columns["species"] = columns["species"].long()
        identity = self.id[rows]
        numbers = np.stack([identity[f].astype(np.int64) for f in ("run", "lumi", "event")], 1)
        return Batch(
            p4=torch.from_numpy(p4),
            is_real=torch.from_numpy(is_real),
            weight=torch.from_numpy(self.weight[rows].astype(np.float32)),
            id=torch.from_numpy(numbers),
            columns=columns,
            context={k: torch.from_numpy(v[rows]) for k, v in self.context.items()},
        )

    def _fill(
        self,
        rows: NDArray[np.int64],
        p4: NDArray[np.float32],
        extra: NDArray[np.float32],
        is_real: NDArray[np.bool_],
    ) -> None:
        piece_of = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(piece_of, kind="stable")
        bounds = np.searchsorted(piece_of[order], np.arange(len(self._pieces) + 1))
        for i in np.unique(piece_of):
            places = order[bounds[i] : bounds[i + 1]]
            piece = self._pieces[i]
            local = rows[places] - self._starts[i]
            gather_rows(piece.offsets, piece.values, local, places, p4, extra, is_real)


class Shards(Reader):
    """Directories that `prepare` wrote; `files` names the directories."""

    kind: Literal["shards"] = "shards"

    def open(self) -> ShardSet:
        """Return all directories as one memory-mapped table."""
        return ShardSet(self.paths())

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return the columns of one directory."""
        shards = ShardSet(path)
        return {"object": shards.columns, "context": shards.context_names}

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one directory; the sums of weights are those before any cut."""
        shards = ShardSet(path)
        card = shards.cards[0]
        _check_offered(path, columns or {}, self.offers(path))
        return Source(
            path=path,
            entries=len(shards),
            format="shards",
            is_simulation=card.is_simulation,
            size=sum(part["size"] for part in card.parts),
            mtime_ns=(Path(path) / CARD).stat().st_mtime_ns,
            count=card.count,
            sum_weight=card.sum_weight,
            sum_weight2=card.sum_weight2,
            provenance={"card": card.summary()},
        )

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        columns: Columns | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[Events]:
        """Yield rows of one directory as events with the collection `object`."""
        shards, offered = ShardSet(path), self.offers(path)
        wanted = offered if columns is None else columns
        _check_offered(path, wanted, offered)
        for low in range(start, stop, chunk_size):
            yield _events(shards, low, min(low + chunk_size, stop), wanted)


def _check_offered(path: str, wanted: Columns, offered: dict[str, list[str]]) -> None:
    for collection, names in wanted.items():
        for name in names:
            if name not in offered.get(collection, ()):
                raise DataError(
                    f"{path}: has no column {collection}.{name}; "
                    f"it has {json.dumps(offered)}. Prepare again with the columns you need."
                )


def _events(shards: ShardSet, low: int, high: int, wanted: Columns) -> Events:
    batch = shards.gather(np.arange(low, high))
    real = batch.is_real.numpy()
    every = dict(zip(P4_COLUMNS, batch.p4.unbind(-1), strict=True)) | dict(batch.columns)
    fields = {name: every[name].numpy()[real] for name in wanted.get("object", ())}
    return Events(
        particles={"object": records(offsets_of(real.sum(axis=1)), fields)} if fields else {},
        weight=shards.weight[low:high].astype(np.float64),
        id=shards.id[low:high],
        context={name: shards.context[name][low:high] for name in wanted.get("context", ())},
        labels={name: values[low:high] for name, values in shards.labels.items()},
    )
