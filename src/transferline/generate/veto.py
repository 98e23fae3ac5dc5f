"""Veto: the filter at work inside Pythia."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transferline.generate.hard_filter import FilterCount, HardFilter, ShowerFilter

# Pythia's number for the showers of resonance decays, which come last.
_IN_DECAY = 5


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

    if isinstance(rule, ShowerFilter):
        return _in_shower(Veto, rule, count, rule.finder(pythia8))()
    return Veto()


def _in_shower(hook: Any, rule: ShowerFilter, count: FilterCount, finder: Any) -> Any:
    """Return the class `hook` with a second look, from inside the shower."""

    class VetoInShower(hook):  # type: ignore[misc]  # as above
        def canVetoPT(self) -> bool:  # noqa: N802
            return True

        def scaleVetoPT(self) -> float:  # noqa: N802
            return rule.scale

        def doVetoPT(self, place: int, event: Any) -> bool:  # noqa: N802
            if place == _IN_DECAY or rule.keeps(event, finder):
                return False
            count.drop()
            return True

    return VetoInShower
