"""Columns of a batch of generated events, end to end, as the compiled loops want them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from transferline.generate.compiled import Array

_NEUTRINOS = (12, 14, 16, 18, 1000012, 1000014, 1000016, 2000012, 2000014, 2000016)
_HEAVY_NEUTRINOS = (9900012, 9900014, 9900016)
_DARK_MATTER = (51, 52, 53, 58, 1000022, 1000023, 1000025, 1000035, 1000045)
_GRAVITONS = (39, 1000039, 5000039)
_INVISIBLE = np.array([*_NEUTRINOS, *_HEAVY_NEUTRINOS, *_DARK_MATTER, *_GRAVITONS])
_HIDDEN_VALLEY = 49001, 49020  # times 100
_HIDDEN_NEUTRALS = np.array([4900012, 4900014, 4900016, 4900021, 4900022])


@dataclass(frozen=True)
class Truth:
    """All entries of the event records of a batch, laid end to end (GeV, mm).

    `offsets [n + 1]` bounds each event; mothers and daughters count from the event's start, as
    in Pythia. `charge` is in units of e and filled for final particles only.
    """

    offsets: Array
    pdg_id: Array
    status: Array
    mother: Array
    daughter1: Array
    daughter2: Array
    p4: Array  # [N, 4]: px, py, pz, E
    vertex: Array  # [N, 3]
    charge: Array
    weight: Array  # [n]

    @property
    def n(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    @property
    def event(self) -> Array:
        """Event number of every entry."""
        return np.repeat(np.arange(self.n), np.diff(self.offsets))

    @property
    def final(self) -> Array:
        """True for particles that leave the generator."""
        return np.asarray(self.status > 0)

    @property
    def invisible(self) -> Array:
        """True for final particles that no detector sees."""
        return self.final & is_invisible(self.pdg_id)


def is_invisible(pdg_id: Array) -> Array:
    """Tell which PDG ids no detector sees, where they live long enough to reach one.

    Neutrinos, dark matter (51 to 53 as in LHE files), neutralinos and sneutrinos, gravitinos, the
    neutral part of a hidden valley: those that Pythia's particle data call invisible.
    """
    code = np.abs(pdg_id)
    first, behind = _HIDDEN_VALLEY
    hidden = (code >= 100 * first) & (code < 100 * behind)
    return np.isin(code, _INVISIBLE) | hidden | np.isin(code, _HIDDEN_NEUTRALS)


class ChargeTable:
    """Charges by PDG id, asked from Pythia once per species."""

    def __init__(self, particle_data: Any) -> None:
        self._data = particle_data
        self._known: dict[int, int] = {}

    def __call__(self, pdg_id: Array) -> Array:
        """Return the charge in units of e of each particle (0 for fractions)."""
        codes, inverse = np.unique(pdg_id, return_inverse=True)
        return np.array([self._one(int(code)) for code in codes], np.int8)[inverse]

    def _one(self, code: int) -> int:
        if code not in self._known:
            self._known[code] = round(self._data.charge(code))
        return self._known[code]


def truth_from_batch(batch: ak.Array, charges: ChargeTable) -> Truth:
    """Lay out what `Pythia.nextBatch` returned; the arrays are copies."""
    layout = ak.to_packed(batch["prt"]).layout
    content = layout.content
    vertex = content.content("vProd")
    shift = np.zeros((len(content), 3))
    index = np.asarray(vertex.index.data)
    has = index >= 0
    for axis, name in enumerate(("px", "py", "pz")):
        shift[has, axis] = vertex.content.content(name).data[index[has]]
    p4 = np.stack([content.content("p").content(c).data for c in ("px", "py", "pz", "e")], axis=1)
    columns = {
        name: np.asarray(content.content(name).data)
        for name in ("id", "status", "mother1", "daughter1", "daughter2")
    }
    final = columns["status"] > 0
    charge = np.zeros(len(final), np.int8)
    charge[final] = charges(columns["id"][final])
    return Truth(
        offsets=np.asarray(layout.offsets.data, np.int64),
        pdg_id=columns["id"],
        status=columns["status"],
        mother=columns["mother1"],
        daughter1=columns["daughter1"],
        daughter2=columns["daughter2"],
        p4=p4,
        vertex=shift,
        charge=charge,
        weight=np.asarray(ak.firsts(batch["info"]["weights"])),
    )
