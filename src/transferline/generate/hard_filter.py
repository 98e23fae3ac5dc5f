"""Process-level filter: veto an event on its hard partons, before any shower is spent on it.

The filter sees the hard process with its resonances decayed, before initial-state radiation
boosts it. Its thresholds are therefore well below those of an offline selection. It is not
unbiased for what it does not look at: leptons from b and c decays, hadrons taken for leptons, and
(for `lepton_jets`) events whose jets come from radiation rather than from the hard process.
Sums of weights count every event tried, so normalisations stay right.

Measured loss, in ttbar with one leptonic W, of a selection with one isolated lepton (muon 26 GeV,
electron 30 GeV) and one b jet: `lepton` (passes 90 % of events) loses 1.0 +- 0.2 % with at least
two jets and 1.4 +- 0.4 % with at least four; `lepton_jets` (88 %) loses 1.8 +- 0.3 % and 1.5 +-
0.4 %. `lepton_jets` is meant for processes with at least three hard partons: it would lose 30 %
of inclusive ttbar (the dileptonic part), and all of W + one parton.

`four_jets` looks into the shower. Of Z -> nu nu with one parton above 80 GeV it passes 5.5 % of
events in a tenth of the time that they would take, and loses 4.6 +- 1.1 % of those with four jets
above 30 GeV and missing momentum above 100 GeV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transferline.errors import ConfigError, did_you_mean


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

    def keeps(self, event: Any, finder: Any) -> bool:
        """Tell whether the event, interrupted in its shower, passes."""
        finder.analyze(event)
        # The boson itself still stands among the final particles.
        found = sum(
            any(event[i].colType() for i in finder.constituents(jet))
            for jet in range(finder.sizeJet())
        )
        return found >= self.jets


FILTERS: dict[str, HardFilter] = {
    "none": HardFilter("none"),
    "lepton": HardFilter("lepton", leptons=1),
    "lepton_jets": HardFilter("lepton_jets", leptons=1, partons=3),
    # For large samples of lepton + 4 jets: twice the selected events per CPU second, without
    # the tenth of them whose lepton comes from a tau or whose jets come from radiation.
    "emu_jets": HardFilter(
        "emu_jets",
        leptons=1,
        taus=False,
        lepton_pt=22.0,
        lepton_eta=2.6,
        partons=3,
        parton_pt=20.0,
        parton_eta=2.7,
    ),
    # For selections of four jets: where the hard process has them, and where it has not.
    "four_partons": HardFilter("four_partons", partons=4, parton_pt=20.0, parton_eta=2.7),
    "four_jets": ShowerFilter("four_jets", jets=4),
}


def hard_filter(name: str) -> HardFilter:
    """Return the filter called `name`; raises ConfigError with the nearest name."""
    if name not in FILTERS:
        raise ConfigError(f"Unknown process-level filter '{name}'.{did_you_mean(name, FILTERS)}")
    return FILTERS[name]


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
