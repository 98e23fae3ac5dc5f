"""How every plot looks: mplhep's style, fixed colours per mode, labels, and saving.

Figures are made without pyplot, under a lock and a private set of parameters, so that plots may
be drawn in threads and leave a user's own matplotlib settings alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec

import matplotlib
import mplhep
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from transferline.files import atomic_path

P = ParamSpec("P")
Dashes = str | tuple[float, tuple[float, ...]]

# Okabe and Ito's colours, told apart by every kind of colour vision; see jfly.uni-koeln.de/color.
_COLOURS = {
    "scratch": "#404040",
    "finetuned": "#D55E00",
    "frozen": "#0072B2",
    "fixed": "#56B4E9",
    "trees": "#009E73",
}
_MARKERS = {"scratch": "s", "finetuned": "o", "frozen": "^", "fixed": "<", "trees": "D"}
_SPARE = ("#CC79A7", "#E69F00", "#8C6D00", "#999999")
_SPARE_MARKERS = ("v", "P", "X", ">")
_SHADES = (0.4, -0.45, 0.65)  # share of the way to white, or to black
# Five, and four colours of a mode, have no divisor in common: twenty variants are told apart.
_DASHES: tuple[Dashes, ...] = ("-", "--", ":", "-.", (0, (6.0, 1.5, 1.0, 1.5, 1.0, 1.5)))
_TITLES = {
    "scratch": "from scratch",
    "finetuned": "fine-tuned",
    "frozen": "frozen backbone",
    "fixed": "fixed weights",
    "trees": "boosted trees",
}
SERIES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#404040", "#56B4E9")
"""Colours of series that are no modes."""
_SERIES_MARKERS = "os^Dv<P"
# The first five are Okabe and Ito's, the others as far from them and from the colours of trees and
# of scratch, with every kind of colour vision.
_PRETRAININGS = ("#0072B2", "#D55E00", "#CC79A7", "#E69F00", "#332288", "#56B4E9", "#661100")
_PRETRAINING_MARKERS = "o^v<P>X*p8hdH"  # no multiple of the number of colours
SIGNAL, BACKGROUND = "#D55E00", "#0072B2"

_SIZE = 15
_STYLE = {
    **mplhep.style.CMS,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    # The later fonts supply signs that the first one lacks.
    "font.sans-serif": ["TeX Gyre Heros", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": _SIZE,
    "axes.labelsize": _SIZE + 1,
    "axes.linewidth": 1.2,
    "xtick.labelsize": _SIZE - 1,
    "ytick.labelsize": _SIZE - 1,
    "legend.fontsize": _SIZE - 2,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
    "xtick.major.size": 7,
    "xtick.minor.size": 3.5,
    "ytick.major.size": 7,
    "ytick.minor.size": 3.5,
    "pdf.fonttype": 42,  # text stays text in an editor
}
_LOCK = threading.RLock()
_UNDATED: dict[str, dict[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
# Letters of the right label that fit at full size, and of an entry in a legend of two columns.
_ROOM, _LEGEND_ROOM = 40, 34


@dataclass(frozen=True)
class Label:
    """What stands above a plot: left what it is, right the sample and the collision energy."""

    sample: str = ""
    energy: str = "13 TeV"
    kind: str = "Simulation"


SIMULATION = Label()


@dataclass(frozen=True)
class Look:
    """How one mode and pre-training variant is drawn, the same in every plot."""

    title: str
    colour: str | tuple[float, ...]
    marker: str
    dashes: Dashes

    def line(self) -> dict[str, Any]:
        """Return keywords for a line with markers."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dashes}


def look(mode: str, pretraining: str = "none", variants: Sequence[str] = ()) -> Look:
    """Return the look of a mode; with several pre-training `variants`, of that one among them.

    Variants are numbered by their name, in whatever order they are given.

    >>> look("finetuned").title
    'fine-tuned'
    >>> look("finetuned", "masked_type", ("masked_type", "replaced_object")).title
    'fine-tuned, masked type'
    """
    known = sorted(set(variants) - {"none"})
    number = known.index(pretraining) if pretraining in known else 0
    title = _TITLES.get(mode, words(mode))
    if pretraining != "none" and len(known) > 1:
        title = f"{title}, {words(pretraining)}"
    spare = sum(map(ord, mode)) % len(_SPARE)
    colour = _COLOURS.get(mode, _SPARE[spare])
    marker = _MARKERS.get(mode, _SPARE_MARKERS[spare])
    return Look(title, _shade(colour, number), marker, _DASHES[number % len(_DASHES)])


def told_apart(style: Look, number: int) -> Look:
    """Return a look in the colour of series `number`, where all series are of one mode."""
    i = number % len(SERIES)
    return replace(style, colour=SERIES[i], marker=_SERIES_MARKERS[i])


def of_pretraining(style: Look, number: int, dashes: Dashes | None = None) -> Look:
    """Return a look in the colour and marker of pre-training `number`, which tell those apart.

    None of them is the colour of trees or of scratch. Dashes are other ones where colours are used
    again, unless they are given.
    """
    again, i = divmod(number, len(_PRETRAININGS))
    marker = _PRETRAINING_MARKERS[number % len(_PRETRAINING_MARKERS)]
    dashes = dashes or _DASHES[again % len(_DASHES)]
    return replace(style, colour=_PRETRAININGS[i], marker=marker, dashes=dashes)


def markers_needed(styles: Sequence[Look]) -> bool:
    """Tell whether lines without markers would be taken for one another."""
    return len({(style.colour, style.dashes) for style in styles}) < len(styles)


