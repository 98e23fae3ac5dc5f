"""How much attention each kind of object receives: in the source, before and after tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transferline.errors import DataError
from transferline.evaluation.records import Record
from transferline.evaluation.roc import Floats
from transferline.reporting.style import SIMULATION, Label, new_figure, plot

_STAGES = {
    "source": ("source, pre-trained", "#0072B2", "//"),
    "start": ("target, before tuning", "#56B4E9", ""),
    "end": ("target, after tuning", "#D55E00", ""),
}


def received(record: Record, stage: str) -> dict[str, float]:
    """Return kind -> attention that objects of the kind receive, averaged over blocks.

    1 where no kind is preferred; see `transferline.learning.attention`.

    Raises:
        DataError: the Record holds no attention of that stage.
    """
    table: Any = record.extra.get("attention")
    found = table.get(stage) if isinstance(table, dict) else None
    if not found:
        raise DataError(f"{record.key()}: holds no attention of the stage '{stage}'.")
    whole = np.mean([block[-1] for block in found["blocks"]], axis=0)
    return dict(zip(found["kinds"], whole.tolist(), strict=True))


def mean_received(records: Sequence[Record], stage: str) -> dict[str, tuple[float, float]]:
    """Return kind -> mean over the records and standard deviation between them."""
    tables = [received(record, stage) for record in records]
    return {kind: _summary([table[kind] for table in tables if kind in table])
            for kind in tables[0]}  # fmt: skip


def _summary(values: Sequence[float]) -> tuple[float, float]:
    array: Floats = np.array(values)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else 0.0


@plot
def attention(records: Sequence[Record], label: Label = SIMULATION) -> Figure:
    """Draw the attention that kinds of objects receive; bars of spread are those over seeds.

    Args:
        records: fine-tuned runs of one size and one pre-training.
        label: above the plot.
    """
    stages = {s: mean_received(records, s) for s in _STAGES if _has(records[0], s)}
    kinds = list(dict.fromkeys(kind for table in stages.values() for kind in table))
    figure, [axes] = new_figure(label, size=(7.2, 5.0))
    width = 0.8 / len(stages)
    for number, (stage, table) in enumerate(stages.items()):
        title, colour, hatch = _STAGES[stage]
        place = [kinds.index(kind) + (number - (len(stages) - 1) / 2) * width for kind in table]
        mean, spread = zip(*table.values(), strict=True)
        axes.bar(place, mean, width, yerr=spread, label=title, color=colour, hatch=hatch,
                 edgecolor="white", error_kw={"elinewidth": 1.2, "capsize": 3})  # fmt: skip
    axes.axhline(1.0, color="#404040", linewidth=1.0, linestyle=":")
    axes.set_xticks(range(len(kinds)), kinds)
    axes.tick_params(axis="x", which="both", length=0)
    axes.set_ylim(0.0, axes.get_ylim()[1] * 1.25)
    axes.set_ylabel("Attention received × objects in event")
    axes.legend(loc="upper left", ncols=1)
    return figure


def _has(record: Record, stage: str) -> bool:
    try:
        return bool(received(record, stage))
    except DataError:
        return False


def with_attention(records: Sequence[Record]) -> list[Record]:
    """Return those of the records that hold attention before and after."""
    return [record for record in records if _has(record, "start") and _has(record, "end")]
