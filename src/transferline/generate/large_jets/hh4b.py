"""Generate X -> HH -> 4b and QCD multijets as events of large-radius jets of constituents."""

from __future__ import annotations

import math
import shutil
import time
from concurrent import futures
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transferline.errors import ConfigError
from transferline.executors import one_at_a_time
from transferline.generate.block_files import BlockCount, add_counts, load_block, read_count
from transferline.generate.generators import DEFAULT_TUNE
from transferline.generate.large_jets.blocks import JetConfiguration, make_block
from transferline.generate.large_jets.card import JetCard, load_jet_card
from transferline.generate.large_jets.event_content import event_table
from transferline.generate.large_jets.event_writer import write_hbb
from transferline.generate.large_jets.hard_filter import BoostedDecay
from transferline.generate.large_jets.production import configure, provenance
from transferline.generate.large_jets.settings import lifetime_settings
from transferline.generate.nanoaod import read_provenance
from transferline.generate.plan import Plan
from transferline.generate.pythia import tune_settings

KIND = "transferline generate hh4b"
MASSES = (600, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000, 4000, 4500)
"""Masses of X in GeV that record 12102 has; any from 500 to 6000 can be made."""

QCD_BINS = (300, 470, 600, 800, 1000, 1400, 1800, 2400, 3200)
"""Lower bounds in GeV of the bins of pT-hat that CMS generates, the last one open."""

_SIGNAL, _QCD = "hh4b", "qcd"
_LIGHTEST, _HEAVIEST = 500.0, 6000.0
_LOWEST_PT_HAT = 50.0


@dataclass(frozen=True)
class Request:
    """A mass of X in GeV, or for multijets (mass 0) bounds of pT-hat, -1 for none above."""

    mass: float = 0.0
    pt_hat: tuple[float, float] = (0.0, -1.0)

    @classmethod
    def parse(cls, mass: float | None, qcd: str | None) -> Request:
        """Read `--mass M` or `--qcd LOW-HIGH` (`3200-` is open).

        Raises:
            ConfigError: none or both are given, or they make no sense.
        """
        if (mass is None) == (qcd is None):
            raise ConfigError("Give either --mass M or --qcd LOW-HIGH.")
        if qcd is not None:
            return cls(pt_hat=_bounds(qcd))
        assert mass is not None  # one of the two is given
        if not _LIGHTEST <= mass <= _HEAVIEST:
            raise ConfigError(f"--mass {mass:g} is outside {_LIGHTEST:g} to {_HEAVIEST:g} GeV.")
        return cls(mass=mass)

    @property
    def name(self) -> str:
        """Name of the process, such as `hh4b_1000`, `qcd_300_470` or `qcd_3200`."""
        if self.mass:
            return f"{_SIGNAL}_{self.mass:g}"
        return "_".join([_QCD, *(f"{bound:g}" for bound in self.pt_hat if bound >= 0)])

    @property
    def purpose(self) -> str:
        """What it is, for people."""
        if self.mass:
            return f"A narrow spin-2 resonance of {self.mass:g} GeV, X -> HH -> 4b, made by gluons."
        return "Multijets of QCD, b and c quarks as the matrix element and the shower make them."

    def settings(self, card: JetCard, *, mpi: bool, tune: str) -> tuple[str, ...]:
        """Return Pythia's settings."""
        switch = () if mpi else ("PartonLevel:MPI = off",)
        process = self._signal() if self.mass else self._qcd()
        return (*tune_settings(tune), *process, *lifetime_settings(card), *switch)

    def _signal(self) -> tuple[str, ...]:
        return (
            "ExtraDimensionsG*:gg2G* = on",
            "ExtraDimensionsG*:kappaMG = 0.1",
            f"5100039:m0 = {self.mass:g}",
            "5100039:onMode = off",
            "5100039:onIfMatch = 25 25",
            "25:m0 = 125.",
            "25:onMode = off",
            "25:onIfMatch = 5 -5",
        )

    def _qcd(self) -> tuple[str, ...]:
        low, high = self.pt_hat
        return (
            "HardQCD:all = on",
            f"PhaseSpace:pTHatMin = {low:g}",
            f"PhaseSpace:pTHatMax = {high:g}",
        )


