"""The page of jets that were drawn beside real ones: a table, a picture of each quantity."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transferline.files import write_text
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import save
from transferline.reporting.table import Table

ROWS = {
    "pt": "log10(constituent pT / GeV)",
    "eta": "Constituent eta from the jet",
    "phi": "Constituent phi from the jet (rad)",
    "multiplicity": "Constituents",
    "mass": "Jet mass of massless constituents (GeV)",
}
_COLUMNS = {
    "mean": "Mean, real",
    "mean_generated": "Mean, generated",
    "spread": "Spread, real",
    "spread_generated": "Spread, generated",
    "w1_halves": "W1 of two halves",
    "w1_tokens": "W1 of tokens",
    "w1_generated": "W1 of generated",
}


def write_generated_page(
    facts: dict[str, Any], data: Sequence[str], drawings: Sequence[Drawing], page: Path
) -> Path:
    """Write `page` in Markdown and its pictures beside it.

    Args:
        facts: what `compare_generated` found.
        data: shards of real jets, as they were named.
        drawings: one per quantity.
        page: where.

    Returns:
        `page`.
    """
    words = ["transferline", "tokenize", "sample", *map(_typed, [facts["pretraining"], *data])]
    words += ["-n", str(facts["generated_jets"]), "--seed", str(facts["seed"])]
    command = shlex.join([*words, "--out", "generated", "--markdown", _typed(str(page))])
    pictures = []
    for drawing in drawings:
        [picture] = save(drawing.make(), page.with_name(f"{page.stem}-{drawing.stem}"), ["png"])
        pictures.append(f"![{drawing.caption}]({picture.name})\n")
    rows = [
        (ROWS[name], *(f"{numbers[key]:.4g}" for key in _COLUMNS))
        for name, numbers in facts["quantities"].items()
    ]
    table = Table("Real and generated jets", ("Quantity", *_COLUMNS.values()), tuple(rows), _NOTE)
    parts = [
        f"# Generated jets\n\n{facts['generated_jets']:,} jets drawn, code after code, from what a "
        f"next-token pre-training has learnt, beside {facts['real_jets']:,} real ones of the "
        f"samples {facts['sample']}. Made by\n\n```\n{command}\n```\n",
        table.markdown(),
        *pictures,
        f"Pre-training at commit `{facts['commit'][:12]}`.\n",
    ]
    write_text(page, "\n".join(parts))
    return page


def _typed(path: str) -> str:
    """A page never names a machine."""
    return Path(path).name if Path(path).is_absolute() else path


_NOTE = (
    "W1: Wasserstein distance from the real jets, in the unit of the quantity. Two halves of the "
    "real jets: what chance does. Tokens: real jets from what their own codes stand for, which no "
    "generator of such codes can fall below."
)
