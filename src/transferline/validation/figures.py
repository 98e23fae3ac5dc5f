"""The two kinds of figures on a validation page: distributions, and numbers by pT or eta."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from transferline.evaluation.measurement import Measurement
from transferline.reporting.style import SERIES, Label, legend_with_room, new_figure, plot
from transferline.validation.statistics import Floats

_DARKER = 0.45  # of the colour of the points, what is expected of them
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Spectrum:
    """Values of one sample for a histogram."""

    title: str
    values: Floats
    weight: Floats | None = None


@plot
def distributions(
    spectra: Sequence[Spectrum],
    edges: Floats,
    x_label: str,
    label: Label,
    *,
    y_log: bool = False,
    x_log: bool = False,
    line: float | None = None,
) -> Figure:
    """Draw histograms with their statistical errors; `line` marks a known value.

    They have unit area; with `x_log`, and for counts, the bins add up to one, what lies outside
    the edges included in the first and last bin.
    """
    figure, [axes] = new_figure(label)
    per_bin = x_log or _is_count(edges)
    for spectrum, colour in zip(spectra, SERIES, strict=False):
        _histogram(axes, spectrum, edges, colour, per_bin)
    if line is not None:
        axes.axvline(line, color="#404040", linewidth=1.0, linestyle=":")
    axes.set_xlim(edges[0], edges[-1])
    if y_log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0.0)
    if x_log:
        _log_axis(axes)
    axes.set_xlabel(x_label)
    axes.set_ylabel("Share per bin" if per_bin else "Density")
    legend_with_room(axes)
    return figure


def _is_count(edges: Floats) -> bool:
    return bool(np.allclose(np.diff(edges), 1.0) and edges[0] % 1 == 0.5)


def _log_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _position: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _histogram(axes: Axes, spectrum: Spectrum, edges: Floats, colour: str, per_bin: bool) -> None:
    values = np.asarray(spectrum.values, float)
    weight = np.ones(len(values)) if spectrum.weight is None else spectrum.weight
    inside = np.clip(values, edges[0], edges[-1]) if per_bin else values
    content, _ = np.histogram(inside, edges, weights=weight)
    squares, _ = np.histogram(inside, edges, weights=weight**2)
    scale = 1.0 / (max(weight.sum(), 1e-12) * (1.0 if per_bin else np.diff(edges)))
    height, error = content * scale, np.sqrt(squares) * scale
    axes.stairs(height, edges, color=colour, linewidth=1.8, label=spectrum.title)
    centre = 0.5 * (edges[:-1] + edges[1:])
    axes.errorbar(centre, height, error, fmt="none", ecolor=colour, elinewidth=1.2)


@dataclass(frozen=True)
class Profile:
    """A number in bins of something, and what is expected of it (None where nothing is)."""

    title: str
    edges: Sequence[float]
    measured: Sequence[Measurement]
    expected: Sequence[float] | None = None


@plot
def profiles(
    rows: Sequence[Profile],
    x_label: str,
    y_label: str,
    label: Label,
    *,
    y_log: bool = False,
    x_log: bool = False,
) -> Figure:
    """Draw measured numbers as points with errors and the expected ones as dashed lines.

    Those are darker than the points, as their bars across a bin would be taken for one another.
    """
    figure, [axes] = new_figure(label)
    for row, colour, marker in zip(rows, SERIES, _MARKERS, strict=False):
        _points(axes, row, colour, marker)
    if y_log:
        axes.set_yscale("log")
    if x_log:
        _log_axis(axes)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    expected = any(row.expected is not None for row in rows)
    if expected:
        axes.plot([], [], color="#000000", linestyle="--", label="dashed: expected")
    legend_with_room(axes)
    return figure


def _points(axes: Axes, row: Profile, colour: str, marker: str) -> None:
    edges = np.asarray(row.edges, float)
    centre, half = 0.5 * (edges[:-1] + edges[1:]), 0.5 * np.diff(edges)
    good = [i for i, m in enumerate(row.measured) if math.isfinite(m.value + m.error)]
    axes.errorbar(
        centre[good],
        [row.measured[i].value for i in good],
        [row.measured[i].error for i in good],
        half[good],
        fmt=marker,
        color=colour,
        elinewidth=1.0,
        label=row.title,
    )
    if row.expected is not None:
        darker = tuple(_DARKER * part for part in to_rgb(colour))
        axes.stairs(row.expected, edges, baseline=None, color=darker, linewidth=1.8,
                    linestyle=(0, (3.0, 1.5)))  # fmt: skip
