"""Confusion matrices, and the ROC of every class against the background: data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from transferline.evaluation.learning_curve import Line
from transferline.evaluation.records import Record
from transferline.evaluation.roc import Bools, Floats
from transferline.evaluation.tagging import class_of
from transferline.evaluation.tail import FEWEST
from transferline.reporting.drawing import Drawing
from transferline.reporting.plots import looks
from transferline.reporting.style import (
    SIMULATION,
    Label,
    Look,
    markers_needed,
    new_figure,
    new_grid,
    plot,
)

_OfLine = tuple[Line, Look, list[Record]]
_MATRICES = 6  # matrices of one task that somebody looks at
_EFFICIENCIES = (0.1, 0.5, 0.9, 0.99)
_BETWEEN = (0.05, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.95, 0.98, 0.995)
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
    one = one_event([record for _, _, records in of_line for record in records])
    curves = [
        (style, mean_roc(records, one))
        for line, style, records in of_line
        if largest in line.n_train
    ]
    points = working_points(of_line[0][2][0])
    caption = (
        f"Rejection of {background} by efficiency of each class, {largest} labelled events. A "
        f"curve ends where fewer than {FEWEST:g} background events of the test set pass, whose "
        "rejection tables give as a limit"
    )
    if points:
        caption += "; dotted: the efficiency at which they quote the class"
    first = Drawing("roc-classes", caption, lambda: roc_by_class(curves, background, label, points))
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


def one_event(records: Sequence[Record]) -> float:
    """Return the background efficiency of a single event: the least that any run has.

    Records do not hold the number of background events. Where no run lets a single one pass this
    is too large, and curves end early rather than late.
    """
    rocs: list[Any] = [record.extra["roc"] for record in records]
    found = [e for roc in rocs for name in roc if name != "signal" for e in roc[name] if e > 0.0]
    return float(min(found, default=0.0))


def mean_roc(records: Sequence[Record], one: float = 0.0) -> dict[str, Floats]:
    """Return `signal` and, per class, the mean over seeds of the background efficiency, `[k]`.

    Not a number where fewer than three events pass in one of them, each of the efficiency `one`.
    """
    curves: list[Any] = [record.extra["roc"] for record in records]
    tables = {name: np.array([curve[name] for curve in curves], float) for name in curves[0]}
    return {
        name: table.mean(0)
        if name == "signal"
        else np.where(_enough(table, one), table.mean(0), np.nan)
        for name, table in tables.items()
    }


def _enough(table: Floats, one: float) -> Bools:
    """Of background efficiencies `[seeds, k]`: which tables would quote as more than a limit."""
    least = table.min(axis=0)
    # Records round: three events may stand there as 2.999.
    found: Bools = (least > 0.0) & (least >= (FEWEST - 0.01) * one)
    return found


def working_points(record: Record) -> dict[str, float]:
    """Return class -> the signal efficiency at which its rejection is quoted."""
    quoted = {name: class_of(name) for name in record.metrics}
    return {of: float(name.split("_")[1]) / 100 for name, of in quoted.items() if of is not None}


@plot
def confusion_matrix(
    table: Floats, classes: Sequence[str], title: str, label: Label = SIMULATION
) -> Figure:
    """Draw which share of each true class, a row, is taken for which class, in per cent."""
    # Few classes have wide cells: the names above the matrix need its width.
    width, height = (max(least, 0.62 * len(classes)) for least in (5.2, 2.0))
    figure, [axes] = new_figure(label, size=(width + 3.2, height + 2.8))
    image = axes.imshow(100 * table, cmap="Blues", vmin=0.0, vmax=100.0, aspect="auto")
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
    bar = figure.colorbar(image, ax=axes)
    bar.set_label("Share of the true class (%)", fontsize="small")
    return figure


@plot
def roc_by_class(
    curves: Sequence[tuple[Look, Mapping[str, Floats]]],
    background: str,
    label: Label = SIMULATION,
    points: Mapping[str, float] | None = None,
) -> Figure:
    """Draw a panel per class: rejection of the background against the efficiency of the class.

    The axis is that of log(e / (1 - e)): classes are quoted at efficiencies up to 99.5 %. Dotted
    lines mark those `points`. A line ends where the background efficiency is not a number.
    """
    names = [name for name in curves[0][1] if name != "signal"]
    marked = markers_needed([style for style, _ in curves])
    figure, panels = new_grid(label, len(names))
    for axes, name in zip(panels, names, strict=True):
        if points and name in points:
            axes.axvline(points[name], color="#808080", linestyle=":", linewidth=1.2)
        for style, curve in curves:
            inside = curve["signal"] < 1.0
            rejection = 1.0 / curve[name][inside]
            axes.plot(
                curve["signal"][inside],
                rejection,
                color=style.colour,
                linestyle=style.dashes,
                # A single point is no line.
                marker=style.marker if marked or np.isfinite(rejection).sum() == 1 else "",
                markersize=5,
                markevery=2 if np.isfinite(rejection).sum() > 1 else 1,
                label=style.title,
            )
        axes.set_title(name, fontsize="small", loc="left", x=0.06, y=0.03)  # where no curve is
    panels[0].set_xscale("logit")
    panels[0].set_yscale("log")
    panels[0].set_ylim(bottom=1.0)
    panels[0].set_xlim(0.04, 0.997)
    panels[0].xaxis.set_major_locator(FixedLocator(_EFFICIENCIES))
    panels[0].xaxis.set_major_formatter(FuncFormatter(lambda e, _position: f"{e:g}"))
    panels[0].xaxis.set_minor_locator(FixedLocator(_BETWEEN))
    panels[0].xaxis.set_minor_formatter(NullFormatter())
    figure.supxlabel("Signal efficiency", fontsize="medium")
    figure.supylabel(f"{background} rejection (1 / efficiency)", fontsize="medium")
    handles, titles = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, titles, loc="outside upper center", ncols=3, fontsize="small", handlelength=2.6
    )
    return figure
