"""Where events come from: what turns equal (run, lumi, event) into the same collision, or not.

In collision data the three numbers are a name. Simulated samples number alike (run 1, counting
from 1), so there they are a name within one sample only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Self

from transferline.data.card import DataCard
from transferline.data.readers.base import Source

_GENERATED = "transferline generate events"


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
    """

    kind: Literal["collisions", "generated", "simulation", "unknown"]
    process: str | None = None
    seed: int | None = None
    lhe: str | None = None
    configuration: str | None = None
    n: int | None = None
    file: str | None = None

    @classmethod
    def of_file(cls, row: Mapping[str, Any]) -> Self:
        """Return the origin of one input file, given as `Source.to_dict()`."""
        if not row["is_simulation"]:
            return cls("collisions")
        made = row.get("provenance") or {}
        if made.get("kind") == _GENERATED:
            names = ("process", "seed", "configuration", "n")
            return cls("generated", lhe=made.get("lhe_sha256"), **{k: made.get(k) for k in names})
        return cls("simulation", file=f"{Path(row['path']).name}:{row['entries']}:{row['size']}")

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
        return Relation.SAME if known else Relation.ALIKE

    def _among_generated(self, other: Origin) -> Relation:
        if self == other and self.configuration is not None:
            return Relation.SAME
        # Another filter, detector or number of events shifts the numbers of equal collisions.
        mine, theirs = ((o.process, o.seed, o.lhe) for o in (self, other))
        return Relation.RELATED if mine == theirs else Relation.OTHER

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, what is not known left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Undo `to_dict`."""
        return cls(**value)


def card_origins(card: DataCard) -> list[tuple[Origin, int]]:
    """Return origin and number of events of the files behind a shard directory, in row order."""
    runs = [(Origin.of_file(row), int(row["passed"])) for row in card.files]
    if sum(n for _, n in runs) == card.n_events:
        return runs
    return [(Origin("unknown" if card.is_simulation else "collisions"), card.n_events)]


def source_origins(source: Source) -> list[tuple[Origin, int]]:
    """Return origin and number of events of one input, in entry order."""
    return [(Origin.of_file(source.to_dict()), source.entries)]
