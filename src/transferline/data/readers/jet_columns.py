"""Which branches of a file of jets hold which columns, and what to say when they are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.data.events import CONSTITUENTS
from transferline.data.layouts.jet_table import JetTable, Ways
from transferline.data.layouts.shards import P4_COLUMNS
from transferline.data.readers.base import Columns
from transferline.data.readers.rootfile import missing_branches
from transferline.errors import DataError, did_you_mean

CONSTITUENT, CONTEXT, JET, LABEL = "constituent", "context", "jet", "label"
"""Collections. All labels are read, whoever asks for which; that one is not there, a file must say
when it is looked at, not in the middle of its jets."""

TYPES: dict[str, str] = {f"is_{name}": name for name in sorted(CONSTITUENTS)}
"""Columns that are 1 for one species and 0 for all others; told by `species`."""

Values = NDArray[Any]


def species_of(flags: Mapping[str, Values]) -> NDArray[np.float32]:
    """Return codes of `CONSTITUENTS` from species -> flags `[k]`; 0 where no flag is set."""
    codes = [CONSTITUENTS[name] for name in flags]
    return np.select([flag != 0 for flag in flags.values()], codes, 0).astype(np.float32)


_SPECIES_OF_PDG = {11: "electron", 13: "muon", 22: "photon"}


def species_of_pdg(pdg: Values, charge: Values) -> NDArray[np.float32]:
    """Return codes of `CONSTITUENTS` from what reconstruction takes particles for, `[k]`.

    All but electrons, muons and photons are hadrons, charged or neutral by their charge: so are
    kaons told apart by time of flight, and the 0, 1 and 2 that stand for calorimeter deposits.
    """
    code = np.abs(pdg.astype(np.int64))
    charged, neutral = CONSTITUENTS["charged_hadron"], CONSTITUENTS["neutral_hadron"]
    names = [CONSTITUENTS[name] for name in _SPECIES_OF_PDG.values()]
    hadrons = np.where(charge != 0, charged, neutral)
    return np.select([code == one for one in _SPECIES_OF_PDG], names, hadrons).astype(np.float32)


def offered(table: JetTable, branches: Iterable[str]) -> dict[str, list[str]]:
    """Return collection -> columns that a file with these branches has."""
    known = set(branches)
    names = [name for name, ways in table.constituents.items() if _way(ways, known)]
    if "species" in names:
        at = names.index("species") + 1
        names[at:at] = list(TYPES)
    context = [name for name, ways in table.context.items() if _way(ways, known)]
    return {CONSTITUENT: names, CONTEXT: context}


def labels_of(table: JetTable, branches: Iterable[str]) -> dict[str, str]:
    """Return column of `Events.labels` -> branch, for a file with these branches."""
    known = set(branches)
    found = {name: branch for name, branch in table.labels.items() if branch in known}
    prefix = table.label_prefix
    if prefix is not None:
        found |= {b.removeprefix(prefix): b for b in sorted(known) if b.startswith(prefix)}
    return found


def _way(ways: Ways, known: set[str]) -> tuple[str, ...] | None:
    return next((way for way in ways if known.issuperset(way)), None)


@dataclass(frozen=True)
class Plan:
    """Which branches of one file to read for which columns.

    Attributes:
        constituents, context: column -> branches that it is made from; `TYPES` among them.
        labels: column -> branch.
        identity: branches.
    """

    constituents: Mapping[str, tuple[str, ...]]
    context: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, str]
    identity: tuple[str, ...]

    @classmethod
    def make(
        cls, path: str, table: JetTable, branches: Iterable[str], columns: Columns, where: str
    ) -> Plan:
        """Choose the branches for `columns`; those of the momenta must always be there.

        Raises:
            DataError: branches are missing (all are named, with the nearest ones), or the format
                has no such column.
        """
        known = set(branches)
        wanted = {name: tuple(columns.get(name, ())) for name in (CONSTITUENT, CONTEXT)}
        for name in [name for name in columns if name not in {*wanted, LABEL}]:
            raise DataError(f"{path}: {table.format} has no '{name}'.{did_you_mean(name, wanted)}")
        ways = _ways(path, table)
        basic = [f"{CONSTITUENT}.{name}" for name in P4_COLUMNS]
        asked = [f"{kind}.{name}" for kind, names in wanted.items() for name in names]
        found = {column: _way(ways(column), known) for column in [*basic, *asked]}
        lacking: list[tuple[Sequence[str], str]] = [
            ([b], "which entry it is") for b in table.identity if b not in known
        ]
        for column, way in found.items():
            if way is None:
                lacking += [([b], f"column {column}") for b in ways(column)[0] if b not in known]
        lacking += _lacking_labels(path, table, known, columns.get(LABEL, ()))
        if lacking:
            raise DataError(missing_branches(path, _joined(lacking), sorted(known), where))
        chosen = {column: way for column, way in found.items() if way is not None}
        return cls(
            {name: chosen[f"{CONSTITUENT}.{name}"] for name in wanted[CONSTITUENT]},
            {name: chosen[f"{CONTEXT}.{name}"] for name in wanted[CONTEXT]},
            labels_of(table, known),
            table.identity,
        )

    def branches(self) -> list[str]:
        """Return all branches to read, each once."""
        ways = [*self.constituents.values(), *self.context.values()]
        names = [b for way in ways for b in way]
        return list(dict.fromkeys([*names, *self.labels.values(), *self.identity]))


def _lacking_labels(
    path: str, table: JetTable, known: set[str], labels: Iterable[str]
) -> list[tuple[Sequence[str], str]]:
    """Return those of the branches of `labels` that are not there, with what they are."""
    found, lacking = labels_of(table, known), list[tuple[Sequence[str], str]]()
    for name in (name for name in labels if name not in found):
        if name in table.labels:
            lacking.append(([table.labels[name]], f"label {name}"))
        elif table.label_prefix is not None:
            lacking.append(([table.label_prefix + name], f"label {name}"))
        else:
            hint = did_you_mean(name, table.labels)
            raise DataError(f"{path}: {table.format} has no label '{name}'.{hint}")
    return lacking


def _ways(path: str, table: JetTable) -> Callable[[str], Ways]:
    """Return the function from "collection.column" to the ways to make it."""
    constituents = dict(table.constituents)
    if "species" in constituents:
        constituents |= dict.fromkeys(TYPES, constituents["species"])
    known = {f"{CONSTITUENT}.{name}": ways for name, ways in constituents.items()}
    known |= {f"{CONTEXT}.{name}": ways for name, ways in table.context.items()}

    def ways(column: str) -> Ways:
        if column not in known:
            raise DataError(
                f"{path}: {table.format} has no column '{column}'.{did_you_mean(column, known)}"
            )
        return known[column]

    return ways


def _joined(lacking: Sequence[tuple[Sequence[str], str]]) -> list[tuple[Sequence[str], str]]:
    """Return one row for each missing branch, with all that it is needed for."""
    uses: dict[str, list[str]] = {}
    for (branch,), what in lacking:
        uses.setdefault(branch, []).append(what)
    return [([branch], ", ".join(dict.fromkeys(what))) for branch, what in uses.items()]
