"""The hard process of a Sherpa event, read by filters as that of Pythia is."""

from __future__ import annotations

from typing import Any

import numpy as np

from transferline.generate.compiled import Array

_RESONANCE, _OUTGOING = 22, 23


class HardParticle:
    """One entry, with the methods of Pythia's particles that filters call."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry

    def id(self) -> int:
        """Return the PDG id."""
        return int(self._entry["pdg_id"])

    def idAbs(self) -> int:  # noqa: N802 - Pythia's name
        """Return |PDG id|."""
        return abs(self.id())

    def isFinal(self) -> bool:  # noqa: N802 - Pythia's name
        """Tell whether it leaves the hard process, resonances decayed."""
        return abs(int(self._entry["status"])) == _OUTGOING

    def mother1(self) -> int:
        """Return the place of its mother, 0 for none."""
        return int(self._entry["mother"])

    def px(self) -> float:
        """Return the momentum along x, GeV."""
        return float(self._entry["px"])

    def py(self) -> float:
        """Return the momentum along y, GeV."""
        return float(self._entry["py"])

    def pz(self) -> float:
        """Return the momentum along the beam, GeV."""
        return float(self._entry["pz"])

    def pT(self) -> float:  # noqa: N802 - Pythia's name
        """Return the transverse momentum, GeV."""
        return float(np.hypot(self.px(), self.py()))

    def eta(self) -> float:
        """Return the pseudorapidity."""
        return float(np.arcsinh(self.pz() / max(self.pT(), 1e-9)))

    def phi(self) -> float:
        """Return the azimuth."""
        return float(np.arctan2(self.py(), self.px()))


class HardRecord:
    """The entries of an event up to the last one of its hard process.

    Number 0 stands for the event and the incoming partons follow, as in Pythia's process record.
    """

    def __init__(self, entries: Array) -> None:
        status = np.abs(entries["status"])
        (hard,) = np.nonzero((status == _RESONANCE) | (status == _OUTGOING))
        self._entries = entries[: int(hard[-1]) + 1 if len(hard) else 0]

    def size(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def __getitem__(self, index: int) -> HardParticle:
        return HardParticle(self._entries[index])
