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

`tagged_jets` looks into the shower and at the b tags (`tagged_jets.py`, `docs/tagged_jets.md`).
"""

from __future__ import annotations

from transferline.errors import ConfigError, did_you_mean
from transferline.generate.filter_rules import HardFilter, ShowerFilter
from transferline.generate.tagged_jets import TaggedJets

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
    # For a lepton, two jets and a b tag of W and Z bosons with jets.
    "tagged_jets": TaggedJets(
        "tagged_jets",
        leptons=1,
        lepton_pt=10.0,
        lepton_eta=3.2,
        partons=1,
        parton_pt=28.0,
        parton_eta=4.0,
        jets=2,
        jet_pt=20.0,
    ),
}


def hard_filter(name: str) -> HardFilter:
    """Return the filter called `name`; raises ConfigError with the nearest name."""
    if name not in FILTERS:
        raise ConfigError(f"Unknown process-level filter '{name}'.{did_you_mean(name, FILTERS)}")
    return FILTERS[name]
