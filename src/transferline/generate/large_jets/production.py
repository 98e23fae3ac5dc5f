"""What samples of jets and of events of jets share: their configuration and their provenance."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from transferline.files import json_hash
from transferline.generate.block_files import BlockCount
from transferline.generate.generators import PYTHIA, generator_version
from transferline.generate.large_jets.blocks import JetConfiguration
from transferline.generate.large_jets.card import load_jet_card
from transferline.generate.large_jets.hard_filter import BoostedDecay
from transferline.generate.plan import Plan

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
