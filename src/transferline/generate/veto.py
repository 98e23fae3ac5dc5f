"""Veto: the filter at work inside Pythia."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transferline.errors import DataError
from transferline.generate.filter_rules import FilterCount, HardFilter, ShowerFilter
from transferline.generate.tagged_jets import TaggedJets, Thinning

# Pythia's number for the showers of resonance decays, which come last.
_IN_DECAY = 5

MOST_REFUSED = 100_000  # hard processes before the first that passes: some ten seconds


def veto_hook(
    pythia8: Any,
    rule: HardFilter,
    count: FilterCount,
    weight: Callable[[], float],
    thinning: Thinning,
    *,
    process_name: str,
) -> Any:
    """Return a Pythia `UserHooks` object that applies `rule` and fills `count`.

    `weight` is asked for the weight of the present event, vetoed or not. `thinning` draws for
    those rules that keep one event in so many.

    Pythia asks for another hard process until one passes. Where `rule` refuses a great many, the
    object raises a DataError, which names `process_name`; it passes through Pythia.
    """

    class Veto(pythia8.UserHooks):  # type: ignore[misc]  # a C++ class, known at run time only
        any_passed = False

        def canVetoProcessLevel(self) -> bool:  # noqa: N802 (name fixed by Pythia)
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:  # noqa: N802
            accepted = rule.accepts(process)
            count.add(weight(), accepted)
            self.any_passed = self.any_passed or accepted
            if not self.any_passed and count.tried >= MOST_REFUSED:
                raise DataError(
                    f"filter {rule.name}: none of {count.tried:,} events of {process_name} passed. "
                    "Choose another filter, or 'none'."
                )
            return not accepted

    hook: Any = Veto
    if isinstance(rule, ShowerFilter):
        hook = _in_shower(hook, rule, count, rule.finder(pythia8))
    if isinstance(rule, TaggedJets):
        hook = _after_shower(hook, rule, count, rule.final_finder(pythia8), thinning)
    return hook()


def _in_shower(hook: Any, rule: ShowerFilter, count: FilterCount, finder: Any) -> Any:
    """Return the class `hook` with a second look, from inside the shower."""

    class VetoInShower(hook):  # type: ignore[misc]  # as above
        further = 0

        def doVetoProcessLevel(self, process: Any) -> bool:  # noqa: N802
            if super().doVetoProcessLevel(process):
                return True
            self.further = rule.further(process)
            return False

        def canVetoPT(self) -> bool:  # noqa: N802
            return True

        def scaleVetoPT(self) -> float:  # noqa: N802
            return rule.scale

        def doVetoPT(self, place: int, event: Any) -> bool:  # noqa: N802
            if place == _IN_DECAY or rule.keeps(event, finder, self.further):
                return False
            count.drop()
            return True

    return VetoInShower


def _after_shower(
    hook: Any, rule: TaggedJets, count: FilterCount, finder: Any, thinning: Thinning
) -> Any:
    """Return the class `hook` with a third look, before hadrons are made."""

    class VetoAfterShower(hook):  # type: ignore[misc]  # as above
        def canVetoPartonLevel(self) -> bool:  # noqa: N802
            return True

        def doVetoPartonLevel(self, event: Any) -> bool:  # noqa: N802
            one_in = rule.one_in(event, finder, self.further)
            if thinning.keeps(event, one_in, count):
                return False
            count.drop()
            return True

    return VetoAfterShower