def words(name: str) -> str:
    """Return a name as words: `replaced_object` as `replaced object`."""
    return name.replace("_", " ")


def _shade(colour: str, number: int) -> str | tuple[float, ...]:
    """Return the colour of variant `number` of a mode: as it is, lighter, darker, light."""
    if number % (len(_SHADES) + 1) == 0:
        return colour
    share = _SHADES[number % (len(_SHADES) + 1) - 1]
    towards = 1.0 if share > 0 else 0.0
    return tuple(part + (towards - part) * abs(share) for part in to_rgb(colour))


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style while the block runs; one thread at a time, as it is global to matplotlib."""
    with _LOCK, matplotlib.rc_context(_STYLE):
        yield


def plot(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function that returns a Figure: it runs in the style."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with styled():
            return function(*args, **kwargs)

    return run


def new_figure(
    label: Label, heights: Sequence[float] = (1.0,), size: tuple[float, float] = (7.2, 6.0)
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `size` inches and its panels, top to bottom, which share x."""
    layout = ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.06, hspace=0.0)
    figure = Figure(figsize=size, layout=layout)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights))
    panels = list(grid[:, 0])
    _write_label(panels[0], label)
    return figure, panels


def new_grid(label: Label, number: int, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """Return a figure of `number` panels in rows of `columns`, which share both axes."""
    across = 10.8 / columns
    columns = min(columns, number)
    rows = -(-number // columns)
    width = across * columns + (2.4 if columns == 1 else 0.8)  # the names above need that much
    figure = Figure(figsize=(width, 0.89 * across * rows + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for spare in panels[number:]:
        spare.remove()
    for above in panels[number - columns : columns * (rows - 1)]:
        above.tick_params(labelbottom=True)  # nothing stands below it
    _write_label(panels[0], Label("", "", label.kind))
    right = _write_right(panels[columns - 1], label)
    right.set_in_layout(columns == 1)  # it may stand above the panel to the left, too
    return figure, panels[:number]


def _write_label(axes: Axes, label: Label) -> None:
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    name = axes.annotate(
        "transferline", (0, 1), (0, 5), weight="bold", fontsize=_SIZE + 1, va="bottom", **place
    )
    axes.annotate(
        label.kind,
        (1, 0),
        (7, 0),
        xycoords=name,
        textcoords="offset points",
        style="italic",
        va="bottom",
    )
    _write_right(axes, label)


def _write_right(axes: Axes, label: Label) -> Text:
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    right = f"{words(label.sample)} ({label.energy})" if label.sample else label.energy
    # A long name shrinks rather than running into the left side.
    size = max(7.0, min(_SIZE - 1.0, (_SIZE - 1) * _ROOM / max(len(right), 1)))
    return axes.annotate(right, (1, 1), (0, 5), ha="right", va="bottom", fontsize=size, **place)


def widen_upwards(axes: Axes, share: float) -> None:
    """Let the data take all but `share` of a panel's height; the room above them has no ticks.

    It would have an AUC above one to be read.
    """
    low, high = axes.get_ylim()
    ticks = {minor: axes.get_yticks(minor=minor) for minor in (False, True)}
    stretched = share / (1 - share)
    if axes.get_yscale() == "log":
        axes.set_ylim(low, high * (high / low) ** stretched)
    else:
        axes.set_ylim(low, high + (high - low) * stretched)
    for minor, places in ticks.items():
        axes.set_yticks([tick for tick in places if low <= tick <= high], minor=minor)


def legend_with_room(axes: Axes, more: Sequence[Artist] = ()) -> None:
    """Put the legend into new room above the data, so that it hides none of them."""
    handles, titles = axes.get_legend_handles_labels()
    handles, titles = [*handles, *more], [*titles, *(str(item.get_label()) for item in more)]
    longest = max(map(len, titles))
    long, columns = longest > 20, 1 if longest > 1.4 * _LEGEND_ROOM else 2
    room = _LEGEND_ROOM * (1.0 if columns == 2 else 1.7)
    widen_upwards(axes, 0.04 + (0.052 if long else 0.06) * -(-len(titles) // columns))
    size = _SIZE - (4.5 if long else 2)
    axes.legend(
        handles,
        titles,
        loc="upper left",
        ncols=columns,
        columnspacing=1.2,
        borderaxespad=0.3,
        fontsize=size * min(1.0, room / longest),
    )


def _spare_broken_math(figure: Figure) -> None:
    """Draw a text as it stands where its `$` are no formula: names of tasks are the user's."""
    for text in figure.findobj(Text):
        if isinstance(text, Text) and "$" in text.get_text():
            try:
                MathTextParser("path").parse(text.get_text())
            except ValueError:
                text.set_parse_math(False)


def _lay_out(figure: Figure) -> None:
    """Place everything once for all formats; `savefig` would draw once more for each of them."""
    engine = figure.get_layout_engine()
    if engine is None:
        return
    dpi = figure.dpi
    figure.dpi = matplotlib.rcParams["savefig.dpi"]
    engine.execute(figure)
    figure.dpi = dpi
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)


def save(
    figure: Figure, stem: Path, formats: Sequence[Literal["png", "pdf"]] = ("png", "pdf")
) -> list[Path]:
    """Write `stem.png` and `stem.pdf`, each whole or not at all, and return their paths.

    The bytes depend on the figure alone: no date is written.
    """
    written = []
    with styled():
        _spare_broken_math(figure)
        _lay_out(figure)
        for name in formats:
            path = stem.with_name(f"{stem.name}.{name}")
            with atomic_path(path) as temporary:
                figure.savefig(temporary, metadata=_UNDATED[name])
            written.append(path)
    return written
