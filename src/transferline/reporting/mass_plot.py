"""The mass of background events in slices of their score: data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

from transferline.evaluation.learning_curve import Line
from transferline.reporting.drawing import Drawing
from transferline.reporting.plots import looks
from transferline.reporting.style import SERIES, SIMULATION, Label, new_grid, plot

_PANELS = 9  # lines that a figure shows, if no more reach the largest size
_TICKS = ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))  # of a decade
_CLOSEST = 0.13  # of the axis, from one tick to the next


def mass_drawings(lines: Sequence[Line], label: Label) -> list[Drawing]:
    """Return the drawing of the background's mass at the largest size of each line.

    All lines that reach the largest size are shown, those of fewer labelled events while there is
    room. Empty unless the Records have it (`transferline.evaluation.sculpting`).
    """
    found = [
        (point.n_train, style.title, record.extra["mass"])
        for line, style in zip(lines, looks(lines), strict=True)
        for point in line.points[-1:]
        for record in point.records[:1]
        if "mass" in record.extra
    ]
    if not found:
        return []
    found.sort(key=lambda one: -one[0])
    largest = sum(n == found[0][0] for n, _, _ in found)
    shown = max(largest, _PANELS)
    panels = [(f"{title}, {n}", mass) for n, title, mass in found[:shown]]
    caption = (
        "Mass of the two leading jets of background events in slices of the score, named by the "
        "share of the background above; one seed, largest number of labelled events of each line"
    )
    if left := [f"{title}, {n}" for n, title, _ in found[shown:]]:
        caption += f". For want of room not shown: {'; '.join(left)}"
    return [Drawing("mass-sculpting", caption, lambda: mass_in_slices(panels, label))]


def mass_ticks(low: float, high: float) -> list[float]:
    """Return round masses from `low` to `high`, as many as a logarithmic axis has room for.

    >>> mass_ticks(510.0, 2950.0)
    [700.0, 1000.0, 1500.0, 2000.0]
    >>> mass_ticks(60.0, 6000.0)
    [100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]
    """
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
    ticks: list[float] = []
    for steps in _TICKS:
        every = np.unique(np.round(np.outer(decades, steps), 6))
        ticks = [float(tick) for tick in every if low <= tick <= high]
        gaps = np.diff(np.log(ticks)) / np.log(high / low)
        if np.all(gaps >= _CLOSEST):
            break
    return ticks


@plot
def mass_in_slices(
    panels: Sequence[tuple[str, Mapping[str, Any] | Any]], label: Label = SIMULATION
) -> Figure:
    """Draw one panel per `(title, details)`, see `transferline.evaluation.sculpting`."""
    figure, axes = new_grid(label, len(panels))
    for panel, (title, found) in zip(axes, panels, strict=True):
        edges = np.array(found["edges"])
        for colour, part in zip(SERIES, found["slices"], strict=False):
            _slice(panel, edges, part, colour)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.xaxis.set_major_locator(FixedLocator(mass_ticks(edges[0], edges[-1])))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        panel.tick_params(axis="x", which="major", labelsize=11)
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(edges[0], edges[-1])
        panel.text(0.97, 0.96, title, transform=panel.transAxes, ha="right", va="top", fontsize=9)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high * (high / low) ** 0.15)
    # A panel lacks the slices that no event is in.
    entries = [
        pair for panel in axes for pair in zip(*panel.get_legend_handles_labels(), strict=True)
    ]
    shown = {str(part): handle for handle, part in entries}
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower center", ncols=4, fontsize=9
    )
    for panel in axes[-3:]:  # below which no other panel stands
        panel.set_xlabel("Mass of two jets [GeV]", fontsize=11)
    figure.supylabel("Background, each slice normalised to 1 [1/GeV]", fontsize=11)
    return figure


def _slice(axes: Axes, edges: Any, part: Mapping[str, Any], colour: Any) -> None:
    """Draw the density of one slice with the error of its simulation."""
    content, error = np.array(part["sum"]), np.array(part["error"])
    total, width = content.sum(), np.diff(edges)
    if total <= 0:
        return
    low, high = part["passing"]
    density = np.where(content > 0, content, np.nan) / total / width
    title = f"{100 * low:g} to {100 * high:g} %"
    axes.stairs(density, edges, color=colour, label=title, linewidth=1.4)
    middle = np.sqrt(edges[1:] * edges[:-1])
    # Down to no less than a tenth of the value, which a logarithmic axis can show.
    down = np.minimum(error / total / width, 0.9 * density)
    axes.errorbar(
        middle, density, (down, error / total / width), fmt="none", ecolor=colour, elinewidth=0.8
    )
