"""What single runs look like: ROC, score distributions, losses, cut-flow; data in, Figure out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from transferline.errors import DataError
from transferline.evaluation.records import Record
from transferline.evaluation.roc import Bools, Floats
from transferline.evaluation.roc_band import RocBand
from transferline.evaluation.two_sample import kolmogorov_smirnov
from transferline.reporting.style import (
    BACKGROUND,
    SERIES,
    SIGNAL,
    SIMULATION,
    Label,
    Look,
    markers_needed,
    new_figure,
    plot,
)

_BINS = np.linspace(0.0, 1.0, 26)
_LONGER = 5
"""Ratio of the longest training to the shortest from which steps are told by their logarithm."""


@dataclass(frozen=True)
class Scores:
    """Scores of one run in `[0, 1]`, `[n]` each; `weight` is signed."""

    score: Floats
    is_signal: Bools
    weight: Floats


@dataclass(frozen=True)
class Losses:
    """Losses by optimiser step, `[k]` each; not a number where one was not computed.

    `best` is the step whose weights were kept, None where nobody tells.
    """

    step: Floats
    train: Floats
    valid: Floats
    best: float | None = None

    @classmethod
    def of(cls, found: Mapping[str, Sequence[float | None]]) -> Losses:
        """Take them from a Record, where what was not computed is None."""
        step, train, valid = (_column(found[name]) for name in ("step", "train", "valid"))
        return cls(step, train, valid)

    def kept_by(self, record: Record) -> Losses:
        """Add the step whose weights the run of a Record kept."""
        best: Any = record.extra.get("best_step")
        return replace(self, best=best)


def _column(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


@plot
def roc(bands: Sequence[tuple[Look, RocBand]], label: Label = SIMULATION) -> Figure:
    """Draw background rejection against signal efficiency; bands are the spread over seeds."""
    figure, [axes] = new_figure(label)
    marked = markers_needed([style for style, _ in bands])
    for style, band in bands:
        axes.fill_between(
            band.signal, band.low, band.high, color=style.colour, alpha=0.2, linewidth=0
        )
        axes.plot(
            band.signal,
            band.rejection,
            color=style.colour,
            linestyle=style.dashes,
            marker=style.marker if marked else "",
            markevery=0.08,
            label=style.title,
        )
    random = np.linspace(0.05, 1.0, 96)
    axes.plot(random, 1 / random, color="#909090", linestyle=(0, (1, 2)), label="random")
    axes.set_yscale("log")
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(bottom=1.0)
    axes.set_xlabel("Signal efficiency")
    axes.set_ylabel("Background rejection (1 / efficiency)")
    axes.legend(loc="upper right")
    return figure


@plot
def score_distributions(test: Scores, train: Scores, label: Label = SIMULATION) -> Figure:
    """Draw test scores as areas and training scores as points, per class, each of unit area.

    The legend gives the Kolmogorov-Smirnov p-value of training against test: small values mean
    that the training events are classified better than new ones.
    """
    figure, [axes] = new_figure(label)
    for title, wanted, colour in (("signal", True, SIGNAL), ("background", False, BACKGROUND)):
        seen, new = _only(train, wanted), _only(test, wanted)
        _area(axes, new, f"{title}, test", colour)
        p = kolmogorov_smirnov(seen.score, new.score, seen.weight, new.weight)
        _points(axes, seen, f"{title}, training ({p_text(p)})", colour)
    axes.set_xlim(0.0, 1.0)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.0), high * 1.32)  # room for the legend
    axes.set_xlabel("Classifier score")
    axes.set_ylabel("Share of events per unit of score")
    axes.legend(loc="upper center", ncols=2, columnspacing=1.0)
    return figure


def p_text(p: float) -> str:
    """Return a p-value in words for a legend.

    >>> p_text(0.4321), p_text(1e-7)
    ('KS p = 0.43', 'KS p < 0.001')
    """
    return "KS p < 0.001" if p < 0.001 else f"KS p = {p:.2g}"


def _only(scores: Scores, wanted: bool) -> Scores:
    keep = scores.is_signal == wanted
    if not keep.any():
        raise DataError("a class has no scores to draw.")
    return Scores(scores.score[keep], scores.is_signal[keep], scores.weight[keep])


def _density(scores: Scores) -> tuple[Floats, Floats]:
    width = _BINS[1] - _BINS[0]
    inside = np.clip(scores.score, 0.0, 1.0)
    content, _ = np.histogram(inside, _BINS, weights=scores.weight)
    squares, _ = np.histogram(inside, _BINS, weights=scores.weight**2)
    scale = 1.0 / (scores.weight.sum() * width)
    return content * scale, np.sqrt(squares) * abs(scale)


def _area(axes: Axes, scores: Scores, title: str, colour: str) -> None:
    content, _ = _density(scores)
    axes.stairs(content, _BINS, fill=True, color=colour, alpha=0.25, label=title)
    axes.stairs(content, _BINS, color=colour, linewidth=1.4)


def _points(axes: Axes, scores: Scores, title: str, colour: str) -> None:
    content, error = _density(scores)
    centre = (_BINS[1:] + _BINS[:-1]) / 2
    filled = error > 0.0
    axes.errorbar(
        centre[filled],
        content[filled],
        error[filled],
        color=colour,
        marker="o",
        markersize=4.5,
        linestyle="none",
        elinewidth=1.2,
        label=title,
    )


@plot
def loss_curves(series: Sequence[tuple[Look, Losses]], label: Label = SIMULATION) -> Figure:
    """Draw validation losses as full lines and training losses as dashed ones, by step.

    A dot marks the validation whose weights are kept; where that is not known, the lowest loss.
    """
    figure, [axes] = new_figure(label)
    for look, losses in series:
        draw_losses(axes, look, losses)
    steps_axis([axes], [losses for _, losses in series])
    axes.set_xlabel("Optimiser step")
    axes.set_ylabel("Loss")
    _loss_legend(axes)
    return figure


def draw_losses(axes: Axes, look: Look, losses: Losses) -> None:
    """Draw one training's losses as `loss_curves` describes."""
    validated = np.isfinite(losses.valid)
    trained = np.isfinite(losses.train)
    title = None if validated.any() else f"{look.title} (training)"
    thin: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2, "alpha": 0.8}
    axes.plot(losses.step[trained], losses.train[trained], color=look.colour, label=title, **thin)
    if validated.any():
        _validation(axes, losses, validated, look)


