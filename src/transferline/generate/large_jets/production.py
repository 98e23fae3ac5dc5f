"""What samples of jets and of events of jets share: their configuration and their provenance."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transferline.files import alone_in, json_hash
from transferline.generate.block_files import BlockCount, add_counts, load_block, read_count
from transferline.generate.generators import PYTHIA, generator_version
from transferline.generate.large_jets.blocks import JetConfiguration
from transferline.generate.large_jets.card import load_jet_card
from transferline.generate.large_jets.hard_filter import BoostedDecay
from transferline.generate.nanoaod import read_provenance
from transferline.generate.plan import Plan
from transferline.generate.tables import EventTable

_PACKAGES = ("transferline", "fastjet", "numpy")


def configure(
    name: str,
    settings: tuple[tuple[str, ...], ...],
    rule: BoostedDecay,
    *,
    seed: int,
    detector: str,
    block_size: int,
    generator: str = PYTHIA,
    replicas: int = 1,
    showers: tuple[tuple[str, ...], ...] = (),
) -> JetConfiguration:
    """Return the configuration of a sample.

    Raises:
        ConfigError: the card is unknown or wrong, or the generator is missing.
    """
    card = load_jet_card(detector)
    return JetConfiguration(
        jet_class=name,
        settings=settings,
        seed=seed,
        detector=detector,
        card_hash=json_hash(card.model_dump(mode="json")),
        rule=rule,
        generator=generator,
        block_size=block_size,
        versions=(generator_version(generator), *((name, version(name)) for name in _PACKAGES)),
        replicas=replicas,
        showers=showers,
    )


def provenance(plan: Plan[JetConfiguration], total: BlockCount) -> dict[str, Any]:
    """Return what a file tells of how it was made; `selected` is the share of events tried."""
    configuration = plan.configuration
    return {
        "process": configuration.jet_class,
        "n": plan.n,
        "seed": configuration.seed,
        "generator": configuration.generator,
        "detector": configuration.detector,
        "card_hash": configuration.card_hash,
        "filter": {**asdict(configuration.rule), "tried": total.tried, "passed": total.passed},
        "selected": total.found / total.tried,
        f"cross_section_{configuration.generator}": {
            "pb": total.cross_section,
            "error": total.cross_section_error,
            "what": "leading order, before the filter, including forced branching fractions",
        },
        "settings": [list(s) for s in configuration.settings],
        "block_size": configuration.block_size,
        "configuration": configuration.hash,
        "versions": {**dict(configuration.versions), "python": platform.python_version()},
    }


def produce(
    plan: Plan[JetConfiguration],
    out: Path,
    make: Callable[..., BlockCount],
    write: Callable[[Path, Iterator[EventTable], dict[str, Any]], None],
    *,
    label: str,
    facts: Mapping[str, Any],
    more: Callable[[BlockCount], Mapping[str, Any]] = lambda total: {},
    jobs: int,
    executor: futures.Executor | None,
) -> dict[str, Any]:
    """Make the blocks that are missing, write the file, and return what it tells of itself.

    A file with the same configuration is left as it is. Blocks go once the file is there. A second
    process that makes the same file waits for the first.

    Args:
        plan: the blocks.
        out: the ROOT file.
        make: of one block.
        write: the file, from its blocks in order and its provenance.
        label: of the progress bar.
        facts: what the provenance says beside what all samples say.
        more: what it says of the counts of all blocks.
        jobs: processes on this machine.
        executor: run blocks there instead.

    Raises:
        DataError: `out` or its blocks belong to another configuration.
    """
    if (found := plan.finished(out, read_provenance)) is not None:
        return found
    plan.parts.mkdir(parents=True, exist_ok=True)
    with alone_in(plan.parts, wait=True):
        found = plan.finished(out, read_provenance)  # by the process that was waited for
        if found is None:
            plan.make(make, label, jobs, executor)
            paths = plan.paths()
            total = add_counts([read_count(path)[0] for path in paths])
            found = {**facts, **provenance(plan, total), **more(total)}
            write(out, (load_block(path) for path in paths), found)
        shutil.rmtree(plan.parts, ignore_errors=True)
    return found
