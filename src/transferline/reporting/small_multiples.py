"""Small multiples: one panel per pre-training, where one would hold too many lines to be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferline.evaluation.learning_curve import Line, scratch_for
from transferline.reporting import plots, run_plots
from transferline.reporting.run_plots import Losses
from transferline.reporting.style import (
    SIMULATION,
    Label,
    Look,
    look,
    new_grid,
    plot,
    widen_upwards,
    words,
)

T = TypeVar("T")

MOST = 10
"""Lines that one panel shows."""


def learning_curves(
    lines: Sequence[Line], label: Label = SIMULATION, among: Sequence[Line] = ()
) -> Figure:
    """Draw learning curves in one panel if it can hold them, else one panel per pre-training.

    For `among` see `plots.looks`.
    """
    if _fit_one_panel(lines):
        return plots.learning_curve(lines, label, among)
    return _learning_curves(lines, label)


def loss_curves(
    series: Sequence[tuple[Line, Losses]], label: Label = SIMULATION, among: Sequence[Line] = ()
) -> Figure:
    """Draw losses in one panel if it can hold them, else one panel per pre-training.

    For `among` see `plots.looks`.
    """
    lines = [line for line, _ in series]
    if _fit_one_panel(lines):
        styles = plots.looks(lines, among)
        together = [(style, kept) for style, (_, kept) in zip(styles, series, strict=True)]
        return run_plots.loss_curves(together, label)
    return _loss_curves(series, label)


def _fit_one_panel(lines: Sequence[Line]) -> bool:
    modes = {line.mode for line in lines} - {"scratch", "trees"}
    shades = 1 if len(modes) == 1 else len(_pretrainings(lines))
    return not modes or (len(lines) <= MOST and shades <= plots.SHADES)


def by_pretraining(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Return pre-training -> its lines, and those to compare with: its scratch, and the trees.

    A scratch that none of them is compared with, as that of a reference, has a place of its own.
    """
    found = {}
    trees = [line for line in lines if line.mode == "trees"]
    for name in _pretrainings(lines):
        own = [line for line in lines if line.pretraining == name and line.mode != "scratch"]
        scratch = scratch_for(own[0], lines)
        found[name] = [*trees, *([scratch] if scratch is not None else []), *own]
    shown = {id(line) for members in found.values() for line in members}
    for line in lines:
        if line.mode == "scratch" and id(line) not in shown:
            found.setdefault(line.pretraining, [*trees]).append(line)
    return found


def _pretrainings(lines: Sequence[Line]) -> list[str]:
    transferred = [line for line in lines if line.mode not in ("scratch", "trees")]
    return list(dict.fromkeys(line.pretraining for line in transferred))


@plot
def _learning_curves(lines: Sequence[Line], label: Label) -> Figure:
    modes = list(dict.fromkeys(line.mode for line in lines))
    shifts = plots.apart(len(modes), [n for line in lines for n in line.n_train])

    def draw(axes: Axes, style: Look, line: Line) -> None:
        shift = shifts[modes.index(line.mode)]
        values = [(p.n_train * shift, p.value, p.error, len(p.values)) for p in line.points]
        plots.band(axes, values, style, style.title)

    figure, panels = _panels([(line, line) for line in lines], draw, label, lines[0].metric)
    for axes in panels:
        plots.sizes_axis(axes, [n for line in lines for n in line.n_train])
        axes.set_xlabel("")
    figure.supxlabel(plots.N_TRAIN, fontsize="medium")
    figure.supylabel(plots.metric_title(lines[0].metric), fontsize="medium")
    single = any(len(point.values) == 1 for line in lines for point in line.points)
    _legend(figure, panels, [plots.one_seed()] if single else [])
    return figure


@plot
def _loss_curves(series: Sequence[tuple[Line, Losses]], label: Label) -> Figure:
    figure, panels = _panels(series, run_plots.draw_losses, label)
    run_plots.steps_axis(panels, [kept for _, kept in series])
    figure.supxlabel("Optimiser step", fontsize="medium")
    figure.supylabel("Loss (full: validation, dashed: training)", fontsize="medium")
    _legend(figure, panels)
    return figure


def _panels(
    series: Sequence[tuple[Line, T]],
    draw: Callable[[Axes, Look, T], None],
    label: Label,
    metric: str = "loss",
) -> tuple[Figure, list[Axes]]:
    """Draw what belongs to each pre-training into its panel; colours tell the modes."""
    lines = [line for line, _ in series]
    kept = {id(line): item for line, item in series}
    groups = by_pretraining(lines)
    figure, panels = new_grid(label, len(groups))
    for axes, (name, members) in zip(panels, groups.items(), strict=True):
        for line in members:
            draw(axes, look(line.mode), kept[id(line)])
        axes.set_title(words(name), fontsize="small", loc="left", x=0.03, y=1.0, pad=-16)
    plots.value_axis(panels[0], metric)
    widen_upwards(panels[0], 0.1)  # the names stand there
    return figure, panels


def _legend(figure: Figure, panels: Sequence[Axes], more: Sequence[Any] = ()) -> None:
    """Name every mode once, above the panels."""
    known: dict[str, Any] = {}
    for axes in panels:
        for handle, title in zip(*axes.get_legend_handles_labels(), strict=True):
            known.setdefault(title, handle)
    for item in more:
        known[str(item.get_label())] = item
    figure.legend(
        list(known.values()), list(known), loc="outside upper center", ncols=3, fontsize="small"
    )
