"""The filter `tagged_jets`: a lepton, two jets, a b tag, of processes that seldom have them.

W and Z bosons with jets pass one lepton, two jets and one b tag about once in a thousand events.
This filter spends time on those few:

1. The hard process must have a lepton and a parton that can come to pass; as in `lepton`, but the
   thresholds are those of the hard process alone.
2. Within the shower, at `scale`, there must be two jets. A second lepton counts as one: not
   identified, it is one. What has too few is given up before the soft part of the shower.
3. After the shower, before hadronisation, lepton and jets are looked at again, and events are
   **thinned** by the heaviest quark in them: all with a b quark go on, one in `charm` of those with
   a c quark, one in `light` of the others. Of their jets few are tagged.
4. After the detector, `tag_weighting` keeps an event with the probability of at least one tag,
   times what it was thinned by, and draws the tags on the condition that there is one.

The product of steps 3 and 4 is the probability of at least one tag, so what is kept has weight 1
and is distributed as if the tags had been drawn at random. How steps 3 and 4 divide it does not
matter, as long as the product in step 4 does not exceed 1; where it does (a b quark that came from
nowhere, five hard jets) the event has that product as its weight, and is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from transferline.generate.filter_rules import FilterCount, ShowerFilter
from transferline.generate.tag_weighting import TagCut
from transferline.generate.truth import Truth

_TAU = 15
_LEPTONS = frozenset({11, 13, _TAU})
_CHARM, _BOTTOM = 4, 5
_COLOURED = frozenset({1, 2, 3, _CHARM, _BOTTOM, 21})
_INCOMING = 3  # place of the first incoming parton in Pythia's record


@dataclass(frozen=True)
class TaggedJets(ShowerFilter):
    """The thresholds of the four steps, in GeV; all are measured in `docs/tagged_jets.md`.

    Attributes:
        tau_pt: of a tau in the hard process, of which the lepton has a part only.
        final_lepton_pt, final_tau_pt, final_lepton_eta: after the shower.
        final_jet_pt: after the shower; out of cone radiation takes from what `jet_pt` saw.
        further_pt, further_eta: of a second lepton, to count as a jet.
        charm_pt, quark_eta: of a c quark that may make a jet a c jet, and of any heavy quark.
        charm, light: one in so many events is kept.
        tag: what is asked for behind the detector.
    """

    tau_pt: float = 22.0
    final_lepton_pt: float = 22.0
    final_tau_pt: float = 30.0
    final_lepton_eta: float = 2.6
    final_jet_pt: float = 16.0
    further_pt: float = 15.0
    further_eta: float = 3.0
    charm_pt: float = 5.0
    quark_eta: float = 2.9
    charm: int = 3
    light: int = 10
    tag: TagCut = field(default_factory=TagCut)

    def accepts(self, process: Any) -> bool:
        """Tell whether a Pythia process record passes."""
        lepton, partons = False, 0
        for code, particle in _final(process):
            if code in _LEPTONS:
                pt = self.tau_pt if code == _TAU else self.lepton_pt
                lepton = lepton or self._counts(particle, pt, self.lepton_eta)
            elif code in _COLOURED:
                partons += self._counts(particle, self.parton_pt, self.parton_eta)
        return lepton and partons >= self.partons

    def further(self, process: Any) -> int:
        """Return how many leptons of a process there are beside the one that is asked for."""
        seen = sum(
            self._counts(particle, self.further_pt, self.further_eta)
            for code, particle in _final(process)
            if code in _LEPTONS
        )
        return max(seen - 1, 0)

    def final_finder(self, pythia8: Any) -> Any:
        """Return the jet finder for the end of the shower."""
        return replace(self, jet_pt=self.final_jet_pt).finder(pythia8)

    def one_in(self, event: Any, finder: Any, further: int) -> int:
        """Return one in how many events like this one is kept, 0 if none is; after the shower."""
        if not self.keeps(event, finder, further):
            return 0
        lepton, result = False, self.light
        for code, particle in _final(event):
            if code in _LEPTONS:
                pt = self.final_tau_pt if code == _TAU else self.final_lepton_pt
                lepton = lepton or self._counts(particle, pt, self.final_lepton_eta)
            elif code == _BOTTOM and self._counts(particle, 0.0, self.quark_eta):
                result = 1
            elif code == _CHARM and self._counts(particle, self.charm_pt, self.quark_eta):
                result = min(result, self.charm)
        return result if lepton else 0


def _final(record: Any) -> Iterator[tuple[int, Any]]:
    """Yield |PDG id| and particle of all final entries, last first: early ones are history."""
    left = record.nFinal()
    index = record.size()
    while left > 0 and index > _INCOMING:
        index -= 1
        particle = record[index]
        if particle.status() > 0:
            left -= 1
            yield particle.idAbs(), particle


@dataclass(frozen=True)
class Kept:
    """An event that was kept: one in how many, and all events tried up to it."""

    one_in: int
    count: FilterCount


class Thinning:
    """Draws which events are kept, and remembers those that were until they are asked for.

    The draws depend on `seed` and on the order of the events alone.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        # Pythia hands events over in batches, without those that it failed to finish.
        self._kept: dict[float, Kept] = {}

    def keeps(self, event: Any, one_in: int, count: FilterCount) -> bool:
        """Draw whether an event is among the one in `one_in` that are kept; 0 keeps none."""
        keep = one_in == 1 or (one_in > 1 and self._random.random() * one_in < 1.0)
        if keep:
            self._kept[event[_INCOMING].e()] = Kept(one_in, replace(count))
        return keep

    def of(self, truth: Truth) -> list[Kept]:
        """Return what is known of the events of a batch; older events are forgotten."""
        keys = truth.p4[truth.offsets[:-1] + _INCOMING, 3].tolist()
        found = [self._kept[key] for key in keys]
        self._kept.clear()
        return found