def steps_axis(panels: Sequence[Axes], losses: Sequence[Losses]) -> None:
    """Tell steps by their logarithm where a linear axis has no room for the shortest training."""
    ends = [one.step[-1] for one in losses]
    if max(ends) > _LONGER * min(ends):
        for axes in panels:
            axes.set_xscale("log")


def _loss_legend(axes: Axes) -> None:
    """Many series fill the panel: their legend gets room of its own."""
    titles = axes.get_legend_handles_labels()[1]
    number = len(titles)
    many: dict[str, Any] = {"loc": "best"}
    if number > 4:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + (high - low) * (0.1 + 0.045 * number))
        size = "x-small" if max(map(len, titles)) > 20 else "small"
        many = {"loc": "upper left", "ncols": 2, "columnspacing": 1.2, "fontsize": size}
    axes.legend(title="full: validation, dashed: training", title_fontsize="x-small", **many)


def _validation(axes: Axes, losses: Losses, validated: Bools, look: Look) -> None:
    axes.plot(losses.step[validated], losses.valid[validated], color=look.colour, label=look.title)
    # The lowest is not always kept: the last weights may be, or none before a backbone moves.
    away = losses.valid if losses.best is None else np.abs(losses.step - losses.best)
    best = int(np.argmin(np.where(validated, away, math.inf)))
    axes.plot(losses.step[best], losses.valid[best], marker="o", color=look.colour)


@plot
def cut_flow(
    samples: Mapping[str, Sequence[tuple[str, float]]], label: Label = SIMULATION
) -> Figure:
    """Draw the share of each sample that survives each step, `(step, events)`, top to bottom.

    The steps are those of the sample that has most of them.
    """
    steps = [step for step, _ in max(samples.values(), key=len)]
    figure, [axes] = new_figure(label, size=(8.4, 2.2 + 0.42 * len(steps)))
    looks = zip(samples.items(), cycle(SERIES), cycle("osD^vPX"), strict=False)
    for (name, rows), colour, marker in looks:
        place, share = _shares(rows, steps)
        axes.plot(share, place, color=colour, marker=marker, linewidth=1.0, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _position: f"{x:g}"))
    axes.set_yticks(range(len(steps)), [fill(step, 34) for step in steps])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(len(steps) - 0.5, -0.5)
    axes.set_xlabel("Share of events left (weighted)")
    axes.legend(loc="upper left")  # empty: the shares fall from the upper right
    return figure


def _shares(
    rows: Sequence[tuple[str, float]], steps: Sequence[str]
) -> tuple[list[int], list[float]]:
    first = next((events for _, events in rows if events > 0), 1.0)
    known = [(step, events / first) for step, events in rows if step in steps and events > 0]
    return [steps.index(step) for step, _ in known], [share for _, share in known]
