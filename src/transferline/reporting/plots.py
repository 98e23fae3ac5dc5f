"""Learning curves and data-efficiency factors: data in, Figure out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from transferline.evaluation.comparison import paired_difference
from transferline.evaluation.data_efficiency import Factor
from transferline.evaluation.learning_curve import Line, scratch_for
from transferline.evaluation.tagging import class_of
from transferline.evaluation.tail import is_rejection
from transferline.reporting.style import (
    SIMULATION,
    Label,
    Look,
    legend_with_room,
    look,
    new_figure,
    of_pretraining,
    plot,
)

_METRIC_TITLES = {
    "auc": "AUC",
    "accuracy": "Accuracy",
    "auc_mixed": "AUC, held-out mixed samples",
    "sic_cut": "Significance improvement, score above 0.5",
    "sic_fpr1": "Significance improvement, 1 % of background",
    "n_eff_90": "Effective background events above the threshold",
    "sculpting": "Mass sculpting",
    "significance": "Expected significance",
    "asimov_significance": "Significance by the formula",
    "limit": "Expected limit on the signal strength",
    "jet_probe": "Linear probe of jets (AUC)",
    "jet_probe_start": "Linear probe of jets before the training (AUC)",
}
SHADES = 3
"""Pre-trainings of one mode that shades of its colour tell apart."""
_DASHES = {"finetuned": "-", "frozen": "--", "fixed": ":"}
_STEP, _WIDEST = 0.04, 0.12
N_TRAIN = "Labelled training events (all classes together)"


def metric_title(metric: str) -> str:
    """Return how a metric is written on an axis.

    >>> metric_title("rejection_30")
    'Background rejection at 30 % signal efficiency'
    >>> metric_title("rejection_99.5_Tbl")
    'Background rejection at 99.5 % efficiency of Tbl'
    >>> metric_title("limit[X(1000)]")
    'Expected limit on the signal strength, X(1000)'
    """
    metric, bracket, sample = metric.partition("[")
    if bracket:
        return f"{metric_title(metric)}, {sample.rstrip(']')}"
    if metric.startswith("unweighted_"):
        return f"{metric_title(metric.removeprefix('unweighted_'))}, by events"
    kind, _, point = metric.partition("_")
    if (of_class := class_of(metric)) is not None:
        share = point.partition("_")[0]
        return f"Background rejection at {share} % efficiency of {of_class}"
    if kind == "rejection":
        return f"Background rejection at {point} % signal efficiency"
    return _METRIC_TITLES.get(metric, metric.replace("_", " "))


def value_axis(axes: Axes, metric: str) -> None:
    """Give the y axis of a metric its scale, when all is drawn: logarithmic for large factors."""
    low, high = axes.get_ylim()
    if is_rejection(metric) and (low <= 0 or high > 10 * low):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def looks(lines: Sequence[Line], among: Sequence[Line] = ()) -> list[Look]:
    """Return one look per line; pre-training variants are named only where there are several.

    Colours tell the modes. Where all lines but the trees' are of one mode, or pre-trainings are
    too many for shades of its colour, they tell those, and dashes the modes.

    Args:
        lines: what is drawn.
        among: all lines of the task, where some are not drawn: a line looks the same in every
            figure.
    """
    every = among or lines
    names = pretrainings(every)
    modes = {line.mode for line in every} - {"trees"}
    alone = len(modes) == 1 and len({line.pretraining for line in every}) > 2
    scratch = [line.pretraining for line in every if line.mode == "scratch"]
    found = []
    for line in lines:
        style = look(line.mode, line.pretraining, names)
        if line.mode == "scratch" and not alone:
            # Of a plain colour where there is one, whatever the pre-trainings are.
            style = replace(look("scratch", line.pretraining, scratch), title=style.title)
        elif line.pretraining in names and (alone or len(names) > SHADES):
            dashes = None if alone else _DASHES.get(line.mode, "-.")
            style = of_pretraining(style, names.index(line.pretraining), dashes)
        found.append(style)
    return found


def pretrainings(lines: Sequence[Line]) -> list[str]:
    """Return the names of all pre-trainings in their order, by which colours are given."""
    return sorted({line.pretraining for line in lines} - {"none"})


@plot
def learning_curve(
    lines: Sequence[Line], label: Label = SIMULATION, among: Sequence[Line] = ()
) -> Figure:
    """Draw the metric against labelled events, and below it the paired difference to scratch.

    Rejections have a logarithmic axis and no differences.

    Bands are one standard deviation, seeds and test set together. Open markers have one seed, so
    that their spread is unknown. Lines stand a little apart. For `among` see `looks`.
    """
    factors = is_rejection(lines[0].metric)
    differences = [[] if factors else _differences(line, lines) for line in lines]
    heights = (2.2, 1.0) if any(differences) else (1.0,)
    figure, panels = new_figure(label, heights, (7.2, 7.0))
    shifts = apart(len(lines), [n for line in lines for n in line.n_train])
    together = zip(lines, looks(lines, among), differences, shifts, strict=True)
    for line, style, gains, shift in together:
        values = [(p.n_train * shift, p.value, p.error, len(p.values)) for p in line.points]
        band(panels[0], values, style, style.title)
        if gains:
            band(
                panels[1],
                [(n * shift, value, error, seeds) for n, value, error, seeds in gains],
                style,
                None,
            )
    panels[0].set_ylabel(metric_title(lines[0].metric))
    value_axis(panels[0], lines[0].metric)
    single = any(len(point.values) == 1 for line in lines for point in line.points)
    legend_with_room(panels[0], [one_seed()] if single else [])
    if len(panels) > 1:
        panels[1].axhline(0.0, color="#404040", linewidth=1.0)
        panels[1].set_ylabel("Difference\nto scratch")
    sizes_axis(panels[-1], [n for line in lines for n in line.n_train])
    return figure


def apart(
    number: int, sizes: Iterable[int], step: float = _STEP, widest: float = _WIDEST
) -> list[float]:
    """Return a factor per line for its sizes, so that points and bars do not hide one another.

    Args:
        number: of lines.
        sizes: of all of them.
        step: logarithm from one line to the next.
        widest: share of the logarithm between two sizes that all take at most.
    """
    known = sorted(set(sizes))
    closest = min((math.log(b / a) for a, b in pairwise(known)), default=1.0)
    step = min(step, widest * closest / number)
    return [math.exp(step * (i - (number - 1) / 2)) for i in range(number)]


def one_seed() -> Line2D:
    """Return the entry of a legend that says what an open marker is."""
    return Line2D(
        [],
        [],
        marker="o",
        linestyle="none",
        color="#404040",
        markerfacecolor="white",
        label="open: one seed",
    )


def _differences(line: Line, lines: Sequence[Line]) -> list[tuple[int, float, float, int]]:
    scratch = scratch_for(line, lines)
    if scratch is None or line is scratch:
        return []
    return [
        (d.n_train, d.measurement.value, d.measurement.error, len(d.seeds))
        for d in paired_difference(line, scratch)
    ]


def band(
    axes: Axes, points: Sequence[tuple[float, float, float, int]], style: Look, title: str | None
) -> None:
    """Draw points `(size, value, error, seeds)` with their band; open markers have one seed."""
    n, value, error, seeds = (np.array(column) for column in zip(*points, strict=True))
    axes.fill_between(n, value - error, value + error, color=style.colour, alpha=0.18, linewidth=0)
    axes.errorbar(n, value, error, label=title, elinewidth=1.4, **style.line())
    open_markers(axes, n[seeds == 1], value[seeds == 1], style)


def open_markers(axes: Axes, n: Sequence[float], value: Sequence[float], style: Look) -> None:
    """Draw points of a single seed over those of a line, see `one_seed`."""
    if len(n):
        axes.plot(
            n,
            value,
            marker=style.marker,
            linestyle="none",
            color=style.colour,
            markerfacecolor="white",
            zorder=5,
        )


def sizes_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """Give the x axis the sizes of a study, in logarithmic steps."""
    known = sorted(set(sizes))
    axes.set_xscale("log")
    axes.set_xlabel(N_TRAIN)
    axes.set_xlim(known[0] / 1.35, known[-1] * 1.35)
    if len(known) <= 9:
        axes.xaxis.set_major_locator(FixedLocator(known))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _position: short_count(n)))


def short_count(n: float) -> str:
    """Return a count as on an axis.

    >>> short_count(300), short_count(2500), short_count(100_000), short_count(1e6)
    ('300', '2.5k', '100k', '1M')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:g}{letter}"
    return f"{n:g}"


