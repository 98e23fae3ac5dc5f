"""What a filter asks of the hard process, and of the shower; how many events it was asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class HardFilter:
    """Least numbers of hard leptons (e, mu and, unless `taus` is off, tau) and of hard partons.

    Momenta in GeV; a lepton or parton counts with transverse momentum above the threshold and
    |eta| below the limit.
    """

    name: str
    leptons: int = 0
    taus: bool = True
    lepton_pt: float = 14.0
    lepton_eta: float = 2.9
    partons: int = 0
    parton_pt: float = 12.0
    parton_eta: float = 3.2

    def accepts(self, process: Any) -> bool:
        """Tell whether a Pythia process record passes."""
        leptons = partons = 0
        for index in range(3, process.size()):
            particle = process[index]
            if not particle.isFinal():
                continue
            code = abs(particle.id())
            if code in (11, 13) or (code == 15 and self.taus):
                leptons += self._counts(particle, self.lepton_pt, self.lepton_eta)
            elif code <= 5 or code == 21:
                partons += self._counts(particle, self.parton_pt, self.parton_eta)
        return leptons >= self.leptons and partons >= self.partons

    @staticmethod
    def _counts(particle: Any, pt: float, eta: float) -> bool:
        return bool(particle.pT() > pt and abs(particle.eta()) < eta)


@dataclass(frozen=True)
class ShowerFilter(HardFilter):
    """Also the least number of jets when the shower has come down to `scale`.

    For processes whose jets come from radiation: what lacks them by then is given up before the
    soft part of the shower, which is the most of it, and before hadrons are made. Jets are
    anti-kT of radius 0.4, above `jet_pt` (GeV) and within |eta| < `jet_eta`; decay products of
    resonances do not count.
    """

    jets: int = 0
    jet_pt: float = 22.0
    jet_eta: float = 2.8
    scale: float = 10.0

    def finder(self, pythia8: Any) -> Any:
        """Return Pythia's jet finder, all final particles but neutrinos in."""
        # The other implementation that it offers writes a banner to standard output.
        return pythia8.SlowJet(-1, 0.4, self.jet_pt, self.jet_eta, 2, 2, None, False)

    def further(self, process: Any) -> int:
        """Return how many particles of a process count as jets without being looked for."""
        return 0

    def keeps(self, event: Any, finder: Any, further: int = 0) -> bool:
        """Tell whether the event, interrupted in its shower, passes.

        `further` jets are there beside those that are found.
        """
        finder.analyze(event)
        if finder.sizeJet() + further < self.jets:
            return False
        # The boson itself still stands among the final particles.
        found = sum(
            any(event[i].colType() for i in finder.constituents(jet))
            for jet in range(finder.sizeJet())
        )
        return found + further >= self.jets


@dataclass
class FilterCount:
    """How many events were tried and passed, with their sums of weights."""

    tried: int = 0
    passed: int = 0
    sum_weight: float = 0.0
    sum_weight2: float = 0.0

    def add(self, weight: float, accepted: bool) -> None:
        """Count one event."""
        self.tried += 1
        self.passed += accepted
        self.sum_weight += weight
        self.sum_weight2 += weight * weight

    def drop(self) -> None:
        """Take back one event that had passed."""
        self.passed -= 1
