"""Weak supervision: significance improvement against the signal mixed in, over several tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from transferline.errors import DataError
from transferline.evaluation.measurement import Measurement, format_measurement
from transferline.evaluation.records import Record
from transferline.reporting.drawing import Drawing
from transferline.reporting.plots import metric_title, one_seed, open_markers
from transferline.reporting.result_tables import alone_among
from transferline.reporting.style import SIMULATION, Label, Look, legend_with_room, look, new_figure
from transferline.reporting.style import plot as styled_plot
from transferline.reporting.table import Table

_IMPROVEMENTS = ("sic_cut", "sic_fpr1")
_METRICS = (*_IMPROVEMENTS, "auc", "auc_mixed")

Curve = Mapping[int, Sequence[Record]]
"""Signal events -> the runs of all seeds."""
Curves = Mapping[tuple[str, str], Curve]
"""Mode and pre-training -> the runs by the signal mixed in."""


def weak_curves(records: Sequence[Record]) -> dict[int, Curves]:
    """Return number of labelled events -> the curves of all lines, the largest first.

    Only runs of the task `weak_supervision` are taken.

    Raises:
        DataError: two tasks have the same number of signal events, and would be one point.
    """
    weak = [r for r in records if isinstance(r.extra.get("weak"), dict)]
    _check_tasks(weak)
    sizes = sorted({r.n_train for r in weak}, reverse=True)
    return {size: _curves([r for r in weak if r.n_train == size]) for size in sizes}


def _curves(weak: Sequence[Record]) -> Curves:
    return {
        line: {n: list(own) for n, own in groupby(group, key=_signal)}
        for line, group in groupby(sorted(weak, key=_place), key=_line)
    }


def _check_tasks(records: Sequence[Record]) -> None:
    tasks: dict[int, str] = {}
    for record in records:
        other = tasks.setdefault(_signal(record), record.task)
        if other != record.task:
            raise DataError(
                f"the tasks '{other}' and '{record.task}' both mix {_signal(record)} signal events "
                "into a sample: their runs are points of different curves."
            )


def _line(record: Record) -> tuple[str, str]:
    return record.mode, record.pretraining


def _signal(record: Record) -> int:
    weak: Any = record.extra["weak"]
    return int(weak["n_signal"])


def _place(record: Record) -> tuple[str, str, int, int]:
    return (*_line(record), _signal(record), record.seed)


def over_seeds(records: Sequence[Record], metric: str) -> Measurement:
    """Return the mean over seeds with its error, as in every table: seeds and the test set."""
    values = np.array([r.metrics[metric].value for r in records])
    if not np.isfinite(values).all():
        return Measurement(math.inf, math.inf)
    test = float(np.mean([r.metrics[metric].error for r in records]))
    spread = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Measurement(float(values.mean()), math.hypot(test, spread))


def weak_drawing(by_size: Mapping[int, Curves], study: str) -> Drawing:
    """Return the figure of both definitions, of the largest of `weak_curves`."""
    largest = max(by_size)
    caption = (
        "Significance improvement against the signal events in one of two mixed samples, true "
        f"classes of the test events, at {largest} labelled events. Bars: one standard deviation "
        "of the mean, seeds and test set together."
    )
    left = [f"{name}, {n}" for n in by_size if n != largest for name in _names(by_size[n])]
    if left:
        caption += f" Not shown, see the tables: {'; '.join(left)}."
    curves = by_size[largest]
    return Drawing("weak-supervision", caption, lambda: improvement(curves, Label(study)))


def _names(curves: Curves) -> list[str]:
    variants = list(dict.fromkeys(pretraining for _, pretraining in curves))
    return [look(*line, variants).title for line in curves]


@styled_plot
def improvement(curves: Curves, label: Label = SIMULATION) -> Figure:
    """Draw both significance improvements of every line against the signal mixed in."""
    figure, panels = new_figure(label, heights=(1.0, 1.0), size=(7.2, 8.0))
    sizes = sorted({n for curve in curves.values() for n in curve})
    variants = list(dict.fromkeys(pretraining for _, pretraining in curves))
    for axes, metric in zip(panels, _IMPROVEMENTS, strict=True):
        for number, (line, curve) in enumerate(curves.items()):
            shift = 0.06 * (number - (len(curves) - 1) / 2)
            places = {n: sizes.index(n) + shift for n in curve}
            _points(axes, curve, metric, places, look(*line, variants))
        axes.axhline(1.0, color="#404040", linewidth=1.0, linestyle=":")
        axes.set_ylabel(_SHORT[metric])
        axes.set_ylim(bottom=0)
    single = any(len(records) == 1 for curve in curves.values() for records in curve.values())
    legend_with_room(panels[0], [one_seed()] if single else [])
    panels[-1].set_xticks(range(len(sizes)), [f"{n:,}" for n in sizes])
    panels[-1].xaxis.set_minor_locator(NullLocator())
    panels[-1].set_xlabel("Signal events in the second sample")
    return figure


_SHORT = {
    "sic_cut": "Significance improvement\nscore above 0.5",
    "sic_fpr1": "Significance improvement\n1 % of background",
}


def _points(
    axes: Axes, curve: Curve, metric: str, places: Mapping[int, float], style: Look
) -> None:
    found = {n: over_seeds(records, metric) for n, records in curve.items()}
    found = {n: value for n, value in found.items() if math.isfinite(value.value)}
    axes.errorbar(
        [places[n] for n in found],
        [value.value for value in found.values()],
        [value.error for value in found.values()],
        label=style.title,
        capsize=3,
        **style.line(),
    )
    single = [n for n in found if len(curve[n]) == 1]
    open_markers(axes, [places[n] for n in single], [found[n].value for n in single], style)


def weak_tables(by_size: Mapping[int, Curves]) -> list[Table]:
    """Return a table per number of labelled events, a row per line and number of signal events."""
    return [_table(n, curves) for n, curves in by_size.items()]


def _table(n_train: int, curves: Curves) -> Table:
    rows = [
        (name, f"{n:,}", str(len(records)), *_cells(records))
        for name, curve in zip(_names(curves), curves.values(), strict=True)
        for n, records in curve.items()
    ]
    header = ("Mode", "Signal events", "Seeds", *map(metric_title, _METRICS), "AUC over seeds")
    note = (
        "Without signal the AUC on held-out mixed samples is one half within its error; on true "
        "classes the score is then an arbitrary function, and its spread over seeds says so."
    ) + alone_among(len(records) for curve in curves.values() for records in curve.values())
    return Table(f"Weak supervision at {n_train} labelled events", header, tuple(rows), note)


def _cells(records: Sequence[Record]) -> tuple[str, ...]:
    auc = [record.metrics["auc"].value for record in records]
    found = [over_seeds(records, metric) for metric in _METRICS]
    values = (format_measurement(value.value, value.error) for value in found)
    return (*values, f"{min(auc):.3f} to {max(auc):.3f}")
