"""Generate a sample of events: blocks on an executor, merged in order into one ROOT file."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Iterable
from concurrent import futures
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transferline.errors import ConfigError
from transferline.files import alone_in, file_hash, json_hash
from transferline.generate.block_files import BlockCount, add_counts, load_block, read_count
from transferline.generate.blocks import Configuration, generate_block
from transferline.generate.card import load_card
from transferline.generate.catalogue import OF_LHE, Process, process
from transferline.generate.filter_rules import HardFilter
from transferline.generate.generators import (
    DEFAULT_TUNE,
    PYTHIA,
    SHERPA,
    chosen_generator,
    generator_settings,
    generator_version,
)
from transferline.generate.growth import smaller_sample, take_blocks
from transferline.generate.hard_filter import hard_filter
from transferline.generate.lhe import count_events
from transferline.generate.nanoaod import read_provenance, write_nanoaod
from transferline.generate.plan import Plan
from transferline.generate.sherpa.run import check_filter, integrate_once
from transferline.generate.sherpa.run_card import sherpa_processes
from transferline.generate.tagged_jets import TaggedJets

_LEADING_ORDER = "leading order, before the filter, including forced branching fractions"
_OF_THE_FILE = "as the LHE file has it; fractions of decays that are forced here are not in it"


@dataclass(frozen=True)
class GenerationSummary:
    """What was written, and the sums over all events tried (before the process-level filter).

    Cross sections in pb: the generator's own estimate (leading order) with its statistical error,
    and the catalogue's, both before the filter.
    """

    path: Path
    process: str
    events: int
    tried: int
    passed: int
    sum_weight: float
    sum_weight2: float
    generator: str
    cross_section_generator: float
    cross_section_generator_error: float
    cross_section: float | None
    seconds: float


@dataclass(frozen=True)
class _Options:
    """What the user asked for, beside the process and the number of events."""

    generator: str
    seed: int
    mpi: bool
    tune: str
    detector: str
    filter: str | None
    lhe: Path | None
    block_size: int


def _filter_name(entry: Process, options: _Options) -> str:
    if options.lhe is None:
        if options.generator == PYTHIA and not entry.production:
            other = "--generator sherpa, or " if entry.name in sherpa_processes() else ""
            raise ConfigError(f"Process '{entry.name}' needs {other}--lhe FILE.")
        return options.filter or entry.filter
    if options.filter not in (None, "none"):
        raise ConfigError("A process-level filter cannot be used with --lhe: filter the file.")
    return "none"


def _configure(entry: Process, options: _Options) -> Configuration:
    card = load_card(options.detector)
    rule = hard_filter(_filter_name(entry, options))
    if options.generator == SHERPA:
        check_filter(rule)
    packages = ("transferline", "", "fastjet", "numpy")
    return Configuration(
        process=entry.full_name,
        settings=generator_settings(
            entry,
            options.generator,
            mpi=options.mpi,
            tune=options.tune,
            external=options.lhe is not None,
        ),
        seed=options.seed,
        detector=options.detector,
        card_hash=json_hash(card.model_dump(mode="json")),
        rule=rule,
        lhe=str(options.lhe.resolve()) if options.lhe else None,
        lhe_hash=file_hash(options.lhe) if options.lhe else None,
        block_size=options.block_size,
        versions=tuple(
            (name, version(name)) if name else generator_version(options.generator)
            for name in packages
        ),
        generator=options.generator,
    )


def _make_blocks(plan: Plan[Configuration], jobs: int, executor: futures.Executor | None) -> None:
    if plan.missing() and plan.configuration.generator == SHERPA:
        # Here, so that not every worker does it.
        integrate_once(plan.configuration.settings)
    plan.make(generate_block, f"generate {plan.configuration.process}", jobs, executor)


def _filter_part(rule: HardFilter, total: BlockCount) -> dict[str, Any]:
    """What the filter is, and what it did."""
    part = {**asdict(rule), "tried": total.tried, "passed": total.passed}
    return part | {"overweight": total.overweight} if isinstance(rule, TaggedJets) else part


def _provenance(
    plan: Plan[Configuration], entry: Process, options: _Options, total: BlockCount
) -> Any:
    configuration = plan.configuration
    return {
        "kind": "transferline generate events",
        "process": configuration.process,
        "purpose": entry.purpose,
        "n": plan.n,
        "events": total.events,
        "seed": options.seed,
        "generator": options.generator,
        "mpi": options.mpi,
        "tune": options.tune if options.generator == PYTHIA else None,
        "detector": options.detector,
        "card_hash": configuration.card_hash,
        "filter": _filter_part(configuration.rule, total),
        "sum_weight": total.sum_weight,
        "sum_weight2": total.sum_weight2,
        f"cross_section_{options.generator}": {
            "pb": total.cross_section,
            "error": total.cross_section_error,
            "what": _OF_THE_FILE if configuration.lhe_hash else _LEADING_ORDER,
        },
        "cross_section": (OF_LHE if configuration.lhe_hash else entry.cross_section).model_dump(),
        "settings": [list(s) for s in configuration.settings],
        "lhe_sha256": configuration.lhe_hash,
        "block_size": options.block_size,
        "configuration": configuration.hash,
        "versions": {**dict(configuration.versions), "python": platform.python_version()},
    }


def _merge(plan: Plan[Configuration], entry: Process, options: _Options, out: Path) -> None:
    paths = plan.paths()
    total = add_counts([read_count(path)[0] for path in paths])
    write_nanoaod(
        out,
        (load_block(path) for path in paths),
        count=total.tried,
        sum_weight=total.sum_weight,
        sum_weight2=total.sum_weight2,
        provenance=_provenance(plan, entry, options, total),
    )


def _finished(plan: Plan[Configuration], out: Path) -> dict[str, Any] | None:
    """Provenance of `out` if it is all there; None if there is nothing, or a beginning of it."""
    return None if smaller_sample(plan, [out]) else plan.finished(out, read_provenance)


def _summary(found: dict[str, Any], out: Path, seconds: float) -> GenerationSummary:
    generator = found.get("generator", PYTHIA)
    estimate = found[f"cross_section_{generator}"]
    return GenerationSummary(
        path=out,
        process=found["process"],
        events=found["events"],
        tried=found["filter"]["tried"],
        passed=found["filter"]["passed"],
        sum_weight=found["sum_weight"],
        sum_weight2=found["sum_weight2"],
        generator=generator,
        cross_section_generator=estimate["pb"],
        cross_section_generator_error=estimate["error"],
        cross_section=found["cross_section"]["pb"],
        seconds=seconds,
    )


def generate_events(
    process_name: str,
    out: Path,
    *,
    n: int,
    seed: int,
    jobs: int = 1,
    mpi: bool = True,
    detector: str = "cms",
    filter: str | None = None,
    lhe: Path | None = None,
    executor: futures.Executor | None = None,
    block_size: int = 1000,
    tune: str = DEFAULT_TUNE,
    generator: str | None = None,
    smaller: Iterable[Path] = (),
) -> GenerationSummary:
    """Generate `n` events that pass the process-level filter and write them as NanoAOD.

    The events depend on the process, `generator`, `n`, `seed`, `mpi`, `detector`, `filter`,
    `lhe`, `block_size` and `tune`, never on `jobs` or `executor`. Finished blocks are kept beside
    `out` until the end, so an interrupted call resumes when repeated; a finished file with the
    same configuration is left as it is. If it differs in nothing but fewer events, of whole
    blocks, it grows: they are not made again, and it is replaced when all are there. Sums of a
    grown file are those of one made at once up to rounding, and the generator's own cross section
    within its error. A second process that makes the same file waits for the first.

    Args:
        process_name: a name of the catalogue, such as `ttbar_1l` or `Hplus_tb_500`.
        out: the ROOT file to write.
        n: events to write; with `lhe`, events to read (at most those in the file).
        seed: any integer; equal seeds give equal files.
        jobs: processes on this machine.
        mpi: simulate multi-parton interactions (costs about half of the time).
        detector: name of a card, or path of a YAML card.
        filter: process-level filter; None takes the process's default.
        lhe: hard events from this Les Houches file; production settings are then not used.
        executor: run blocks there instead, best on one of `transferline.executors`; it must
            see the same files.
        block_size: events per block.
        tune: `monash`, `cp5` or `a14`; Sherpa has its own only.
        generator: `pythia` or `sherpa`; None takes Pythia, and Sherpa for what Pythia lacks.
        smaller: other files, whose events are taken if they are a smaller sample of the same
            configuration, in whole blocks.

    Raises:
        ConfigError: unknown process, detector, filter, tune or generator, or the generator (for
            Sherpa also a C++ compiler) is missing.
        DataError: `out` or its blocks belong to another configuration, or Sherpa failed.
    """
    start = time.monotonic()
    entry, out = process(process_name), Path(out)
    if n < 1 or block_size < 1:
        raise ConfigError("The number of events and the block size must be positive.")
    if lhe is not None:
        n = min(n, count_events(Path(lhe)))
    options = _Options(
        generator=chosen_generator(entry, generator),
        seed=seed,
        mpi=mpi,
        tune=tune,
        detector=detector,
        filter=filter,
        lhe=Path(lhe) if lhe else None,
        block_size=block_size,
    )
    plan = Plan(_configure(entry, options), n, out.with_name(f"{out.name}.parts"))
    found = _finished(plan, out)
    if found is None:
        plan.parts.mkdir(parents=True, exist_ok=True)
        with alone_in(plan.parts, wait=True):
            found = _finished(plan, out)  # by the process that was waited for
            if found is None:
                beginning = smaller_sample(plan, [out, *smaller])
                if beginning is not None:
                    take_blocks(plan, beginning)
                _make_blocks(plan, jobs, executor)
                _merge(plan, entry, options, out)
                found = read_provenance(out)
            shutil.rmtree(plan.parts, ignore_errors=True)
    return _summary(found, out, time.monotonic() - start)


def summary_json(summary: GenerationSummary) -> dict[str, Any]:
    """Return a summary as plain JSON values."""
    return asdict(summary) | {"path": str(summary.path)}
