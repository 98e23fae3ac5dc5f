"""Head to head: the fine-tuned line of every pre-training in one panel, each with what it cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferline.evaluation.learning_curve import Line
from transferline.reporting.drawing import Drawing
from transferline.reporting.plots import (
    apart,
    looks,
    metric_title,
    pretrainings,
    sizes_axis,
    value_axis,
)
from transferline.reporting.ranking import ranked
from transferline.reporting.style import (
    SIMULATION,
    Label,
    Look,
    look,
    new_figure,
    of_pretraining,
    plot,
    words,
)

_FEWEST = 4
"""Pre-trainings below which the learning curve shows them well enough."""
_REFERENCES = ("scratch", "trees")
_STEP, _WIDEST = 0.06, 0.5
"""Logarithm by which lines stand apart, and the most of that between two sizes that all take."""


def compared(lines: Sequence[Line]) -> list[Line]:
    """Return the fine-tuned lines whose pre-training tells its cost, if there are several."""
    found = [line for line in lines if line.mode == "finetuned" and _cost(line)]
    return found if len(found) >= _FEWEST else []


def head_to_head_drawings(lines: Sequence[Line], label: Label) -> list[Drawing]:
    """Return the figure, if several pre-trainings are to be compared, at several sizes."""
    if not compared(lines) or ranked(lines) is not None:
        return []
    caption = (
        "Fine-tuned networks of all pre-trainings, in the legend by their value at "
        f"{most_told(lines):,} labelled events. Bars: one standard deviation, seeds and test set "
        "together; the points of a grey band have one number of labelled events. CPU hours are "
        "those of the pre-training, labels those that it was told."
    )
    return [Drawing("head-to-head", caption, lambda: head_to_head(lines, label))]


def _cost(line: Line) -> dict[str, float]:
    """Cost of the pre-training, from a Record; empty if it tells none."""
    found: Any = line.points[0].records[0].extra.get("pretraining")
    return found if isinstance(found, dict) and "passes" in found else {}


def most_told(lines: Sequence[Line]) -> int:
    """Return the number of labelled events that most fine-tuned lines have, the largest such."""
    sizes = Counter(n for line in compared(lines) for n in line.n_train)
    return max(sizes, key=lambda n: (sizes[n], n))


def ordered(lines: Sequence[Line]) -> list[Line]:
    """Return what is drawn, the highest at `most_told` first; what has no point there is last."""
    n = most_told(lines)
    shown = [line for line in lines if line.mode in _REFERENCES] + compared(lines)
    there = [line for line in shown if n in line.n_train]
    there.sort(key=lambda line: -line.at(n).value)
    return there + [line for line in shown if n not in line.n_train]


@plot
def head_to_head(lines: Sequence[Line], label: Label = SIMULATION) -> Figure:
    """Draw the metric of every fine-tuned pre-training against labels, beside scratch and trees."""
    shown = ordered(lines)
    styles = _styles(lines)
    # As tall as its legend, whose entries of pre-trainings have two lines.
    height = max(6.4, 0.6 + sum(0.42 if line.mode == "finetuned" else 0.24 for line in shown))
    figure, [axes] = new_figure(label, size=(9.6, height))
    sizes = sorted({n for line in shown for n in line.n_train})
    shifts = apart(len(shown), sizes, _STEP, _WIDEST)
    for line, shift in zip(shown, shifts, strict=True):
        style = styles[line.mode, line.pretraining]
        title = _title(line) if line.mode == "finetuned" else style.title
        _bars(axes, line, style, title, shift)
    axes.set_ylabel(metric_title(lines[0].metric))
    value_axis(axes, lines[0].metric)
    sizes_axis(axes, sizes)
    half = shifts[-1] * math.sqrt(shifts[-1] / shifts[-2])  # and room for a marker
    for n in sizes:
        axes.axvspan(n / half, n * half, color="#000000", alpha=0.05, linewidth=0)
    axes.set_xlim(sizes[0] / half / 1.1, sizes[-1] * half * 1.1)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper",
                  fontsize="x-small", handlelength=3.2)  # fmt: skip
    return figure


def _styles(lines: Sequence[Line]) -> dict[tuple[str, str], Look]:
    """References as everywhere; pre-trainings in colours of their own, as all are of one mode."""
    found = {(line.mode, line.pretraining): style
             for line, style in zip(lines, looks(lines), strict=True)}  # fmt: skip
    names = pretrainings(lines)
    for line in compared(lines):
        style = of_pretraining(look("finetuned"), names.index(line.pretraining))
        found[line.mode, line.pretraining] = style
    return found


def _title(line: Line) -> str:
    cost = _cost(line)
    title = f"{words(line.pretraining)}\n{cost['cpu_seconds'] / 3600:.2f} CPU h"
    return f"{title}, {cost['labels']:,.0f} labels" if cost["labels"] else title


def _bars(axes: Axes, line: Line, style: Look, title: str, shift: float) -> None:
    n = [point.n_train * shift for point in line.points]
    values = [point.value for point in line.points]
    errors = [point.error for point in line.points]
    axes.errorbar(n, values, errors, label=title, elinewidth=1.2, markersize=4.5, **style.line())
