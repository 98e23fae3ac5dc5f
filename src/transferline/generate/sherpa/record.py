"""Events as the hook writes them (record_hook.cpp), and the Truth made of them.

A stream is `MAGIC`, then for every event one HEADER and its ENTRIES, little-endian, without
padding. Entries follow Pythia's conventions: number 0 stands for the event; mother and daughters
count from there, 0 for none; daughters lie side by side. Status is positive for final particles;
its size is 21 for incoming partons, 22 for resonances and 23 for the outgoing particles of the
hard process, which here has the momenta before the shower. GeV, mm, units of e.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from transferline.errors import DataError
from transferline.generate.compiled import Array
from transferline.generate.filter_rules import HardFilter
from transferline.generate.sherpa.hard_record import HardRecord
from transferline.generate.truth import Truth

MAGIC = b"TLSHERP1"
_NUMBERS = ("weight", "trials", "unit")
HEADER = np.dtype([("entries", "<i4"), *((name, "<f8") for name in _NUMBERS)])
ENTRY = np.dtype(
    [(name, "<i4") for name in ("pdg_id", "status", "mother", "daughter1", "daughter2", "charge")]
    + [(name, "<f8") for name in ("px", "py", "pz", "energy")]
    + [(name, "<f4") for name in ("x", "y", "z")]
)
_LIMIT = 1_000_000


@dataclass(frozen=True)
class Event:
    """One event: `weight` and `unit` in pb, the `trials` it took, its `entries`."""

    weight: float
    trials: float
    unit: float
    entries: Array

    @property
    def relative_weight(self) -> float:
        """1 unless the integration missed the maximum of the matrix element: then above."""
        # Rounded: products of the same factors in another order differ in the last digit.
        return round(self.weight / self.unit, 12)

    def accepted(self, rule: HardFilter) -> bool:
        """Tell whether the hard process passes, as `HardFilter.accepts` does for Pythia."""
        return rule.accepts(HardRecord(self.entries))


def read_events(stream: IO[bytes], where: str) -> Iterator[Event]:
    """Yield events until the stream ends between two of them.

    Raises:
        DataError: the stream is of something else, or ends within an event; begins with `where`.
    """
    magic = stream.read(len(MAGIC))
    if not magic:
        return
    if magic != MAGIC:
        raise DataError(f"{where}: is no stream of Sherpa events.")
    while head := stream.read(HEADER.itemsize):
        yield _event(head, stream, where)


def _event(head: bytes, stream: IO[bytes], where: str) -> Event:
    if len(head) == HEADER.itemsize:
        header = np.frombuffer(head, HEADER)[0]
        n = int(header["entries"])
        if not 0 < n <= _LIMIT:
            raise DataError(f"{where}: is damaged, an event claims {n} particles.")
        body = stream.read(n * ENTRY.itemsize)
        if len(body) == n * ENTRY.itemsize:
            weight, trials, unit = (float(header[name]) for name in _NUMBERS)
            return Event(weight, trials, unit, np.frombuffer(body, ENTRY))
    raise DataError(f"{where}: ends within an event.")


def truth_from_events(events: Sequence[Event]) -> Truth:
    """Lay events out end to end, as `truth_from_batch` does for Pythia."""
    entries = np.concatenate([event.entries for event in events])
    final = entries["status"] > 0
    return Truth(
        offsets=np.concatenate([[0], np.cumsum([len(event.entries) for event in events])]),
        pdg_id=entries["pdg_id"].copy(),
        status=entries["status"].copy(),
        mother=entries["mother"].copy(),
        daughter1=entries["daughter1"].copy(),
        daughter2=entries["daughter2"].copy(),
        p4=np.stack([entries[name] for name in ("px", "py", "pz", "energy")], axis=1),
        vertex=np.stack([entries[name] for name in "xyz"], axis=1).astype(np.float64),
        charge=np.where(final, entries["charge"], 0).astype(np.int8),
        weight=np.array([event.relative_weight for event in events]),
    )
