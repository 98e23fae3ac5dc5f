"""Running Pythia 8.3: checked settings, a process-level filter, events in batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferline.errors import ConfigError, DataError, did_you_mean
from transferline.generate.filter_rules import FilterCount, HardFilter
from transferline.generate.hard_filter import hard_filter
from transferline.generate.lhe import plain_path
from transferline.generate.slha import slha_in_files
from transferline.generate.tagged_jets import Kept, Thinning
from transferline.generate.truth import ChargeTable, Truth, truth_from_batch
from transferline.generate.veto import veto_hook

BATCH = 100
"""Events per call: the full record takes about 180 kB per event, so more only costs memory."""

_MOST_TRIED = 100_000  # events for one that passes

COMMON = (
    "Beams:eCM = 13000.",
    "Random:setSeed = on",
    "Next:numberCount = 0",
    # As in Delphes: particles with c tau above 10 mm reach the detector.
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10.",
    # The mass that CMS simulates and that the catalogue's cross sections assume; Pythia has 173.
    "6:m0 = 172.5",
)

_CP5_ALPHA_S = 0.118
TUNES: dict[str, tuple[str, ...]] = {
    "monash": ("Tune:pp = 14",),
    "a14": ("Tune:pp = 21",),
    # CMS CP5, Table 1 of arXiv:1903.12179, with Pythia's built-in copy of the NNPDF3.1 NNLO set.
    "cp5": (
        "Tune:pp = 14",
        "PDF:pSet = 20",
        "MultipartonInteractions:ecmPow = 0.03344",
        "MultipartonInteractions:bProfile = 2",
        "MultipartonInteractions:pT0Ref = 1.41",
        "MultipartonInteractions:coreRadius = 0.7634",
        "MultipartonInteractions:coreFraction = 0.63",
        "ColourReconnection:range = 5.176",
        "SigmaTotal:zeroAXB = off",
        *(
            f"{part}:{key}"
            for part in ("SpaceShower", "TimeShower", "MultipartonInteractions", "SigmaProcess")
            for key in (f"alphaSvalue = {_CP5_ALPHA_S}", "alphaSorder = 2")
        ),
    ),
}


def import_pythia() -> Any:
    """Import pythia8mc, which exists for Linux x86_64 and Python 3.11 to 3.13 only."""
    try:
        import pythia8mc  # noqa: PLC0415 - an optional extra, imported when used
    except ImportError as error:
        raise ConfigError(
            "Generating events needs Pythia (wheels: Linux x86_64, Python 3.11 to 3.13). "
            'Install it with: pip install "transferline[generate]"'
        ) from error
    return pythia8mc


def tune_settings(name: str) -> tuple[str, ...]:
    """Return the settings of a tune; raises ConfigError with the nearest name."""
    if name not in TUNES:
        raise ConfigError(f"Unknown tune '{name}'.{did_you_mean(name, TUNES)}")
    return TUNES[name]


@dataclass
class PythiaRun:
    """One initialised Pythia with its process-level filter.

    `settings` are Pythia's own strings; `seed` lies in 1 to 900,000,000. With `lhe`, hard events
    come from that file, of which the first `skip` are passed over; with `source`, from that
    `LHAup` object. `process` is its name in messages.
    """

    settings: Sequence[str]
    seed: int
    rule: HardFilter
    lhe: Path | None = None
    skip: int = 0
    count: FilterCount = field(default_factory=FilterCount)
    source: Any = None
    process: str = "the process"

    def __post_init__(self) -> None:
        """Configure and initialise.

        Raises:
            ConfigError: Pythia refused a setting, which is named.
            DataError: it cannot begin with the LHE file.
        """
        module = import_pythia()
        self._pythia = module.Pythia("", False)
        self._set("Print:quiet = on")
        with plain_path(self.lhe) as lhe:
            every = (*COMMON, *self.settings, *self._input(lhe), f"Random:seed = {self.seed}")
            with slha_in_files(every) as settings:
                self._initialise(module, settings)
        self._charges = ChargeTable(self._pythia.particleData)

    def _initialise(self, module: Any, settings: Sequence[str]) -> None:
        for setting in settings:
            self._set(setting)
        info = self._pythia.infoPython()
        # Pythia keeps only a bare pointer to the hook: hold it here.
        self._thinning = Thinning(self.seed)
        self._hook = veto_hook(
            module,
            self.rule,
            self.count,
            info.weight,
            self._thinning,
            process_name=self.process,
        )
        self._pythia.setUserHooksPtr(self._hook)
        if self.source is not None:
            self._pythia.setLHAupPtr(self.source)
        if not self._pythia.init():
            if self.lhe is not None:  # settings alone are those of every sample
                raise DataError(
                    f"LHE file {self.lhe}: Pythia cannot begin with it. Look for an <init> block "
                    "that is missing or damaged, or for beams that Pythia does not know."
                )
            raise ConfigError("Pythia could not initialise with: " + "; ".join(self.settings))

    def _input(self, lhe: Path | None) -> tuple[str, ...]:
        if self.source is not None:
            return ("Beams:frameType = 5",)
        if lhe is None:
            return ()
        return (
            "Beams:frameType = 4",
            f"Beams:LHEF = {lhe}",
            f"Beams:nSkipLHEFatInit = {self.skip}",
        )

    def _set(self, setting: str) -> None:
        if not self._pythia.readString(setting, False):
            raise ConfigError(f"Pythia does not know the setting '{setting}'.")

    def batches(self, n: int) -> Iterator[Truth]:
        """Yield `n` events that passed the filter, in batches.

        With an LHE file `n` counts the events read: rarely, Pythia fails to shower one.

        Raises:
            DataError: no event passes the filter, or Pythia makes none, or too few of a file.
        """
        while n > 0:
            asked = min(BATCH, n)
            batch = self._pythia.nextBatch(asked, "skip")
            if self.lhe is not None and 2 * len(batch) < asked:
                raise DataError(
                    f"LHE file {self.lhe}: Pythia can use {len(batch)} of {asked} events. Look "
                    "for damaged lines, or for beams and particles that Pythia does not know."
                )
            if len(batch) == 0:
                raise DataError("Pythia made no event: check the settings.")
            n -= len(batch) if self.lhe is None else asked
            yield truth_from_batch(batch, self._charges)

    def hard_event(self) -> tuple[Any, Any]:
        """Make one event that passes the filter; return its process record and its numbers.

        Both belong to Pythia, and are those of the next event after the next call.

        Raises:
            DataError: of a great many events none passes.
        """
        for _ in range(_MOST_TRIED):
            if self._pythia.next():
                return self._pythia.process, self._pythia.infoPython()
        raise DataError("Pythia made no event: check the settings.")

    def exactly(self, n: int) -> Truth | None:
        """Return the next `n` events in one batch, None if Pythia fails to make one of them."""
        batch = self._pythia.nextBatch(n, "skip")
        return truth_from_batch(batch, self._charges) if len(batch) == n else None

    def kept(self, truth: Truth) -> list[Kept]:
        """Return what a filter that thins knows of the events of the latest batch."""
        return self._thinning.of(truth)

    def discard(self, n: int) -> None:
        """Generate `n` events for nothing but the cross section."""
        for _ in range(n):
            self._pythia.next()

    def cross_section(self) -> tuple[float, float]:
        """Return Pythia's own estimate and its error in pb, before the filter.

        It includes the branching fractions of forced decays.
        """
        info = self._pythia.infoPython()
        # Pythia multiplies with the share of accepted events, which the filter reduces.
        undo = self.count.tried / max(self.count.passed, 1)
        return info.sigmaGen() * 1e9 * undo, info.sigmaErr() * 1e9 * undo


HARD_PROCESS_ONLY = ("PartonLevel:all = off", "HadronLevel:all = off")


def leading_order(settings: Sequence[str], *, n: int, seed: int) -> tuple[float, float]:
    """Return Pythia's leading-order cross section and its error in pb, from `n` hard processes.

    No shower, no hadrons: thousands of events take a second.
    """
    run = PythiaRun((*settings, *HARD_PROCESS_ONLY), seed, hard_filter("none"))
    run.discard(n)
    return run.cross_section()


def available_cores() -> int:
    """Number of processor cores this process may use."""
    return len(os.sched_getaffinity(0))
