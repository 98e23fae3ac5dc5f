"""Ranking: every pre-training in a row of its own, where most have one number of labels.

A learning curve of single points shows nothing but a heap of markers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferline.evaluation.learning_curve import Line, Point, scratch_for
from transferline.reporting.drawing import Drawing
from transferline.reporting.plots import metric_title
from transferline.reporting.style import SIMULATION, Label, look, new_figure, plot, words

_FEWEST = 6
"""Pre-trainings below which other figures show them well enough."""
_MODES = ("frozen", "fixed", "finetuned")
_BETWEEN = 0.16  # of a row, from one mode to the next


def ranked(lines: Sequence[Line]) -> int | None:
    """Return the number of labels that the figure is of, if it is to be drawn at all.

    It is where at least six pre-trainings were transferred and most of them at one size.
    """
    tuned = [line for line in lines if line.mode in _MODES]
    sizes = Counter(n for line in tuned for n in line.n_train)
    if not sizes:
        return None
    n_train, _ = sizes.most_common(1)[0]
    names = {line.pretraining for line in tuned if n_train in line.n_train}
    several = {line.pretraining for line in tuned if line.n_train != [n_train]}
    alone = len(names - several)
    return n_train if len(names) >= _FEWEST and 2 * alone > len(names) else None


def ranking_drawings(lines: Sequence[Line], label: Label) -> list[Drawing]:
    """Return the figure, if there is one."""
    n_train = ranked(lines)
    if n_train is None:
        return []
    caption = (
        f"All pre-trainings at {n_train:,} labelled events, the best fine-tuned one on top, and "
        "scratch of the same network and inputs. Bars and band: one standard deviation, seeds and "
        "test set together; differences in a row are better known, as they are paired (tables)."
    )
    return [Drawing("ranking", caption, lambda: ranking(lines, n_train, label))]


@plot
def ranking(lines: Sequence[Line], n_train: int, label: Label = SIMULATION) -> Figure:
    """Draw the metric of every mode of every pre-training, a row each, beside boosted trees."""
    there = [line for line in lines if n_train in line.n_train]
    rows = _rows(there, n_train)
    figure, [axes] = new_figure(label, size=(8.4, 1.9 + 0.36 * len(rows)))
    for place, (_, modes) in enumerate(rows):
        if place % 2 == 0:
            axes.axhspan(place - 0.5, place + 0.5, color="#000000", alpha=0.035, linewidth=0)
        for number, (mode, point) in enumerate(modes.items()):
            shift = _BETWEEN * (number - (len(modes) - 1) / 2)
            _mark(axes, mode, point, place + shift)
    for line in there:
        if line.mode == "trees":
            _band(axes, line.at(n_train))
    axes.set_yticks(range(len(rows)), [words(name) for name, _ in rows], fontsize="x-small")
    axes.tick_params(axis="y", length=0, which="both")
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_xlabel(f"{metric_title(lines[0].metric)}, {n_train:,} labelled events")
    handles, titles = axes.get_legend_handles_labels()
    found = dict(zip(titles, handles, strict=True))  # each mode once
    figure.legend(list(found.values()), list(found), loc="outside lower center",
                  ncols=len(found), fontsize="x-small")  # fmt: skip
    return figure


def _rows(lines: Sequence[Line], n_train: int) -> list[tuple[str, dict[str, Point]]]:
    """Pre-trainings from the bottom up, the best last; of each, its points by mode."""
    rows: dict[str, dict[str, Point]] = {}
    for line in lines:
        if line.mode not in _MODES:
            continue
        row = rows.setdefault(line.pretraining, {})
        scratch = scratch_for(line, lines)
        if scratch is not None:
            row["scratch"] = scratch.at(n_train)
        row[line.mode] = line.at(n_train)
    return sorted(rows.items(), key=lambda row: _worth(row[1]))


def _worth(row: Mapping[str, Point]) -> float:
    """What rows are sorted by: fine-tuned, and where that was not done the best there is."""
    return row["finetuned"].value if "finetuned" in row else max(p.value for p in row.values())


def _mark(axes: Axes, mode: str, point: Point, place: float) -> None:
    style = look(mode)
    axes.errorbar([point.value], [place], xerr=[point.error], linestyle="none", color=style.colour,
                  marker=style.marker, markersize=5, elinewidth=1.2, label=style.title)  # fmt: skip


def _band(axes: Axes, point: Point) -> None:
    style = look("trees")
    low, high = point.value - point.error, point.value + point.error
    axes.axvspan(low, high, color=style.colour, alpha=0.15, linewidth=0)
    axes.axvline(point.value, color=style.colour, linestyle="--", label=style.title)
