"""Head to head: the fine-tuned line of every pre-training in one panel, each with what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferline.evaluation.learning_curve import Line
from transferline.reporting.drawing import Drawing
from transferline.reporting.plots import metric_title, sizes_axis, value_axis
from transferline.reporting.ranking import ranked
from transferline.reporting.style import (
    SERIES,
    SIMULATION,
    Label,
    Look,
    look,
    new_figure,
    plot,
    told_apart,
    words,
)

_FEWEST = 4
"""Pre-trainings below which the learning curve shows them well enough."""
_REFERENCES = ("scratch", "trees")
_MARKERS = "os^Dv<PX*p>hd8H"  # no multiple of the number of colours
_REFERENCE_MARKERS = "DsX*"


def compared(lines: Sequence[Line]) -> list[Line]:
    """Return the fine-tuned lines whose pre-training tells its cost, if there are several."""
    found = [line for line in lines if line.mode == "finetuned" and _cost(line)]
    return found if len(found) >= _FEWEST else []


def head_to_head_drawings(lines: Sequence[Line], label: Label) -> list[Drawing]:
    """Return the figure, if several pre-trainings are to be compared, at several sizes."""
    if not compared(lines) or ranked(lines) is not None:
        return []
    caption = (
        "Fine-tuned networks of all pre-trainings. Bars: one standard deviation, seeds and test "
        "set together; lines stand a little apart. CPU hours are those of the pre-training, "
        "labels those that it was told."
    )
    return [Drawing("head-to-head", caption, lambda: head_to_head(lines, label))]


def _cost(line: Line) -> dict[str, float]:
    """Cost of the pre-training, from a Record; empty if it tells none."""
    found: Any = line.points[0].records[0].extra.get("pretraining")
    return found if isinstance(found, dict) and "passes" in found else {}


@plot
def head_to_head(lines: Sequence[Line], label: Label = SIMULATION) -> Figure:
    """Draw the metric of every fine-tuned pre-training against labels, beside scratch and trees."""
    own = compared(lines)
    references = [line for line in lines if line.mode in _REFERENCES]
    # As tall as its legend, whose entries have two lines.
    height = max(6.4, 0.6 + 0.42 * len(own) + 0.24 * len(references))
    figure, [axes] = new_figure(label, size=(9.6, height))
    for number, line in enumerate(references):
        style = replace(
            look(line.mode),
            colour="#000000",
            dashes=(":", "-.", "--")[number % 3],
            # Not all of them are there at every size: a single point must be known, too.
            marker=_REFERENCE_MARKERS[number % len(_REFERENCE_MARKERS)],
        )
        several = sum(other.mode == line.mode for other in references) > 1
        title = f"{style.title}, {words(line.pretraining)}" if several else style.title
        _bars(axes, line, style, title, 1.0)
    for number, line in enumerate(own):
        style = replace(
            told_apart(look("finetuned"), number),
            dashes="-" if number < len(SERIES) else "--",
            marker=_MARKERS[number % len(_MARKERS)],
        )
        _bars(axes, line, style, _title(line), 1.012 ** (number - len(own) / 2))
    axes.set_ylabel(metric_title(lines[0].metric))
    value_axis(axes, lines[0].metric)
    sizes_axis(axes, [n for line in (*references, *own) for n in line.n_train])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper",
                  fontsize="x-small", handlelength=3.2)  # fmt: skip
    return figure


def _title(line: Line) -> str:
    cost = _cost(line)
    title = f"{words(line.pretraining)}\n{cost['cpu_seconds'] / 3600:.2f} CPU h"
    return f"{title}, {cost['labels']:,.0f} labels" if cost["labels"] else title


def _bars(axes: Axes, line: Line, style: Look, title: str, shift: float) -> None:
    n = [point.n_train * shift for point in line.points]
    values = [point.value for point in line.points]
    errors = [point.error for point in line.points]
    axes.errorbar(n, values, errors, label=title, elinewidth=1.2, markersize=4.5, **style.line())
