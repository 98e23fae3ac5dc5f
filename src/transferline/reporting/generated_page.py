"""The page of jets that were drawn beside real ones: a table, a picture of each quantity."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transferline.files import write_text
from transferline.reporting.drawing import Drawing
from transferline.reporting.page_parts import picture, shown
from transferline.reporting.table import Table

QUANTITIES = {
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
_NOTE = (
    "W1: Wasserstein distance from the real jets, in the unit of the quantity. Two halves of the "
    "real jets: what chance does, by the root of two wider than between two samples of all, as "
    "they are half as many jets. Tokens: real jets from what their own codes stand for, which is "
    "what a perfect generator of these codes would have."
)


def write_generated_page(
    facts: dict[str, Any], named: Sequence[Path], out: Path, drawings: Sequence[Drawing], page: Path
) -> Path:
    """Write `page` in Markdown and its pictures beside it.

    Args:
        facts: what `compare_generated` found.
        named: shards of real jets that were named; none where they are those of the pre-training.
        out: directory of the plots.
        drawings: one per quantity.
        page: where.

    Returns:
        `page`.
    """
    places = [shown(Path(facts["pretraining"])), *map(shown, named)]
    words = ["transferline", "tokenize", "sample", *places, "--out", shown(out)]
    words += ["-n", str(facts["generated_jets"]), "--seed", str(facts["seed"])]
    command = shlex.join([*words, "--markdown", shown(page)])
    rows = [
        (QUANTITIES[name], *(f"{numbers[key]:.4g}" for key in _COLUMNS))
        for name, numbers in facts["quantities"].items()
    ]
    table = Table("Real and generated jets", ("Quantity", *_COLUMNS.values()), tuple(rows), _NOTE)
    own = "" if named else " They are those of the pre-training, which has seen nearly all of them."
    parts = [
        f"# Generated jets\n\n{facts['generated_jets']:,} jets drawn, code after code, from what a "
        f"next-token pre-training has learnt, beside {facts['real_jets']:,} real ones: "
        f"{facts['sample']}.{own} Made by\n\n```\n{command}\n```\n\n",
        table.markdown(),
        *(picture(drawing, page.with_suffix("")) for drawing in drawings),
        f"Commit of the pre-training: {facts['commit'] or 'not recorded'}.\n",
    ]
    write_text(page, "".join(parts))
    return page