@plot
def data_efficiency_factor(
    factors: Mapping[str, tuple[Look, Sequence[Factor]]], label: Label
) -> Figure:
    """Draw the data-efficiency factor against the labels of the transferred model.

    Arrows mark bounds: scratch does not reach the metric on its curve, or exceeds it from the
    start. Bars without a point: scratch has no size in between.
    """
    figure, [axes] = new_figure(label)
    for style, points in factors.values():
        _factors(axes, style, points)
    sizes = [f.n_train for _, points in factors.values() for f in points]
    axes.axhline(1.0, color="#404040", linewidth=1.0)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _position: f"{y:g}"))
    axes.set_ylabel("Data-efficiency factor")
    sizes_axis(axes, sizes)
    legend_with_room(axes)
    return figure


def _factors(axes: Axes, style: Look, every: Sequence[Factor]) -> None:
    for factor in every:
        if factor.between is not None:
            axes.plot([factor.n_train] * 2, factor.between, color=style.colour, linewidth=1.4)
    points = [factor for factor in every if factor.between is None]
    n = [f.n_train for f in points]
    value = np.array([f.value for f in points])
    low = np.array([f.low if f.limit == "" and f.low > 0 else f.value for f in points])
    high = np.array(
        [f.high if f.limit == "" and math.isfinite(f.high) else f.value for f in points]
    )
    bars = np.abs(np.array([value - low, high - value]))
    axes.errorbar(n, value, bars, label=style.title, elinewidth=1.4, **style.line())
    arrow: dict[str, Any] = {"arrowstyle": "<|-", "color": style.colour, "linewidth": 1.4}
    for factor in points:
        up = factor.limit == "at least" or (not factor.limit and math.isinf(factor.high))
        down = factor.limit == "at most" or (not factor.limit and factor.low == 0.0)
        for wanted, shift in ((up, 26), (down, -26)):
            if wanted:
                axes.annotate(
                    "",
                    (factor.n_train, factor.value),
                    (0, shift),
                    textcoords="offset points",
                    arrowprops=arrow,
                )
