"""How much attention each kind of object receives: in the source, before and after tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transferline.errors import DataError
from transferline.evaluation.records import Record
from transferline.evaluation.roc import Floats
from transferline.reporting.style import SIMULATION, Label, new_figure, plot, widen_upwards

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
    """Return kind -> mean over the records and standard deviation between them.

    That is 0 for a single network, of which the pre-trained one of all seeds is one.
    """
    tables = [received(record, stage) for record in records]
    return {kind: _summary([table[kind] for table in tables if kind in table])
            for kind in tables[0]}  # fmt: skip


def _summary(values: Sequence[float]) -> tuple[float, float]:
    array: Floats = np.array(values)
    return float(array.mean()), float(array.std(ddof=1)) if len(set(values)) > 1 else 0.0


@plot
def attention(records: Sequence[Record], label: Label = SIMULATION) -> Figure:
    """Draw the attention that kinds of objects receive, as bars up or down from 1, no preference.

    Bars of spread are those over seeds; one network has none.

    Args:
        records: fine-tuned runs of one size and one pre-training.
        label: above the plot.
    """
    stages = {s: mean_received(records, s) for s in _STAGES if _has(records[0], s)}
    kinds = list(dict.fromkeys(kind for table in stages.values() for kind in table))
    figure, [axes] = new_figure(label, size=(7.2, 5.0))
    width = 0.8 / len(stages)
    absent: dict[str, list[float]] = {}
    for number, (stage, table) in enumerate(stages.items()):
        title, colour, hatch = _STAGES[stage]
        place = {kind: i + (number - (len(stages) - 1) / 2) * width for i, kind in enumerate(kinds)}
        mean, spread = (np.array(column) for column in zip(*table.values(), strict=True))
        there = [place[kind] for kind in table]
        axes.bar(there, mean - 1.0, width, bottom=1.0, label=title, color=colour, hatch=hatch,
                 edgecolor="white")  # fmt: skip
        known = spread > 0.0
        axes.errorbar(np.array(there)[known], mean[known], spread[known], fmt="none",
                      ecolor="#000000", elinewidth=1.2, capsize=3)  # fmt: skip
        for kind in place.keys() - table.keys():
            sample = title.partition(",")[0]
            absent.setdefault(f" no {kind} in {sample}", []).append(place[kind])
    for text, places in sorted(absent.items()):
        axes.text(float(np.mean(places)), 1.0, text, rotation=90, fontsize="x-small",
                  ha="center", va="bottom", color="#404040")  # fmt: skip
    axes.axhline(1.0, color="#404040", linewidth=1.0)
    axes.set_xticks(range(len(kinds)), kinds)
    axes.tick_params(axis="x", which="both", length=0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, 1.0 + 0.2 * (1.0 - low)))
    widen_upwards(axes, 0.3)
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
