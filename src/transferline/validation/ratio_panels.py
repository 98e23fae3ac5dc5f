"""A grid of panels, each with one for ratios below it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from transferline.validation.statistics import Floats

_PER_ROW = 3


class RatioPanel(NamedTuple):
    """Two axes that share x: densities above, their ratios below."""

    above: Axes
    below: Axes

    def finish(self, title: str, edges: Floats) -> None:
        """Set limits and labels when all is drawn; ratios from 0.4 to 1.6."""
        self.above.set_xlim(edges[0], edges[-1])
        self.above.set_ylim(0.0, self.above.get_ylim()[1] * 1.05)
        self.above.set_yticks([])
        self.above.set_ylabel("Density")
        self.below.axhline(1.0, color="#404040", linewidth=0.8)
        self.below.set_ylim(0.4, 1.6)
        self.below.set_yticks([0.5, 1.0, 1.5])
        self.below.set_ylabel("Ratio", loc="center")
        self.below.set_xlabel(title)


def ratio_panels(n: int) -> tuple[Figure, list[RatioPanel], Axes]:
    """Return a figure, its `n` panels row by row, and axes behind them for the legend."""
    rows = -(-(n + 1) // _PER_ROW)
    figure = Figure(figsize=(4.6 * _PER_ROW, 4.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    places = np.ravel(np.asarray(figure.subfigures(rows, _PER_ROW)))
    shape: dict[str, Any] = {"sharex": True, "height_ratios": [2.4, 1.0]}
    panels = [RatioPanel(*place.subplots(2, 1, **shape)) for place in places[:n]]
    return figure, panels, places[n].subplots()
