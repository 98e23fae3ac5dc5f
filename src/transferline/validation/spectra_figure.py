"""One panel for every quantity of several files, with ratios to the first file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from transferline.errors import shortened
from transferline.reporting.style import SERIES, plot
from transferline.validation.file_spectra import FileSpectra
from transferline.validation.histogram import Histogram
from transferline.validation.ratio_panels import RatioPanel, ratio_panels
from transferline.validation.spectra_quantities import QUANTITIES
from transferline.validation.statistics import Floats

MOST_FILES = len(SERIES)
"""More cannot be told apart."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LARGEST_ERROR = 0.5


@plot
def spectra_figure(files: Sequence[FileSpectra], kind: str = "Simulation") -> Figure:
    """Draw all quantities that the files have, up to `MOST_FILES` files, at unit area.

    Lines are the spectra; the band around one in the panels of ratios is the error of the first
    file. `kind` says what the events are.
    """
    names = [name for name in QUANTITIES if name in files[0].histograms]
    columns = min(2, len(files))
    figure, panels, rest = ratio_panels(len(names), 1 - len(files) // -columns, kind)
    for panel, name in zip(panels, names, strict=True):
        histograms = [file.histograms[name] for file in files]
        for number, histogram in enumerate(histograms):
            _draw_spectrum(panel.above, histogram, number)
        ratios = _draw_ratios(panel.below, histograms)
        panel.finish(QUANTITIES[name].title, histograms[0].edges)
        _scale_ratios(panel.below, ratios)
        if QUANTITIES[name].log:
            _count_scales(panel, histograms)
    _legend(rest, files, columns)
    return figure


def _draw_spectrum(axes: Axes, histogram: Histogram, number: int) -> None:
    height, error = histogram.density()
    order = 3.0 - 0.1 * number  # the first on top
    axes.stairs(height, histogram.edges, color=SERIES[number], linewidth=1.6, zorder=order)
    place = _places(histogram.edges, number)
    axes.errorbar(place, height, error, fmt="none", ecolor=SERIES[number], elinewidth=1.0)


def _places(edges: Floats, number: int) -> Floats:
    """Return points within the bins that do not hide those of another file."""
    shift = (0.0, -0.18, 0.18, -0.09, 0.09, -0.27, 0.27)[number]
    return np.asarray(edges[:-1] + (0.5 + shift) * np.diff(edges))


def _draw_ratios(axes: Axes, histograms: Sequence[Histogram]) -> Floats:
    """Draw all ratios to the first histogram that are known well enough, and return them."""
    known, known_error = histograms[0].density()
    safe = np.where(known > 0.0, known, np.nan)
    band = np.nan_to_num(known_error / safe)
    edges = histograms[0].edges
    axes.stairs(1.0 + band, edges, baseline=1.0 - band, fill=True, color="#404040", alpha=0.2)
    drawn = [np.ones(1)]
    for number, histogram in list(enumerate(histograms))[1:]:
        height, error = histogram.density()
        # A bin with next to nothing in either tells nothing.
        good = (height > 0.0) & (error < _LARGEST_ERROR * height) & (band < _LARGEST_ERROR)
        good &= np.isfinite(safe)
        ratio = (height / safe)[good]
        axes.errorbar(
            _places(edges, number)[good],
            ratio,
            (error / safe)[good],
            fmt=_MARKERS[number],
            color=SERIES[number],
            markersize=4,
            elinewidth=1.0,
        )
        drawn.append(ratio)
    return np.concatenate(drawn)


def _scale_ratios(axes: Axes, ratios: Floats) -> None:
    """Ratios from 0 to 2, or on a logarithmic axis that holds them all."""
    if ratios.max() <= 2.0:
        axes.set_ylim(0.0, 2.0)
        axes.set_yticks([0.5, 1.0, 1.5])
        return
    low, high = min(0.4, 0.7 * ratios.min()), 1.6 * ratios.max()
    ticks: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)
    if high > 50.0 * low:
        ticks, low, high = (0.1, 1.0, 10.0), min(low, 0.08), max(high, 12.0)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_yticks([tick for tick in ticks if low < tick < high])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _position: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _count_scales(panel: RatioPanel, histograms: Sequence[Histogram]) -> None:
    """Shares of counts reach over decades; counts are whole numbers."""
    heights = np.concatenate([histogram.density()[0] for histogram in histograms])
    some = heights[heights > 0.0]
    axes = panel.above
    axes.set_yscale("log")
    axes.set_ylabel("Share")
    axes.set_yticks([1e-4, 1e-3, 1e-2, 0.1, 1.0])
    axes.set_ylim(0.5 * some.min(initial=1.0), 2.0 * some.max(initial=0.1))
    last = int(histograms[0].edges[-1])
    panel.below.set_xticks(range(0, last + 1, 1 if last < 8 else 2))
    panel.below.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)


def _legend(axes: Axes, files: Sequence[FileSpectra], columns: int) -> None:
    entries = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker if number else "",
            label=shortened(file.file.name, 30),
        )
        for number, (file, colour, marker) in enumerate(zip(files, SERIES, _MARKERS, strict=False))
    ]
    title = "Ratios are to the first" if len(files) > 1 else None
    axes.legend(handles=entries, loc="center right", ncols=columns, title=title)
