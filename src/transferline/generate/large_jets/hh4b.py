"""Generate X -> HH -> 4b and QCD multijets as events of large-radius jets of constituents."""

from __future__ import annotations

import math
import time
from concurrent import futures
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transferline.errors import ConfigError
from transferline.executors import one_at_a_time
from transferline.generate.block_files import BlockCount
from transferline.generate.generators import DEFAULT_TUNE
from transferline.generate.large_jets.blocks import JetConfiguration, make_block
from transferline.generate.large_jets.card import load_jet_card
from transferline.generate.large_jets.event_content import event_table
from transferline.generate.large_jets.event_writer import write_hbb
from transferline.generate.large_jets.hard_filter import BoostedDecay
from transferline.generate.large_jets.hh4b_request import Request
from transferline.generate.large_jets.production import configure, produce
from transferline.generate.plan import Plan

KIND = "transferline generate hh4b"


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
    found = produce(
        plan,
        out,
        partial(generate_event_block, request.mass),
        write_hbb,
        label=f"generate {request.name}",
        facts={"kind": KIND, "purpose": request.purpose, "mpi": mpi, "tune": tune},
        more=lambda total: {"cross_section": _cross_section(total), "mass": request.mass},
        jobs=jobs,
        executor=executor,
    )
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
