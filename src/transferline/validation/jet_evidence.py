"""What the page on jets is made of: ten classes, and some of them made otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferline.data.layouts.jetclass import CLASSES
from transferline.errors import ConfigError
from transferline.generate.generators import SHERPA
from transferline.generate.large_jets.classes import jet_class
from transferline.generate.sherpa.run import find_sherpa
from transferline.sample_generation import generated_file
from transferline.samples import Sample
from transferline.validation.jet_file import JetFile

SHIFTED = ("QCD", "Hbb", "Tbqq")
"""Classes that are made in every variant."""

VARIANTS: dict[str, dict[str, Any]] = {
    "ATLAS-like detector": {"detector": "atlas"},
    "no multi-parton interactions": {"mpi": False},
    "tune CP5": {"tune": "cp5"},
}
SHERPA_VARIANT = "Sherpa"
"""Made of the classes that it can make, where it is installed."""

_SHARE = 0.2


@dataclass(frozen=True)
class JetEvidence:
    """Files by class, and by variant and class; `n` jets of each class."""

    classes: Mapping[str, JetFile]
    variants: Mapping[str, Mapping[str, JetFile]]
    n: int
    seed: int
    detector: str = "cms"

    @property
    def shifted(self) -> dict[str, Mapping[str, JetFile]]:
        """The standard and all variants, by name, each by class."""
        return {"standard": {name: self.classes[name] for name in SHIFTED}, **self.variants}


def gather(
    n: int,
    seed: int,
    *,
    detector: str = "cms",
    jobs: int = 1,
    cache: Path | None = None,
) -> JetEvidence:
    """Generate what is not in the cache yet; interrupted, it goes on where it stopped."""

    def made(name: str, size: int, **how: Any) -> JetFile:
        what = {"detector": detector} | how
        sample = Sample(jets=name, n=size, seed=seed, selection="jets", **what)
        return JetFile(generated_file(sample, cache, jobs=jobs))

    classes = {name: made(name, n) for name in CLASSES}
    size = max(round(_SHARE * n), 1)
    variants = {
        title: {name: made(name, size, **how) for name in SHIFTED}
        for title, how in VARIANTS.items()
    }
    able = [name for name in SHIFTED if jet_class(name).sherpa]
    if _has_sherpa():
        variants[SHERPA_VARIANT] = {name: made(name, size, generator=SHERPA) for name in able}
    return JetEvidence(classes, variants, n, seed, detector)


def _has_sherpa() -> bool:
    try:
        find_sherpa()
    except ConfigError:
        return False
    return True
