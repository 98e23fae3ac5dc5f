"""Events: what every reader yields, a typed view over awkward arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import awkward as ak
import numpy as np
from numpy.typing import NDArray

SPECIES: dict[str, int] = {
    "hidden": 0,
    "electron": 1,
    "muon": 2,
    "tau": 3,
    "bjet": 4,
    "jet": 5,
    "met": 6,
    "photon": 7,
}
"""Codes of the column `species`; 0 stands for "not told" and is never a particle's own."""

CONSTITUENTS: dict[str, int] = {
    "electron": SPECIES["electron"],
    "muon": SPECIES["muon"],
    "photon": SPECIES["photon"],
    "charged_hadron": 8,
    "neutral_hadron": 9,
}
"""Codes of `species` in jets of constituents. A table of its own: what is sized by `SPECIES`, the
one-hot input of every checkpoint among it, stays what it was."""

ID_DTYPE = np.dtype([("run", "<u4"), ("lumi", "<u4"), ("event", "<u8")])
"""An event's identity. Formats without run and lumi use (0, index of file, entry), or, where no
list of files shall decide on folds, (0, 0, hash of what the event is)."""


@dataclass(frozen=True)
class Events:
    """A chunk of `n` events (or jets): sets of particles with what belongs to the whole set.

    Attributes:
        particles: collection name -> records `[n, var]` with the fields `pt`, `mass` (GeV),
            `eta`, `phi` (rad), `charge`, and optional ones. Detector-level files keep one
            collection per kind (`electron`, `muon`, `tau`, `jet`, `met`); a selection merges
            them into one, `object`, with the column `species`. Files of jets have the collection
            `constituent`, with `species` (`CONSTITUENTS`) and impact parameters `d0 d0err dz
            dzerr` (mm; 0 where there is no track), d0 with the sign of (x py - y px) / pT as in
            JetClass and Delphes, opposite to that of CMS. A column that a file does not have is
            absent, never zero.
        context: per-event scalars, name -> `[n]`.
        labels: per-event truth, name -> `[n]`.
        weight: signed weight of each event, `[n]`, 1 for collision data.
        id: `[n]` with `ID_DTYPE`.
    """

    particles: Mapping[str, ak.Array]
    weight: NDArray[np.float64]
    id: NDArray[np.void]
    context: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    labels: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Events:
        """Return the chosen events, every part of them."""
        return Events(
            particles={name: array[rows] for name, array in self.particles.items()},
            weight=self.weight[rows],
            id=self.id[rows],
            context={name: values[rows] for name, values in self.context.items()},
            labels={name: values[rows] for name, values in self.labels.items()},
        )


def identity_hash(identity: NDArray[np.void], salt: int = 0) -> NDArray[np.uint64]:
    """Return a well-mixed 64-bit hash of each event's (run, lumi, event), shape `[n]`.

    Folds and splits are cut from it, so they do not depend on the order of rows, on chunks
    or on files. The mixing is splitmix64 (Steele, Lea, Flood, OOPSLA 2014), applied in turn
    to the three numbers.

    >>> one = np.array([(1, 2, 3)], dtype=ID_DTYPE)
    >>> bool(identity_hash(one)[0] == identity_hash(np.repeat(one, 2))[1])
    True
    """
    state = np.full(len(identity), np.uint64(salt) + np.uint64(0x9E3779B97F4A7C15))
    for name in ("run", "lumi", "event"):
        state = _mix(state ^ identity[name].astype(np.uint64))
    return state


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def unit_interval(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Map 64-bit hashes to numbers in [0, 1), shape `[n]`."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
