"""Confusion matrices, and the ROC of every class against the background: data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transferline.evaluation.learning_curve import Line
from transferline.evaluation.records import Record
from transferline.evaluation.roc import Floats
from transferline.reporting.drawing import Drawing
from transferline.reporting.plots import looks
from transferline.reporting.style import SIMULATION, Label, Look, new_figure, new_grid, plot

_OfLine = tuple[Line, Look, list[Record]]
_MATRICES = 6  # matrices of one task that somebody looks at
_DARK = 55  # per cent above which the number in a cell is written in white


def tagging_drawings(lines: Sequence[Line], label: Label) -> list[Drawing]:
    """Return ROC curves at the largest size, of the lines that reach it, and confusion matrices.

    Those are at the largest size of each line; of many lines, only of the best of each mode. Empty
    unless the Records have them (`class_details`).
    """
    of_line = [
        (line, style, found)
        for line, style in zip(lines, looks(lines), strict=True)
        if (found := _with_classes(line.points[-1].records))
    ]
    if not of_line:
        return []
    background = str(of_line[0][2][0].extra["background"])
    largest = max(line.n_train[-1] for line, _, _ in of_line)
    curves = [
        (style, mean_roc(records)) for line, style, records in of_line if largest in line.n_train
    ]
    caption = f"Rejection of {background} by efficiency of each class, {largest} labelled events"
    first = Drawing("roc-classes", caption, lambda: roc_by_class(curves, background, label))
    shown = of_line if len(of_line) <= _MATRICES else _best_of_modes(of_line)
    return [first, *(_confusion(*item, label) for item in shown)]


def _best_of_modes(of_line: Sequence[_OfLine]) -> list[_OfLine]:
    """The most accurate line of each mode, among those that reach its largest size."""

    def rank(item: _OfLine) -> tuple[int, float]:
        return item[0].n_train[-1], float(np.trace(mean_confusion(item[2])))

    modes = dict.fromkeys(line.mode for line, _, _ in of_line)
    return [max((item for item in of_line if item[0].mode == mode), key=rank) for mode in modes]


def _confusion(line: Line, style: Look, records: Sequence[Record], label: Label) -> Drawing:
    caption = f"Confusion matrix: {style.title}, {line.n_train[-1]} labelled events"
    stem = f"confusion-{line.mode}-{line.pretraining}"
    extra: dict[str, Any] = records[0].extra
    classes, table = [str(name) for name in extra["classes"]], mean_confusion(records)
    return Drawing(stem, caption, lambda: confusion_matrix(table, classes, style.title, label))


def _with_classes(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if "confusion" in record.extra]


def mean_confusion(records: Sequence[Record]) -> Floats:
    """Return the mean over seeds of the shares `[c, c]`, rows the true classes."""
    tables: Any = [record.extra["confusion"] for record in records]
    mean: Floats = np.mean(np.array(tables, dtype=np.float64), axis=0)
    return mean


def mean_roc(records: Sequence[Record]) -> dict[str, Floats]:
    """Return `signal` and, per class, the mean over seeds of the background efficiency, `[k]`."""
    curves: list[Any] = [record.extra["roc"] for record in records]
    return {
        name: np.mean([np.array(curve[name], dtype=np.float64) for curve in curves], axis=0)
        for name in curves[0]
    }


@plot
def confusion_matrix(
    table: Floats, classes: Sequence[str], title: str, label: Label = SIMULATION
) -> Figure:
    """Draw which share of each true class, a row, is taken for which class, in per cent."""
    size = 3.0 + 0.62 * len(classes)
    figure, [axes] = new_figure(label, size=(size + 0.6, size))
    image = axes.imshow(100 * table, cmap="Blues", vmin=0.0, vmax=100.0)
    for (row, column), share in np.ndenumerate(100 * table):
        colour = "white" if share > _DARK else "black"
        text = f"{share:.0f}" if share >= 0.95 else f"{share:.1f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize="x-small")
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, classes)
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    axes.set_xlabel(f"Taken for ({title})")
    axes.set_ylabel("True class")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("Share of the true class (%)")
    return figure


@plot
def roc_by_class(
    curves: Sequence[tuple[Look, Mapping[str, Floats]]],
    background: str,
    label: Label = SIMULATION,
) -> Figure:
    """Draw a panel per class: rejection of the background against the efficiency of the class.

    A line ends where no background event of the test set passes.
    """
    names = [name for name in curves[0][1] if name != "signal"]
    figure, panels = new_grid(label, len(names))
    for axes, name in zip(panels, names, strict=True):
        for style, curve in curves:
            seen = curve[name] > 0.0
            axes.plot(
                curve["signal"][seen],
                1.0 / curve[name][seen],
                color=style.colour,
                linestyle=style.dashes,
                label=style.title,
            )
        axes.set_title(name, fontsize="small", loc="left", x=0.06, y=0.03)  # where no curve is
    panels[0].set_yscale("log")
    panels[0].set_ylim(bottom=1.0)
    panels[0].set_xlim(0.0, 1.0)
    figure.supxlabel("Signal efficiency", fontsize="medium")
    figure.supylabel(f"{background} rejection (1 / efficiency)", fontsize="medium")
    handles, titles = panels[0].get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside upper center", ncols=3, fontsize="small")
    return figure
