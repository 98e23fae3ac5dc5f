"""One panel for every column of the HIGGS benchmark: both classes, theirs and ours, and ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferline.reporting.style import BACKGROUND, SIGNAL, plot
from transferline.validation.higgs_file import KINDS, Kind
from transferline.validation.statistics import Floats

Columns = Mapping[Kind, Mapping[str, Floats]]

_COLOURS: dict[Kind, str] = {"signal": SIGNAL, "background": BACKGROUND}
_MARKERS: dict[Kind, str] = {"signal": "o", "background": "s"}
_PANELS: dict[str, tuple[str, float, float]] = {
    "m_jj": ("m(jj) (GeV)", 0.0, 200.0),
    "m_jjj": ("m(jjj) (GeV)", 80.0, 330.0),
    "m_lv": ("m(l v) (GeV)", 70.0, 170.0),
    "m_jlv": ("m(j l v) (GeV)", 80.0, 380.0),
    "m_bb": ("m(bb) (GeV)", 0.0, 300.0),
    "m_wbb": ("m(W bb) (GeV)", 150.0, 650.0),
    "m_wwbb": ("m(WW bb) (GeV)", 250.0, 950.0),
    "lepton_pT": ("Lepton pT (GeV)", 0.0, 200.0),
    "missing_energy_magnitude": ("Missing pT (GeV)", 0.0, 200.0),
    "jet1_pt": ("pT of jet 1 (GeV)", 0.0, 350.0),
    "jet2_pt": ("pT of jet 2 (GeV)", 0.0, 250.0),
    "jet3_pt": ("pT of jet 3 (GeV)", 0.0, 160.0),
    "jet4_pt": ("pT of jet 4 (GeV)", 0.0, 100.0),
    "tags": ("b jets among the four hardest", -0.5, 2.5),
}
_BINS, _PER_ROW = 25, 3


@plot
def comparison(own: Columns, theirs: Columns) -> Figure:
    """Draw our columns as points over the benchmark's as lines, with their ratio below."""
    rows = -(-(len(_PANELS) + 1) // _PER_ROW)
    figure = Figure(figsize=(4.6 * _PER_ROW, 4.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    places = np.ravel(np.asarray(figure.subfigures(rows, _PER_ROW)))
    for place, (name, (title, low, high)) in zip(places, _PANELS.items(), strict=False):
        above, below = place.subplots(2, 1, sharex=True, height_ratios=[2.4, 1.0])
        edges = np.linspace(low, high, 4 if name == "tags" else _BINS + 1)
        for kind in KINDS:
            pair = (_values(own[kind], name), _values(theirs[kind], name))
            _draw(above, below, kind, edges, pair)
        _finish(above, below, title, edges)
    _legend(places[len(_PANELS)].subplots())
    return figure


def _values(columns: Mapping[str, Floats], name: str) -> Floats:
    if name == "tags":
        return np.asarray(sum(columns[f"b{i}"] for i in (1, 2, 3, 4)))
    return columns[name]


def _draw(above: Axes, below: Axes, kind: Kind, edges: Floats, pair: tuple[Floats, Floats]) -> None:
    (ours, error), (known, known_error) = (_density(values, edges) for values in pair)
    centre = 0.5 * (edges[:-1] + edges[1:])
    style: dict[str, Any] = {
        "color": _COLOURS[kind],
        "fmt": _MARKERS[kind],
        "markersize": 4,
        "elinewidth": 1.0,
    }
    above.stairs(known, edges, color=_COLOURS[kind], linewidth=1.6)
    above.errorbar(centre, ours, error, **style)
    # Bins with next to nothing tell nothing.
    good = (known > 0.01 * known.max()) & (ours > 0.0)
    relative = np.hypot(error[good] / ours[good], known_error[good] / known[good])
    ratio = ours[good] / known[good]
    below.errorbar(centre[good], ratio, ratio * relative, **style)


def _density(values: Floats, edges: Floats) -> tuple[Floats, Floats]:
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], -np.inf))
    content = np.histogram(inside, edges)[0].astype(float)
    scale = 1.0 / (max(len(values), 1) * np.diff(edges))
    return content * scale, np.sqrt(content) * scale


def _finish(above: Axes, below: Axes, title: str, edges: Floats) -> None:
    above.set_xlim(edges[0], edges[-1])
    above.set_ylim(0.0, above.get_ylim()[1] * 1.05)
    above.set_yticks([])
    above.set_ylabel("Density")
    below.axhline(1.0, color="#404040", linewidth=0.8)
    below.set_ylim(0.4, 1.6)
    below.set_yticks([0.5, 1.0, 1.5])
    below.set_ylabel("Ratio", loc="center")
    below.set_xlabel(title)


def _legend(axes: Axes) -> None:
    axes.set_axis_off()
    entries = []
    for kind in KINDS:
        colour = _COLOURS[kind]
        entries += [
            Line2D([], [], color=colour, label=f"benchmark, {kind}"),
            Line2D([], [], color=colour, marker=_MARKERS[kind], ls="", label=f"ours, {kind}"),
        ]
    axes.legend(handles=entries, loc="center", fontsize="large")
