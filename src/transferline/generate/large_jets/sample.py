"""Generate a sample of jets: blocks on an executor, merged in order into one ROOT file."""

from __future__ import annotations

import time
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferline.errors import ConfigError
from transferline.generate.generators import DEFAULT_TUNE, PYTHIA, SHERPA
from transferline.generate.large_jets.blocks import generate_jet_block
from transferline.generate.large_jets.card import load_jet_card
from transferline.generate.large_jets.classes import jet_class
from transferline.generate.large_jets.event_writer import write_replicas
from transferline.generate.large_jets.production import configure, produce
from transferline.generate.large_jets.settings import generator_cards, replica_settings
from transferline.generate.large_jets.writer import write_jetclass
from transferline.generate.nanoaod import read_provenance
from transferline.generate.plan import Plan
from transferline.generate.sherpa.run import integrate_once

KIND = "transferline generate jets"


@dataclass(frozen=True)
class JetSummary:
    """What was written, and how many events it took; `jets` have `replicas` each.

    The cross section in pb is the generator's estimate (leading order) with its statistical
    error, within the bounds of the class's transverse momentum and before the filter.
    """

    path: Path
    jet_class: str
    jets: int
    replicas: int
    tried: int
    passed: int
    generator: str
    cross_section_generator: float
    cross_section_generator_error: float
    seconds: float


def _summary(found: dict[str, Any], out: Path, seconds: float) -> JetSummary:
    estimate = found[f"cross_section_{found['generator']}"]
    return JetSummary(
        path=out,
        jet_class=found["process"],
        jets=found["n"],
        replicas=found.get("replicas", 1),
        tried=found["filter"]["tried"],
        passed=found["filter"]["passed"],
        generator=found["generator"],
        cross_section_generator=estimate["pb"],
        cross_section_generator_error=estimate["error"],
        seconds=seconds,
    )


def generate_jets(
    class_name: str,
    out: Path,
    *,
    n: int,
    seed: int,
    jobs: int = 1,
    mpi: bool = True,
    detector: str = "cms",
    executor: futures.Executor | None = None,
    block_size: int = 1000,
    tune: str = DEFAULT_TUNE,
    generator: str = PYTHIA,
    replicas: int = 1,
) -> JetSummary:
    """Generate `n` jets of a class of JetClass and write them in its ROOT layout.

    The content depends on the class, `n`, `seed`, `mpi`, `detector`, `block_size`, `tune`,
    `generator` and `replicas`, never on `jobs` or `executor`. Finished blocks are kept beside
    `out` until the end, so an interrupted call resumes when repeated; a finished file with the
    same configuration is left as it is.

    Args:
        class_name: one of `transferline.data.layouts.jetclass.CLASSES`.
        out: the ROOT file to write.
        n: jets to write.
        seed: any integer; equal seeds give equal files.
        jobs: processes on this machine.
        mpi: simulate multi-parton interactions (costs about half of the time).
        detector: name of a card for jets, or path of a YAML card.
        executor: run blocks there instead, best on one of `transferline.executors`; it must
            see the same files.
        block_size: jets per block.
        tune: `monash`, `cp5` or `a14`; Sherpa has its own only.
        generator: `pythia`, or `sherpa` for QCD and Tbqq.
        replicas: jets of each hard process, which is showered, hadronised and detected so many
            times (Pythia only). With more than one, an entry of the file is a list of them,
            `n` counts entries, and an entry is there only if every replica has a jet of the
            same resonance, for QCD of the same parton.

    Raises:
        ConfigError: unknown class, detector, tune or generator, or the generator is missing;
            or it is Sherpa and there are replicas, or not 1 to 100 of them.
        DataError: `out` or its blocks belong to another configuration.
    """
    start = time.monotonic()
    entry, out = jet_class(class_name), Path(out)
    if n < 1 or block_size < 1:
        raise ConfigError("The number of jets and the block size must be positive.")
    card = load_jet_card(detector)
    configuration = configure(
        entry.name,
        generator_cards(entry, card, generator, mpi=mpi, tune=tune),
        entry.rule,
        seed=seed,
        detector=detector,
        block_size=block_size,
        generator=generator,
        replicas=replicas,
        showers=replica_settings(entry, card, replicas, generator, mpi=mpi, tune=tune),
    )
    plan = Plan(configuration, n, out.with_name(f"{out.name}.parts"))
    if generator == SHERPA and plan.finished(out, read_provenance) is None and plan.missing():
        integrate_once(configuration.settings)  # here, so that not every worker does it
    own_tune = tune if generator == PYTHIA else None
    several = {} if replicas == 1 else {"replicas": replicas}
    found = produce(
        plan,
        out,
        generate_jet_block,
        write_jetclass if replicas == 1 else write_replicas,
        label=f"generate {entry.name} jets",
        facts={"kind": KIND, "purpose": entry.purpose, "mpi": mpi, "tune": own_tune, **several},
        jobs=jobs,
        executor=executor,
    )
    return _summary(found, out, time.monotonic() - start)
