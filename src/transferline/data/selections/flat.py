"""Objects of many events laid end to end, and the arithmetic that selections need on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.jagged import flat_columns

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Flat:
    """Objects of one kind: `event [m]`, ascending, and columns `[m]` of the `n` events."""

    n: int
    event: NDArray[np.intp]
    columns: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, records: ak.Array) -> Flat:
        """Take the objects of a jagged array of records `[n, var]`."""
        offsets, columns = flat_columns(records)
        return cls(len(records), np.repeat(np.arange(len(records)), np.diff(offsets)), columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one column."""
        return self.columns[name]

    def keep(self, rows: Mask) -> Flat:
        """Return the objects where `rows` is True."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Flat(self.n, self.event[rows], columns)

    def count(self, where: Mask | None = None) -> NDArray[np.intp]:
        """Return the number of objects in every event, `[n]`."""
        event = self.event if where is None else self.event[where]
        return np.bincount(event, minlength=self.n)


def far_from(objects: Flat, others: list[Flat], dr: float) -> Mask:
    r"""Return which objects have no `other` of their event nearer than `dr`, shape `[m]`.

    $\Delta R^2 = \Delta\eta^2 + \Delta\phi^2$. The others are few (selected leptons), so the
    loop runs over their rank in the event and every pass is one vector operation.
    """
    clear = np.ones(len(objects.event), dtype=np.bool_)
    for other in others:
        count = other.count()
        first = np.cumsum(count) - count
        have, start = count[objects.event], first[objects.event]
        for rank in range(int(count.max(initial=0))):
            rows = np.flatnonzero(have > rank)
            partner = start[rows] + rank
            eta = objects["eta"][rows] - other["eta"][partner]
            phi = objects["phi"][rows] - other["phi"][partner]
            phi = np.abs((phi + np.pi) % (2 * np.pi) - np.pi)
            clear[rows] &= eta * eta + phi * phi >= dr * dr
    return clear
