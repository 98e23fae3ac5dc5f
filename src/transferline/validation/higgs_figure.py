"""One panel for every column of the HIGGS benchmark: both classes, theirs and ours, and ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transferline.reporting.style import BACKGROUND, SIGNAL, plot
from transferline.validation.higgs_file import KINDS, Kind
from transferline.validation.ratio_panels import RatioPanel, ratio_panels
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
_BINS = 25


@plot
def comparison(own: Columns, theirs: Columns) -> Figure:
    """Draw our columns as points over the benchmark's as lines, with their ratio below."""
    figure, panels, rest = ratio_panels(len(_PANELS), 2)
    for panel, (name, (title, low, high)) in zip(panels, _PANELS.items(), strict=True):
        edges = np.linspace(low, high, 4 if name == "tags" else _BINS + 1)
        for kind in KINDS:
            pair = (_values(own[kind], name), _values(theirs[kind], name))
            _draw(panel, kind, edges, pair)
        panel.finish(title, edges)
    _legend(rest)
    return figure


def _values(columns: Mapping[str, Floats], name: str) -> Floats:
    if name == "tags":
        return np.asarray(sum(columns[f"b{i}"] for i in (1, 2, 3, 4)))
    return columns[name]


def _draw(panel: RatioPanel, kind: Kind, edges: Floats, pair: tuple[Floats, Floats]) -> None:
    (ours, error), (known, known_error) = (_density(values, edges) for values in pair)
    centre = 0.5 * (edges[:-1] + edges[1:])
    style: dict[str, Any] = {
        "color": _COLOURS[kind],
        "fmt": _MARKERS[kind],
        "markersize": 4,
        "elinewidth": 1.0,
    }
    panel.above.stairs(known, edges, color=_COLOURS[kind], linewidth=1.6)
    panel.above.errorbar(centre, ours, error, **style)
    # Bins with next to nothing tell nothing.
    good = (known > 0.01 * known.max()) & (ours > 0.0)
    relative = np.hypot(error[good] / ours[good], known_error[good] / known[good])
    ratio = ours[good] / known[good]
    panel.below.errorbar(centre[good], ratio, ratio * relative, **style)


def _density(values: Floats, edges: Floats) -> tuple[Floats, Floats]:
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], -np.inf))
    content = np.histogram(inside, edges)[0].astype(float)
    scale = 1.0 / (max(len(values), 1) * np.diff(edges))
    return content * scale, np.sqrt(content) * scale


def _legend(axes: Axes) -> None:
    entries = []
    for kind in KINDS:
        colour = _COLOURS[kind]
        entries += [
            Line2D([], [], color=colour, label=f"benchmark, {kind}"),
            Line2D([], [], color=colour, marker=_MARKERS[kind], ls="", label=f"ours, {kind}"),
        ]
    axes.legend(handles=entries, loc="center right", ncols=2)
