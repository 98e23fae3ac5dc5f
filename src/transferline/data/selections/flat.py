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
    """Objects of one kind: `event [m]`, ascending, and columns `[m]` of the `n` events.

    What is left after cuts is kept as row numbers: a column is cut out when it is asked for, and
    most never are.
    """

    n: int
    event: NDArray[np.intp]
    columns: Mapping[str, NDArray[Any]]
    rows: NDArray[np.intp] | None = None

    @classmethod
    def of(cls, records: ak.Array, among: Mask | None = None) -> Flat:
        """Take the objects of a jagged array of records `[n, var]`, those of the events `among`."""
        offsets, columns = flat_columns(records)
        n, counts = len(records), np.diff(offsets)
        if among is None or among.all():
            return cls(n, np.repeat(np.arange(n), counts), columns)
        chosen = np.flatnonzero(among)
        few = counts[chosen]
        shift = offsets[chosen] - np.cumsum(few) + few
        event = np.repeat(chosen, few)
        return cls(n, event, columns, np.arange(len(event)) + np.repeat(shift, few))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one column, `[m]`."""
        values = self.columns[name]
        return values if self.rows is None else values.take(self.rows)

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def keep(self, rows: Mask) -> Flat:
        """Return the objects where `rows` is True."""
        kept = np.flatnonzero(rows)
        every = kept if self.rows is None else self.rows.take(kept)
        return Flat(self.n, self.event.take(kept), self.columns, every)

    def keep_events(self, rows: Mask) -> Flat:
        """Return the objects of the events where `rows` `[n]` is True; `n` stays what it is."""
        return self if rows.all() else self.keep(rows[self.event])

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
    eta, phi = objects["eta"], objects["phi"]
    for other in others:
        count = other.count()
        first = np.cumsum(count) - count
        have, start = count[objects.event], first[objects.event]
        other_eta, other_phi = other["eta"], other["phi"]
        for rank in range(int(count.max(initial=0))):
            rows = np.flatnonzero(have > rank)
            d_eta = eta[rows] - other_eta[start[rows] + rank]
            near = d_eta * d_eta < dr * dr  # the modulus below is what costs
            rows, d_eta = rows[near], d_eta[near]
            d_phi = phi[rows] - other_phi[start[rows] + rank]
            d_phi = np.abs((d_phi + np.pi) % (2 * np.pi) - np.pi)
            clear[rows] &= d_eta * d_eta + d_phi * d_phi >= dr * dr
    return clear
