"""A grid of panels, each with one for ratios below it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from transferline.validation.statistics import Floats

_PER_ROW = 3
_WIDTH, _HEIGHT = 4.6, 4.2  # inches of a panel with its ratios
_LINE = 0.4  # inches of a line above the panels


class RatioPanel(NamedTuple):
    """Two axes that share x: densities above, their ratios below."""

    above: Axes
    below: Axes

    def finish(self, title: str, edges: Floats) -> None:
        """Set limits and labels when all is drawn; ratios from 0.4 to 1.6."""
        self.above.set_xlim(edges[0], edges[-1])
        self.above.set_ylim(0.0, self.above.get_ylim()[1] * 1.05)
        self.above.yaxis.set_major_locator(MaxNLocator(4))
        self.above.yaxis.set_major_formatter(FuncFormatter(lambda y, _position: f"{y:g}"))
        self.above.set_ylabel("Density")
        self.below.axhline(1.0, color="#404040", linewidth=0.8)
        self.below.set_ylim(0.4, 1.6)
        self.below.set_yticks([0.5, 1.0, 1.5])
        self.below.set_ylabel("Ratio", loc="center")
        self.below.set_xlabel(title)


def ratio_panels(
    n: int, lines: int, kind: str = "Simulation"
) -> tuple[Figure, list[RatioPanel], Axes]:
    """Return a figure, its `n` panels row by row, and axes above them for the legend.

    Those have room for so many `lines`; the names that all plots have, of what `kind` the events
    are, stand beside it.
    """
    rows = -(-n // _PER_ROW)
    top, below = _LINE * max(lines, 2), _HEIGHT * rows
    figure = Figure(figsize=(_WIDTH * _PER_ROW, top + below), layout="constrained")
    FigureCanvasAgg(figure)
    head, body = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=[top, below])))
    places = np.ravel(np.asarray(body.subfigures(rows, _PER_ROW)))
    shape: dict[str, Any] = {"sharex": True, "height_ratios": [2.4, 1.0]}
    panels = [RatioPanel(*place.subplots(2, 1, **shape)) for place in places[:n]]
    axes = head.subplots()
    axes.set_axis_off()
    name = axes.annotate("transferline", (0, 0.5), xycoords="axes fraction", weight="bold",
                         fontsize="x-large", va="center")  # fmt: skip
    axes.annotate(kind, (1, 0), (9, 0), xycoords=name, textcoords="offset points", style="italic",
                  fontsize="large", va="bottom")  # fmt: skip
    return figure, panels, axes
