"""Boosted decays: veto hard processes whose resonance cannot become one large-radius jet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from transferline.generate.filter_rules import HardFilter
from transferline.generate.large_jets.recombination import distance2

_NEUTRINOS = frozenset({12, 14, 16})


@dataclass(frozen=True)
class BoostedDecay(HardFilter):
    """One resonance whose visible decay products are hard, central and near each other.

    The hard process is seen before initial-state radiation, so the bounds lie outside those of
    the jets; those that radiation lifts by more are lost.

    Attributes:
        resonance: |PDG id|; 0 accepts everything.
        visible_pt: least transverse momentum of all decay products but neutrinos, GeV.
        visible_eta: largest |eta| of their sum.
        spread: largest distance of one of them from the direction of their sum.
    """

    resonance: int = 0
    visible_pt: float = 430.0
    visible_eta: float = 2.6
    spread: float = 0.95

    def accepts(self, process: Any) -> bool:
        """Tell whether a Pythia process record passes."""
        if self.resonance == 0:
            return True
        return any(self._is_boosted(decay) for decay in _visible_decays(process, self.resonance))

    def _is_boosted(self, decay: list[Any]) -> bool:
        px, py, pz = (sum(getattr(p, axis)() for p in decay) for axis in ("px", "py", "pz"))
        pt = float(np.hypot(px, py))
        if pt < self.visible_pt:
            return False
        eta, phi = float(np.arcsinh(pz / pt)), float(np.arctan2(py, px))
        if abs(eta) > self.visible_eta:
            return False
        return all(distance2(eta, phi, p.eta(), p.phi()) < self.spread**2 for p in decay)


def _visible_decays(process: Any, resonance: int) -> Iterator[list[Any]]:
    """Yield the final particles but neutrinos of every resonance in a process record."""
    found: dict[int, list[Any]] = defaultdict(list)
    for index in range(3, process.size()):
        particle = process[index]
        if not particle.isFinal() or particle.idAbs() in _NEUTRINOS:
            continue
        owner = particle.mother1()
        while owner > 0 and process[owner].idAbs() != resonance:
            owner = process[owner].mother1()
        if owner > 0:
            found[owner].append(particle)
    yield from found.values()
