"""Prepared shards: as a reader of `Events`, and memory-mapped for batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferline.data.batch import Batch
from transferline.data.card import DataCard, load_card
from transferline.data.events import ID_DTYPE, Events
from transferline.data.jagged import offsets_of, records
from transferline.data.layouts.shards import CARD, FORMAT, P4_COLUMNS, shard_schema
from transferline.data.readers.base import CHUNK_SIZE, Columns, Reader, Source
from transferline.data.readers.gather import gather_rows
from transferline.errors import DataError, shortened
from transferline.files import file_hash, json_hash, parse_json

_KINDS = ("context.", "label.")
_SLICE = 1 << 24
_WIDTH_STEP = 8  # few distinct widths: less padding than powers of two, few shapes to compile


@dataclass(frozen=True)
class _Piece:
    """One record batch: views of the memory map, nothing copied."""

    batch: pa.RecordBatch
    offsets: NDArray[np.int32]
    values: NDArray[np.float32]
    views: dict[str, NDArray[Any]] = field(default_factory=dict)  # asked for at every batch

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> _Piece:
        particles = batch.column("particles")
        inner = particles.values
        width = inner.type.list_size
        flat = inner.values.to_numpy(zero_copy_only=True).reshape(-1, width)
        start = inner.offset
        return cls(batch, particles.offsets.to_numpy(zero_copy_only=True), flat[start:])

    def column(self, name: str) -> NDArray[Any]:
        if name not in self.views:
            self.views[name] = self.batch.column(name).to_numpy(zero_copy_only=True)
        return self.views[name]


def _open_part(directory: Path, part: dict[str, Any], columns: list[str]) -> list[_Piece]:
    """Map one shard file.

    Its structure is checked, so that no compiled loop leaves the map; its bytes are not read.

    Raises:
        DataError: the file is missing, is not as long as its card says, is not Arrow, or has
            other columns.
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
        _check_schema(path, file.schema, columns)
        batches = [file.get_batch(i) for i in range(file.num_record_batches)]
        for batch in batches:
            _check_batch(path, batch)
        pieces = [_Piece.of(batch) for batch in batches if batch.num_rows]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: is not a readable Arrow file ({shortened(error)}). Prepare {directory} again."
        ) from error
    if sum(batch.num_rows for batch in batches) != part["rows"]:
        raise DataError(f"{path}: does not hold the {part['rows']} events its card names.")
    return pieces


def _check_batch(path: Path, batch: pa.RecordBatch) -> None:
    """Check offsets and that nothing is null: the map is read without asking again."""
    batch.validate(full=True)
    particles = batch.column("particles")
    inner = (particles.values, particles.values.values)
    if any(column.null_count for column in (*batch.columns, *inner)):
        raise DataError(f"{path}: holds empty values. Prepare it again.")


@lru_cache(maxsize=4096)
def _check_bytes(path: Path, sha256: str, _size: int, _mtime_ns: int) -> None:
    """Compare the bytes of a file with their hash, once in a process for the file as it is."""
    if file_hash(path) != sha256:
        raise DataError(
            f"{path}: its bytes are not those that were prepared. Copy {path.parent} again, or "
            "prepare it again."
        )


def _check_schema(path: Path, schema: pa.Schema, columns: list[str]) -> None:
    """The order of columns stands in the card and in every file; both must agree."""
    metadata = schema.metadata or {}
    found = metadata.get(b"format", b"unknown").decode(errors="replace")
    if found != FORMAT:
        raise DataError(
            f"{path}: has the format '{shortened(found)}', this version reads {FORMAT}. Prepare "
            "it again."
        )
    stated = parse_json(metadata.get(b"columns", b"null"), f"{path}: list of columns")
    if stated != columns:
        raise DataError(
            f"{path}: holds the particle columns {shortened(stated, 300)}, its card says {columns}."
        )
    names = {kind: [n[len(kind) :] for n in schema.names if n.startswith(kind)] for kind in _KINDS}
    if tuple(columns[:4]) != P4_COLUMNS or schema != shard_schema(columns, *names.values()):
        raise DataError(f"{path}: has not the columns of a shard. Prepare it again.")


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
                pieces = _open_part(path, part, card.columns)
                names += [set(piece.batch.schema.names) for piece in pieces]
                self._pieces += pieces
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

    def verify(self) -> None:
        """Read all bytes once: they are those of the cards, and all numbers are finite.

        Opening does not: it takes a second per 1 to 2 GB. A training does it once, before it
        starts, since its Record names the data by those hashes.

        Raises:
            DataError: a file is not the one that was prepared.
        """
        for path, card in zip(self.paths, self.cards, strict=True):
            for part in card.parts:
                status = (path / part["file"]).stat()
                size, mtime_ns = status.st_size, status.st_mtime_ns
                _check_bytes(path / part["file"], part["sha256"], size, mtime_ns)
            if card.content_hash != json_hash([part["sha256"] for part in card.parts]):
                raise DataError(
                    f"{path / CARD}: its content hash is not that of its parts. Copy {path} again, "
                    "or prepare it again."
                )
        self._check_finite()

    def _check_finite(self) -> None:
        for piece in self._pieces:
            named = {"weight": piece.column("weight"), "particles": piece.values.reshape(-1)}
            for name, values in named.items():
                # In slices: the map may be larger than the memory.
                for low in range(0, len(values), _SLICE):
                    if not np.isfinite(values[low : low + _SLICE]).all():
                        places = ", ".join(map(str, self.paths))
                        raise DataError(f"{places}: '{name}' has values that are not finite.")

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

    def forget(self) -> None:
        """Free what is kept in memory of all events, but for `n_particles`; it can be had again."""
        for name in ("hash", "weight", "id", "labels", "context", "source"):
            self.__dict__.pop(name, None)

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
        places = self._places(rows)
        for piece, local, place in places:
            gather_rows(piece.offsets, piece.values, local, place, p4, extra, is_real)
        names = self.columns[len(P4_COLUMNS) :]
        columns = {name: torch.from_numpy(extra[i]) for i, name in enumerate(names)}
        if "species" in columns:
            columns["species"] = columns["species"].long()

        def scalars(name: str, dtype: Any = np.float32) -> Tensor:
            """From the map: `self.weight` and the like would hold a copy for all events."""
            values = np.empty(n, dtype)
            for piece, local, place in places:
                values[place] = piece.column(name)[local]
            return torch.from_numpy(values)

        return Batch(
            p4=torch.from_numpy(p4),
            is_real=torch.from_numpy(is_real),
            weight=scalars("weight"),
            id=torch.stack([scalars(name, np.int64) for name in ("run", "lumi", "event")], 1),
            columns=columns,
            context={name: scalars(f"context.{name}") for name in self.context_names},
        )

    def _places(
        self, rows: NDArray[np.int64]
    ) -> list[tuple[_Piece, NDArray[np.int64], NDArray[np.int64]]]:
        """For each record batch that holds some of `rows`: it, its rows, and their places."""
        piece_of = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(piece_of, kind="stable")
        bounds = np.searchsorted(piece_of[order], np.arange(len(self._pieces) + 1))
        found = []
        for i in np.unique(piece_of):
            places = order[bounds[i] : bounds[i + 1]]
            found.append((self._pieces[i], rows[places] - self._starts[i], places))
        return found


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
