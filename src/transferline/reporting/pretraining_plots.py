"""What pre-trainings did: their losses, and how what follows grows with their number of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from transferline.evaluation.learning_curve import Line, Point, scratch_for
from transferline.evaluation.records import Record
from transferline.reporting import plots
from transferline.reporting.run_plots import Losses
from transferline.reporting.style import (
    SIMULATION,
    Label,
    Look,
    legend_with_room,
    look,
    markers_needed,
    new_figure,
    new_grid,
    of_pretraining,
    plot,
    told_apart,
    widen_upwards,
    words,
)

_EVENTS = "Pre-training events"
MOST_INSIDE = 5
"""Pre-trainings that a panel has room for, and for their names."""
_DECADES = 3.0
"""Ratio of the largest loss to the smallest from which the axis is logarithmic."""


@dataclass(frozen=True)
class Source:
    """A pre-training as Records tell it.

    Those of one `family` and one `labelled` differ in `events` alone; older Records do not tell
    which events had which label, so that theirs is empty.
    """

    name: str
    objective: str
    events: int
    family: str
    losses: Losses | None = None
    labelled: str = ""


def source_of(record: Record) -> Source | None:
    """Return the pre-training that a Record tells of, None if it tells nothing of one."""
    found: Any = record.extra.get("pretraining")
    if not isinstance(found, dict) or not {"events", "family"} <= found.keys():
        return None
    losses = found.get("losses")
    kept = Losses.of(losses) if losses else None
    return Source(
        record.pretraining,
        record.objective,
        found["events"],
        found["family"],
        kept,
        found.get("labelled", ""),
    )


def sources_of(records: Sequence[Record]) -> list[Source]:
    """Return every pre-training once, by objective, number of events and name."""
    found = {r.pretraining: s for r in records if (s := source_of(r)) is not None}
    return sorted(found.values(), key=lambda source: (source.objective, source.events, source.name))


def told_once(records: Sequence[Record]) -> list[Record]:
    """Return a study's Records with one name, joined, for variants that share a pre-training.

    A Record is renamed by what it tells itself: a name may stand for two pre-trainings, of which
    one is another's twin. Where it tells nothing, its name must say, if it stands for one alone.
    """
    own = _with_labels([_identity(record) for record in records])
    groups: dict[_Identity, set[str]] = {}
    for record, key in zip(records, own, strict=True):
        if key is not None:
            groups.setdefault(key, set()).add(record.pretraining)
    joined = {key: ", ".join(sorted(group)) for key, group in groups.items()}
    meant: dict[str, set[str]] = {}
    for key, group in groups.items():
        for name in group:
            meant.setdefault(name, set()).add(joined[key])
    # Which of several is meant by a Record that tells nothing, nobody knows.
    alone = {name: min(several) for name, several in meant.items() if len(several) == 1}
    names = [
        alone.get(record.pretraining, record.pretraining) if key is None else joined[key]
        for record, key in zip(records, own, strict=True)
    ]
    return [
        record.model_copy(update={"pretraining": name})
        for record, name in zip(records, names, strict=True)
    ]


_Identity = tuple[tuple[Any, ...], str]
"""What is equal for Records of one pre-training, and which events had which label."""


def _identity(record: Record) -> _Identity | None:
    """The number of labels counts because older Records do not tell which events had them."""
    source, told = source_of(record), record.extra.get("pretraining")
    if source is None or not isinstance(told, dict):
        return None
    return (source.objective, source.events, source.family, told.get("labels")), source.labelled


def _with_labels(told: Sequence[_Identity | None]) -> list[_Identity | None]:
    """Let older Records be of the pre-training of newer ones, where it is the only one."""
    labels: dict[tuple[Any, ...], set[str]] = {}
    for key in told:
        if key is not None and key[1]:
            labels.setdefault(key[0], set()).add(key[1])
    return [
        (key[0], min(labels[key[0]]))
        if key and not key[1] and len(labels.get(key[0], ())) == 1
        else key
        for key in told
    ]


@plot
def source_losses(
    sources: Sequence[Source], label: Label = SIMULATION, names: Sequence[str] = ()
) -> Figure:
    """Draw the losses of pre-trainings of one objective, one panel per number of events.

    Where one would hold too many of them each has a panel of its own, before the others in grey.

    Args:
        sources: those with losses.
        label: above the plot.
        names: of all pre-trainings, in order; their place tells the colours.
    """
    styles = _styles(sources, names)
    sizes = sorted({source.events for source in sources})
    groups = [[source for source in sources if source.events == events] for events in sizes]
    if max(map(len, groups)) > MOST_INSIDE:
        figure = _each(sources, styles, label)
    else:
        figure, panels = new_grid(label, len(sizes))
        for axes, group in zip(panels, groups, strict=True):
            marked = markers_needed([styles[source.name] for source in group])
            for source in group:
                _losses(axes, source, styles[source.name], marked=marked)
            title = f"{group[0].events:,} events"
            axes.set_title(title, fontsize="small", loc="left", x=0.03, y=1.0, pad=-16)
            axes.legend(loc="upper right", fontsize="x-small", borderaxespad=1.8)
        widen_upwards(panels[0], 0.26)  # for names and number of events
    figure.supxlabel("Optimiser step", fontsize="medium")
    figure.supylabel("Loss (full: validation, dashed: training)", fontsize="medium")
    return figure


def _styles(sources: Sequence[Source], names: Sequence[str]) -> dict[str, Look]:
    """The look of every source, of several that share one pre-training that of the first.

    Of a name that stands for another pre-training, too, the looks would be one: the next is taken.
    """
    first: dict[str, str] = {}
    for source in sorted(sources, key=lambda one: one.name.count(", ")):
        own = source.name.split(", ")
        first[source.name] = next((n for n in own if n not in first.values()), own[0])
    known = sorted({*names, *first.values()})
    style = look("finetuned")
    return {name: of_pretraining(style, known.index(one), "-") for name, one in first.items()}


def _each(sources: Sequence[Source], styles: Mapping[str, Look], label: Label) -> Figure:
    figure, panels = new_grid(label, len(sources), columns=4)
    for axes, source in zip(panels, sources, strict=True):
        for other in sources:
            if other is not source and other.losses is not None:
                axes.plot(other.losses.step, other.losses.valid, color="#C8C8C8", linewidth=0.8)
        _losses(axes, source, styles[source.name])
        title = f"{fill(words(source.name), 24)}\n{source.events:,} events"
        axes.text(0.95, 0.95, title, transform=axes.transAxes, fontsize=10, ha="right", va="top")
    axes = panels[0]
    low, high = axes.dataLim.y0, axes.dataLim.y1
    if high > _DECADES * low > 0.0:  # the first steps would leave no room for the others
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _position: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    return figure


def _losses(axes: Axes, source: Source, style: Look, *, marked: bool = False) -> None:
    assert source.losses is not None
    known, colour = source.losses, style.colour
    marks: dict[str, Any] = {"marker": style.marker, "markersize": 4} if marked else {}
    axes.plot(known.step, known.valid, color=colour, label=words(source.name), **marks)
    axes.plot(known.step, known.train, color=colour, linestyle="--", linewidth=1.2)


def scaling_points(lines: Sequence[Line]) -> dict[int, list[tuple[int, Point]]]:
    """Return labelled events -> (pre-training events, fine-tuned runs), of the family that scales.

    That is the family with most sizes; empty if none has two.
    """
    tuned = [line for line in lines if line.mode == "finetuned"]
    sources = [source_of(line.points[0].records[0]) for line in tuned]
    told = _with_labels([None if one is None else ((one.family,), one.labelled) for one in sources])
    families: dict[_Identity, dict[int, Line]] = {}
    for line, source, key in zip(tuned, sources, told, strict=True):
        if source is not None and key is not None:
            families.setdefault(key, {}).setdefault(source.events, line)
    largest: Mapping[int, Line] = max(families.values(), key=len, default={})
    if len(largest) < 2:
        return {}
    common = set.intersection(*({p.n_train for p in line.points} for line in largest.values()))
    return {
        n: [(events, _at(line, n)) for events, line in sorted(largest.items())]
        for n in sorted(common)
    }


def _at(line: Line, n: int) -> Point:
    return next(point for point in line.points if point.n_train == n)


@plot
def scaling(lines: Sequence[Line], label: Label = SIMULATION) -> Figure:
    """Draw the metric of fine-tuned networks against the number of pre-training events.

    One series per number of labelled events; dashed lines are the same from scratch. Bars are one
    standard deviation, seeds and test set together.

    Args:
        lines: of one task and metric, for which `scaling_points` finds some.
        label: above the plot.
    """
    series = scaling_points(lines)
    figure, [axes] = new_figure(label)
    for number, (n, points) in enumerate(series.items()):
        style = told_apart(look("finetuned"), number)
        _series(axes, n, points, style)
        for reference in _scratch(n, points, lines):
            axes.axhline(reference.value, color=style.colour, linestyle="--", linewidth=1.2)
    sizes = sorted({events for points in series.values() for events, _ in points})
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _position: plots.short_count(n)))
    axes.set_xlabel(_EVENTS)
    axes.set_ylabel(plots.metric_title(lines[0].metric))
    scratch = Line2D([], [], color="#404040", linestyle="--", linewidth=1.2, label="from scratch")
    single = any(len(p.values) == 1 for points in series.values() for _, p in points)
    legend_with_room(axes, [scratch, *([plots.one_seed()] if single else [])])
    return figure


def _series(axes: Axes, n: int, points: Sequence[tuple[int, Point]], style: Look) -> None:
    values = [(events, p.value, p.error, len(p.values)) for events, p in points]
    plots.band(axes, values, style, f"{plots.short_count(n)} labelled events")


def _scratch(n: int, points: Sequence[tuple[int, Point]], lines: Sequence[Line]) -> list[Point]:
    """The runs from scratch at `n` that the series is compared with: one Point, or none."""
    members = [line for _, point in points for line in lines if point in line.points]
    known = [s for line in members if (s := scratch_for(line, lines)) is not None]
    return [point for line in known for point in line.points if point.n_train == n][:1]
