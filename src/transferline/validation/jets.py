"""The page about generated jets: `transferline validate jets`."""

from __future__ import annotations

from pathlib import Path

from transferline.errors import ConfigError
from transferline.generate.large_jets.blocks import REVISION
from transferline.validation import (
    jet_calibration,
    jet_content,
    jet_displacement,
    jet_masses,
    jet_shift,
    jet_spectra,
)
from transferline.validation.jet_evidence import JetEvidence, gather
from transferline.validation.page import Page, Written, write_page

_TOPICS = (jet_calibration, jet_content, jet_masses, jet_displacement, jet_spectra, jet_shift)

_INTRODUCTION = (
    "What `transferline generate jets` makes, beside JetClass (arXiv:2202.03772) as far as it can "
    "be known without its files: a network that was trained on it keeps the means and variances "
    "of its inputs. A network trained on JetClass should find our jets familiar."
)


def validate_jets(
    out: Path,
    *,
    n: int,
    seed: int,
    jobs: int = 1,
    detector: str = "cms",
    cache: Path | None = None,
) -> tuple[Page, Written]:
    """Generate what is missing in the cache, compare, and write the page.

    Args:
        out: the Markdown page; pictures and numbers go to `validation/` beside it.
        n: jets of each class; variants have a part of that.
        seed: of all samples.
        jobs: processes that generate.
        detector: name of a card for jets, or path of a YAML card.
        cache: where samples are kept; by default `TRANSFERLINE_CACHE`.

    Raises:
        ConfigError: `n` is too small, or Pythia is missing.
    """
    if n < 20:
        raise ConfigError(f"--n {n}: at least 20 jets of each class are needed for a page.")
    page = make_page(gather(n, seed, detector=detector, jobs=jobs, cache=cache))
    return page, write_page(page, out)


def make_page(evidence: JetEvidence) -> Page:
    """Return the page of the evidence, not yet written."""
    words = ["transferline", "validate", "jets", "--n", str(evidence.n)]
    words += ["--seed", str(evidence.seed)]
    if evidence.detector != "cms":
        words += ["--detector", Path(evidence.detector).name]
    return Page(
        "jets",
        "Generated jets and JetClass",
        _INTRODUCTION,
        words,
        {"n": evidence.n, "seed": evidence.seed, "generator revision": REVISION},
        [topic.find(evidence) for topic in _TOPICS],
    )
