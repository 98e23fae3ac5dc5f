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
"""

from __future__ import annotations

from collections.abc import Callable
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


FILTERS = {
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


def veto_hook(
    pythia8: Any, rule: HardFilter, count: FilterCount, weight: Callable[[], float]
) -> Any:
    """Return a Pythia `UserHooks` object that applies `rule` and fills `count`.

    `weight` is asked for the weight of the present event, vetoed or not.
    """

    class Veto(pythia8.UserHooks):  # type: ignore[misc]  # a C++ class, known at run time only
        def canVetoProcessLevel(self) -> bool:  # noqa: N802 (name fixed by Pythia)
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:  # noqa: N802
            accepted = rule.accepts(process)
            count.add(weight(), accepted)
            return not accepted

    return Veto()
