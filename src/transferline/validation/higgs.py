"""The page about the HIGGS benchmark: `transferline validate higgs`."""

from __future__ import annotations

from pathlib import Path

from transferline.errors import ConfigError
from transferline.generate.blocks import REVISION
from transferline.validation import higgs_comparison, higgs_trees, higgs_units, higgs_widths
from transferline.validation.higgs_comparison import HiggsEvidence
from transferline.validation.higgs_energy import energy_shift
from transferline.validation.higgs_events import PROCESSES, decays, generate
from transferline.validation.higgs_file import KINDS, HiggsFile
from transferline.validation.page import Page, Written, write_page

_INTRODUCTION = (
    "The HIGGS benchmark (P. Baldi, P. Sadowski, D. Whiteson, arXiv:1402.4735) holds the cascade "
    "gg -> H0 -> H+- W-+ -> h W W -> bb qq l nu with masses of 425, 325 and 125 GeV, and ttbar. "
    "The same two processes are what "
    f"`transferline generate events` makes of `{PROCESSES['signal']}` and "
    f"`{PROCESSES['background']}`. Here the two are laid side by side, with the seven masses of "
    "that paper. The file is that of ROOT's tutorials, 10,000 events of each class."
)

_TOPICS = (higgs_units, higgs_comparison, higgs_widths, higgs_trees)


def validate_higgs(
    file: Path, out: Path, *, n: int, seed: int, jobs: int = 1, cache: Path | None = None
) -> tuple[Page, Written]:
    """Generate what is missing in the cache, compare with the benchmark, and write the page.

    Args:
        file: `Higgs_data.root`, with the trees `sig_tree` and `bkg_tree`.
        out: the Markdown page; picture and numbers go to `validation/` beside it.
        n: events to generate of each class; about a sixth of the signal passes the cuts.
        seed: of all samples.
        jobs: processes that generate.
        cache: where samples are kept; by default `TRANSFERLINE_CACHE`.

    Raises:
        ConfigError: `n` is too small, or Pythia is missing.
        DataError: the file is missing or is not the benchmark.
    """
    if n < 400:
        raise ConfigError(f"--n {n}: at least 400 events of each class are needed for a page.")
    benchmark = HiggsFile(file)
    for kind in KINDS:
        benchmark.columns(kind)  # before anything is generated
    page = make_page(gather(benchmark, n, seed, jobs=jobs, cache=cache), n)
    return page, write_page(page, out)


def gather(
    file: HiggsFile, n: int, seed: int, *, jobs: int = 1, cache: Path | None = None
) -> HiggsEvidence:
    """Generate and reconstruct our events, and the hard processes at both energies."""
    files = generate(n, seed, jobs=jobs, cache=cache)
    own = {kind: decays(files[kind]) for kind in KINDS}
    loose = {kind: decays(files[kind], "loose") for kind in KINDS}
    probes = min(4000, n // 2)
    shift = {kind: energy_shift(kind, seed, probes) for kind in KINDS}
    return HiggsEvidence(file, own, loose, shift, seed)


def make_page(evidence: HiggsEvidence, n: int) -> Page:
    """Return the page, not yet written."""
    words = ["transferline", "validate", "higgs", evidence.file.path.name]
    return Page(
        "higgs",
        "The HIGGS benchmark and our events",
        _INTRODUCTION,
        [*words, "--n", str(n), "--seed", str(evidence.seed)],
        {"n": n, "seed": evidence.seed, "generator revision": REVISION},
        [topic.find(evidence) for topic in _TOPICS],
    )