def _bounds(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        bounds = float(low), float(high) if high.strip() else -1.0
    except ValueError:
        dash, bounds = "", (0.0, 0.0)
    if not dash or not all(map(math.isfinite, bounds)):
        raise ConfigError(f"--qcd '{text}': expected LOW-HIGH in GeV, such as 300-470 or 3200-.")
    if bounds[0] < _LOWEST_PT_HAT or 0 <= bounds[1] <= bounds[0]:
        raise ConfigError(f"--qcd '{text}': needs {_LOWEST_PT_HAT:g} <= LOW < HIGH.")
    return bounds


@dataclass(frozen=True)
class EventSummary:
    """What was written. Cross section in pb of the events in the file, with its error."""

    path: Path
    process: str
    events: int
    tried: int
    selected: float
    cross_section: float
    cross_section_error: float
    seconds: float


@one_at_a_time
def generate_event_block(
    mass: float, configuration: JetConfiguration, block: int, n: int, path: str
) -> BlockCount:
    """Generate block number `block` with `n` events of two jets, see `make_block`."""
    return make_block(configuration, block, n, path, partial(event_table, mass=mass))


def _cross_section(total: BlockCount) -> dict[str, Any]:
    share = total.found / total.tried
    binomial = math.sqrt(share * (1 - share) / total.tried) if share < 1 else 0.0
    return {
        "pb": total.cross_section * share,
        "error": math.hypot(total.cross_section_error * share, total.cross_section * binomial),
        "kind": "conventional",
        "reference": "Pythia, leading order, times the share of events with two jets",
        "branching": "of the open decays",
    }


def generate_hh4b(
    out: Path,
    *,
    mass: float | None = None,
    qcd: str | None = None,
    n: int,
    seed: int,
    jobs: int = 1,
    mpi: bool = True,
    detector: str = "cms",
    executor: futures.Executor | None = None,
    block_size: int = 1000,
    tune: str = DEFAULT_TUNE,
) -> EventSummary:
    """Generate `n` events with at least two jets, in the per-event layout of record 12102.

    X is a narrow spin-2 resonance made by gluons. Jets are those of the card with pT > 200 GeV
    and |eta| < 2.4. As `generate_jets` it resumes, and depends on neither `jobs` nor `executor`.

    Args:
        out: the ROOT file to write; the reader `hbb` reads it, with `sets: events` as events.
        mass: of X in GeV.
        qcd: instead of it `LOW-HIGH`, bounds of pT-hat in GeV.
        n: events to write.
        seed: any integer; equal seeds give equal files.
        jobs: processes on this machine.
        mpi: simulate multi-parton interactions.
        detector: name of a card for jets, or path of a YAML card.
        executor: run blocks there instead.
        block_size: events per block.
        tune: `monash`, `cp5` or `a14`.

    Raises:
        ConfigError: neither or both of `mass` and `qcd`, a value out of range, an unknown
            detector or tune, or the generator is missing.
        DataError: `out` or its blocks belong to another configuration.
    """
    start = time.monotonic()
    request, out = Request.parse(mass, qcd), Path(out)
    if n < 1 or block_size < 1:
        raise ConfigError("The number of events and the block size must be positive.")
    configuration = configure(
        request.name,
        (request.settings(load_jet_card(detector), mpi=mpi, tune=tune),),
        BoostedDecay("none"),
        seed=seed,
        detector=detector,
        block_size=block_size,
    )
    plan = Plan(configuration, n, out.with_name(f"{out.name}.parts"))
    found = plan.finished(out, read_provenance)
    if found is None:
        make = partial(generate_event_block, request.mass)
        plan.make(make, f"generate {request.name}", jobs, executor)
        paths = plan.paths()
        total = add_counts([read_count(path)[0] for path in paths])
        made = {"purpose": request.purpose, "mpi": mpi, "tune": tune}
        more = {"cross_section": _cross_section(total), "mass": request.mass}
        found = {"kind": KIND, **made, **provenance(plan, total), **more}
        write_hbb(out, (load_block(path) for path in paths), found)
        shutil.rmtree(plan.parts)
    return EventSummary(
        path=out,
        process=found["process"],
        events=found["n"],
        tried=found["filter"]["tried"],
        selected=found["selected"],
        cross_section=found["cross_section"]["pb"],
        cross_section_error=found["cross_section"]["error"],
        seconds=time.monotonic() - start,
    )
