"""The page about generated events: `transferline validate events`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from transferline.errors import ConfigError, DataError
from transferline.generate.blocks import REVISION
from transferline.progress import progress
from transferline.validation.evidence import Evidence, gather
from transferline.validation.finding import Finding
from transferline.validation.page import Page, Written, write_page

TOPICS = (
    "leptonic",
    "hadronic",
    "spectra",
    "jet_energy",
    "btagging",
    "met",
    "leptons",
    "taus",
    "cross_sections",
    "underlying_event",
)
"""Modules of this room, each with a function `find(evidence) -> Finding`."""

_INTRODUCTION = (
    "What `transferline generate events` makes, beside what is known: generated masses, detector "
    "response, tagging and identification efficiencies against the detector card they come from, "
    "and published numbers. Events have no pile-up and are normalised to the catalogue's cross "
    "sections.\n\n"
    "Some verdicts are closures, not predictions: the jet energy scale, the jet resolution and the "
    "electrons' resolution of the detector card were set to the numbers that they are compared "
    "with here, and the averages of the b-tag come from the card's own sources. Tolerances are our "
    "choice; a source that was read off a figure says so. The sections on generated masses, "
    "spectra, cross sections, multi-parton interactions and full CMS simulation are independent."
)


def validate_events(
    out: Path,
    *,
    n: int,
    seed: int,
    jobs: int = 1,
    detector: str = "cms",
    real: Sequence[Path] = (),
    cache: Path | None = None,
) -> tuple[Page, Written]:
    """Generate what is missing in the cache, compare, and write the page.

    Args:
        out: the Markdown page; pictures and numbers go to `validation/` beside it.
        n: events of the largest sample; the others have fixed shares of it.
        seed: of all samples.
        jobs: processes that generate.
        detector: name of a card, or path of a YAML card; the expectations that are not the
            card's own are those of CMS.
        real: NanoAOD files of full simulation to compare with.
        cache: where samples are kept; by default `TRANSFERLINE_CACHE`.

    Raises:
        ConfigError: `n` is too small, or Pythia is missing.
        DataError: a file of real simulation is missing or of a process we do not generate.
    """
    if n < 100:
        raise ConfigError(f"--n {n}: at least 100 events are needed for a page.")
    for path in real:
        if not path.is_file():
            raise DataError(f"{path}: no such file.")
    evidence = gather(n, seed, detector=detector, jobs=jobs, real=real, cache=cache)
    page = make_page(evidence)
    return page, write_page(page, out)


def make_page(evidence: Evidence) -> Page:
    """Return the page of the evidence, not yet written."""
    return Page(
        "events",
        "Physics validation of generated events",
        _INTRODUCTION,
        _command(evidence),
        {"n": evidence.n, "seed": evidence.seed, "generator revision": REVISION},
        find_all(evidence),
    )


def find_all(evidence: Evidence) -> list[Finding]:
    """Return all sections, that on real simulation only where files are given."""
    topics = (*TOPICS, *(("real_simulation",) if evidence.real else ()))
    findings = []
    with progress(len(topics), "compare") as ticker:
        for topic in topics:
            ticker.note(topic.replace("_", " "))
            findings.append(import_module(f"transferline.validation.{topic}").find(evidence))
            ticker.advance()
    return findings


def _command(evidence: Evidence) -> list[str]:
    """The command without the options that do not change a number, and without directories."""
    words = ["transferline", "validate", "events", "--n", str(evidence.n)]
    words += ["--seed", str(evidence.seed)]
    if evidence.detector != "cms":
        words += ["--detector", Path(evidence.detector).name]
    for path in evidence.real:
        words += ["--real", path.name]
    return words
