"""Where events come from: what turns equal (run, lumi, event) into the same collision, or not.

In collision data the three numbers are a name. Simulated samples number alike (run 1, counting
from 1), so there they are a name within one sample only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from transferline.data.card import DataCard
from transferline.data.layouts.shard_directory import ORIGINS
from transferline.data.readers.base import Source
from transferline.errors import DataError
from transferline.files import file_hash

_NUMBERED_BY_CONTENT = "JetClass"
"""Beginning of the formats whose jets are numbered by their momentum: see `content_identity`. Those
of Delphes and of CMS record 12102 hash numbers that may begin anew in another file."""

_GENERATED = frozenset(f"transferline generate {what}" for what in ("events", "jets", "hh4b"))


class Relation(Enum):
    """What equal numbers of two events mean, by where the two come from."""

    OTHER = "they are never the same event"
    ALIKE = "they may be the same event, nothing tells"
    RELATED = "equal collisions may bear other numbers, so the numbers tell nothing"
    SAME = "they are the same event"


@dataclass(frozen=True)
class Origin:
    """The source of some events, as far as their file tells it.

    Attributes:
        kind: `collisions`, `generated` by this package, other `simulation`, or `unknown`.
        process, seed, lhe: of generated events; they fix the random numbers.
        configuration, n: of generated events; with them the file is fixed.
        file: name, entries and size of a file of other simulation.
        content: whether its events are numbered by a hash of what they hold: then equal numbers
            are equal events, whatever the file is called now.
        generator: of generated events; None in origins that were stored without, which may be of
            any. It is part of the configuration, so that it makes no difference to equality.
    """

    kind: Literal["collisions", "generated", "simulation", "unknown"]
    process: str | None = None
    seed: int | None = None
    lhe: str | None = None
    configuration: str | None = None
    n: int | None = None
    file: str | None = None
    content: bool | None = None
    generator: str | None = field(default=None, compare=False)

    @classmethod
    def of_file(cls, row: Mapping[str, Any]) -> Self:
        """Return the origin of one input file, given as `Source.to_dict()`."""
        if not row["is_simulation"]:
            return cls("collisions")
        made = row.get("provenance") or {}
        if made.get("kind") in _GENERATED:
            names = ("process", "seed", "configuration", "n")
            known = {name: made.get(name) for name in names}
            # Files of before there were two generators name none.
            generator = str(made.get("generator") or "pythia")
            return cls("generated", lhe=made.get("lhe_sha256"), generator=generator, **known)
        file = f"{Path(row['path']).name}:{row['entries']}:{row['size']}"
        hashed = str(row.get("format", "")).startswith(_NUMBERED_BY_CONTENT)
        return cls("simulation", file=file, content=hashed or None)

    def relation(self, other: Origin) -> Relation:
        """Tell what equal (run, lumi, event) mean between events of the two origins."""
        kinds = {self.kind, other.kind}
        if "unknown" in kinds:
            return Relation.ALIKE
        if "collisions" in kinds:
            return Relation.SAME if len(kinds) == 1 else Relation.OTHER
        if kinds == {"generated"}:
            return self._among_generated(other)
        known = self.file is not None and self.file == other.file
        return Relation.SAME if known or (self.content and other.content) else Relation.ALIKE

    def _among_generated(self, other: Origin) -> Relation:
        if self == other and self.configuration is not None:
            return Relation.SAME
        # Another filter, detector or number of events shifts the numbers of equal collisions. A
        # file of hard events is read from its beginning, with every seed.
        mine, theirs = ((o.lhe or (o.process, o.seed)) for o in (self, other))
        apart = None not in {self.generator, other.generator} and self.generator != other.generator
        return Relation.OTHER if apart or mine != theirs else Relation.RELATED

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, what is not known left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Undo `to_dict`."""
        return cls(**value)


@dataclass(frozen=True)
class RowOrigins:
    """Where every row of a table of events comes from.

    Attributes:
        origins: those that occur.
        ends: end of the run of neighbouring rows that each of them has, where rows stand in runs.
        index: `[n]`, number of the origin of every row, where they are mixed.
    """

    origins: tuple[Origin, ...]
    ends: NDArray[np.int64]
    index: NDArray[np.unsignedinteger[Any]] | None = None

    @classmethod
    def of_runs(cls, runs: Sequence[tuple[Origin, int]]) -> Self:
        """Rows that stand in runs of one origin and so many rows each."""
        return cls(tuple(o for o, _ in runs), np.cumsum([n for _, n in runs], dtype=np.int64))

    def which(self, rows: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Return the number of the origin of each of `rows`."""
        if self.index is not None:
            return self.index[rows]
        return np.searchsorted(self.ends, rows, side="right")

    def groups(self, rows: NDArray[np.int64]) -> Iterator[tuple[Origin, NDArray[np.intp]]]:
        """Yield (origin, its places in `rows`, rising) for every origin that has some."""
        which = self.which(rows)
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(self.origins) + 1))
        for i in np.unique(which):
            yield self.origins[i], order[bounds[i] : bounds[i + 1]]


def row_origins(directory: Path, card: DataCard) -> RowOrigins:
    """Return where the rows of a shard directory come from.

    Rows stand file by file, as the card counts them; those of a mixture are told by the file
    `origins.npy`: `[n]`, the row of the card's `files`, or one behind the last if nothing tells.

    Raises:
        DataError: that file is missing or damaged.
    """
    files = [Origin.of_file(row) for row in card.files]
    if card.composition:
        index = _read_index(Path(directory) / ORIGINS, card)
        return RowOrigins((*files, Origin("unknown")), np.empty(0, np.int64), index)
    counts = [int(row["passed"]) for row in card.files]
    if sum(counts) == card.n_events:
        return RowOrigins.of_runs(list(zip(files, counts, strict=True)))
    kind: Literal["unknown", "collisions"] = "unknown" if card.is_simulation else "collisions"
    return RowOrigins.of_runs([(Origin(kind), card.n_events)])


def _read_index(path: Path, card: DataCard) -> NDArray[np.unsignedinteger[Any]]:
    if not path.is_file():
        raise DataError(
            f"{path}: is missing. Of a mixture it tells which file each event is from; copy the "
            "whole directory again."
        )
    if file_hash(path) != card.origins_sha256:
        raise DataError(f"{path}: is damaged. Copy {path.parent} again, or mix it again.")
    index: NDArray[np.unsignedinteger[Any]] = np.load(path, mmap_mode="r")
    if len(index) != card.n_events or int(index.max(initial=0)) > len(card.files):
        raise DataError(f"{path}: does not belong to its card. Copy {path.parent} again.")
    return index


def source_origins(source: Source) -> RowOrigins:
    """Return where the entries of one input come from."""
    return RowOrigins.of_runs([(Origin.of_file(source.to_dict()), source.entries)])
