"""Running Sherpa: events in batches that passed a filter on their hard process."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from transferline.errors import ConfigError, DataError
from transferline.generate.filter_rules import FilterCount, HardFilter
from transferline.generate.sherpa.hook import compiled_hook
from transferline.generate.sherpa.installation import PACKAGE, find
from transferline.generate.sherpa.process import event_stream, integrated
from transferline.generate.sherpa.record import Event, read_events, truth_from_events
from transferline.generate.truth import Truth

BATCH = 100
"""Events per Truth."""


def find_sherpa() -> tuple[str, str]:
    """Return name and version of the package, when all is there that a run needs.

    Raises:
        ConfigError: Sherpa or a C++ compiler is missing; says how to get it.
        DataError: the directory of Sherpa is not whole.
    """
    installation = find()
    compiled_hook(installation)
    return PACKAGE, installation.version


def integrate_once(settings: Sequence[Sequence[str]]) -> None:
    """Integrate the matrix elements of these run cards, unless the cache has their results."""
    for hard in dict.fromkeys(parts[0] for parts in settings):
        integrated(find(), hard)


def check_filter(rule: HardFilter) -> None:
    """Raise ConfigError for a filter that looks into Pythia's shower."""
    if type(rule) is not HardFilter:
        raise ConfigError(
            f"The filter '{rule.name}' is Pythia's only: choose another with --filter."
        )


@dataclass
class SherpaRun:
    """One run of Sherpa with its filter, used as a `PythiaRun` is.

    `parts` are the two parts of the run card; `seed` lies in 1 to 900,000,000.
    """

    parts: tuple[str, ...]
    seed: int
    rule: HardFilter
    count: FilterCount = field(default_factory=FilterCount)
    _picobarn: float = 0.0
    _picobarn2: float = 0.0
    _trials: float = 0.0

    def batches(self, n: int) -> Generator[Truth, None, None]:
        """Yield `n` events that passed the filter, in batches.

        The filter looks at the finished event, so that what it rejects costs its full time.

        Raises:
            ConfigError: Sherpa or a compiler is missing.
            DataError: Sherpa failed; says what its log says.
        """
        with event_stream(find(), self.parts, self.seed) as stream:
            events = self._passing(read_events(stream, "Sherpa"))
            while n > 0:
                batch = [next(events) for _ in range(min(BATCH, n))]
                n -= len(batch)
                yield truth_from_events(batch)

    def _passing(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            accepted = event.accepted(self.rule)
            self.count.add(event.relative_weight, accepted)
            self._picobarn += event.weight
            self._picobarn2 += event.weight**2
            self._trials += event.trials
            if accepted:
                yield event
        raise DataError("Sherpa ended before all events were made.")

    def cross_section(self) -> tuple[float, float]:
        """Return Sherpa's own estimate and its error in pb, before the filter.

        It includes the branching fractions of the open decays, and is the mean weight over all
        points tried in phase space.
        """
        trials = max(self._trials, 1.0)
        mean = self._picobarn / trials
        return mean, max(self._picobarn2 / trials - mean**2, 0.0) ** 0.5 / trials**0.5
