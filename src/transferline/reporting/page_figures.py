"""Which figures a results page shows of one task: what Records alone can tell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

from transferline.evaluation.learning_curve import Line
from transferline.evaluation.records import Record
from transferline.reporting.attention_plot import attention, with_attention
from transferline.reporting.drawing import Drawing
from transferline.reporting.head_to_head import head_to_head_drawings
from transferline.reporting.mass_plot import mass_drawings
from transferline.reporting.plots import metric_title
from transferline.reporting.pretraining_plots import (
    scaling,
    scaling_points,
    source_losses,
    sources_of,
)
from transferline.reporting.ranking import ranked, ranking_drawings
from transferline.reporting.run_plots import Losses
from transferline.reporting.small_multiples import learning_curves, loss_curves
from transferline.reporting.style import Label, words
from transferline.reporting.tagging_plots import tagging_drawings

_QUOTED = ("unweighted_rejection_90", "accuracy")

_SHOWN = 4
"""Pre-trainings whose attention a page shows."""


def page_figures(task: str, curves: Sequence[Sequence[Line]]) -> list[Drawing]:
    """Return the drawings of a task; `curves` are its learning curves, the headline one first.

    Where all has one number of labels there is no curve to draw: tables say the same. Where most
    have, they are ranked, and only the others have a curve.
    """
    label, lines = Label(task), curves[0]
    return [
        *_curve("learning-curve", f"Learning curve of {task}", label, lines),
        *head_to_head_drawings(quoted(curves), label),
        *ranking_drawings(quoted(curves), label),
        *_second(label, second_metric(curves[1:])),
        *tagging_drawings(lines, label),
        *mass_drawings(lines, label),
        *_scaling(label, lines),
        *_losses(label, lines),
        *_attention(label, lines),
    ]


def source_figures(study: str, records: Sequence[Record]) -> list[Drawing]:
    """Return the drawings of a study's pre-trainings, one per objective."""
    known = [source for source in sources_of(records) if source.losses is not None]
    joined = {name for record in records for name in record.pretraining.split(", ")}
    names = sorted(joined - {"none"})
    return [
        Drawing(
            f"pretraining-{objective}",
            f"Losses of pre-trainings ({words(objective)}), validation without augmentation; those "
            "of other answers or another share of them are not to be compared",
            partial(source_losses, list(group), Label(study), names),
        )
        for objective, group in groupby(known, key=lambda source: source.objective)
    ]


def _scaling(label: Label, lines: Sequence[Line]) -> list[Drawing]:
    """What more pre-training events bring, where the study has several numbers of them."""
    if not scaling_points(lines):
        return []
    caption = f"Fine-tuned networks by the number of pre-training events, {label.sample}"
    return [Drawing("scaling", caption, lambda: scaling(lines, label))]


def second_metric(curves: Sequence[Sequence[Line]]) -> Sequence[Line]:
    """Return the curves of the metric that publications of a task quote beside the area."""
    of_metric = {lines[0].metric: lines for lines in curves}
    return next((of_metric[name] for name in _QUOTED if name in of_metric), [])


def quoted(curves: Sequence[Sequence[Line]]) -> Sequence[Line]:
    """Return the curves that publications compare: of two classes the area, of several accuracy."""
    second = second_metric(curves)
    two_classes = "rejection_50" in curves[0][0].points[0].records[0].metrics
    return second if second and not (two_classes and second[0].metric == "accuracy") else curves[0]


def _second(label: Label, lines: Sequence[Line]) -> list[Drawing]:
    if not lines:
        return []
    caption = f"{metric_title(lines[0].metric)}: {label.sample}"
    return _curve(lines[0].metric.replace("_", "-"), caption, label, lines)


def _curve(stem: str, caption: str, label: Label, lines: Sequence[Line]) -> list[Drawing]:
    """The learning curve of those lines that have one, if they have several sizes."""
    curved = _curved(lines)
    if len({n for line in curved for n in line.n_train}) < 2:
        return []
    return [Drawing(stem, caption, lambda: learning_curves(curved, label, lines))]


def _curved(lines: Sequence[Line]) -> list[Line]:
    single = ranked(lines) is not None
    return [line for line in lines if not single or len(line.n_train) > 1]


def _losses(label: Label, lines: Sequence[Line]) -> list[Drawing]:
    """Over-training at one size, one seed: where most networks are, of several in the middle."""
    sizes = sorted({n for line in lines for n in line.n_train})
    told = {n: sum(n in line.n_train for line in lines if line.mode != "trees") for n in sizes}
    most = [n for n in sizes if told[n] == max(told.values())]
    n = most[len(most) // 2]
    series = [
        (line, losses)
        for line in lines
        for record in _at(line, n)[:1]
        if (losses := kept_losses(record)) is not None
    ]
    if not series:
        return []
    caption = f"Losses at {n} labelled events, one seed. Dots: the weights that are kept"
    return [Drawing(f"losses-{n}", caption, lambda: loss_curves(series, label, lines))]


def kept_losses(record: Record) -> Losses | None:
    """Return the losses that a Record holds, None if it holds none."""
    found: Any = record.extra.get("losses")
    if not found or not found["step"]:
        return None
    return Losses.of(found).kept_by(record)


def _attention(label: Label, lines: Sequence[Line]) -> list[Drawing]:
    """One drawing per pre-training whose backbone shows attention, at the size in the middle.

    Of many pre-trainings those with most runs.
    """
    drawings = []
    shown = {
        line.pretraining: sum(len(with_attention(point.records)) for point in line.points)
        for line in lines
        if line.mode == "finetuned"
    }
    most = sorted((name for name in shown if shown[name]), key=lambda name: -shown[name])[:_SHOWN]
    tuned = [line for line in lines if line.mode == "finetuned" and line.pretraining in most]
    for pretraining, group in groupby(tuned, key=lambda line: line.pretraining):
        of_sizes = {n: with_attention(_at(line, n)) for line in group for n in line.n_train}
        sizes = sorted(n for n, records in of_sizes.items() if records)
        if sizes:
            n = sizes[len(sizes) // 2]
            drawings.append(_one_attention(label, pretraining, n, of_sizes[n]))
    return drawings


def _one_attention(label: Label, name: str, n: int, records: list[Record]) -> Drawing:
    caption = (
        f"Attention by kind of object ({words(name)}, {n} labelled events), mean over blocks, "
        "heads and events; 1: no preference. Bars of spread: standard deviation between seeds; the "
        "source and the target before tuning are seen by one network, which has none"
    )
    return Drawing(f"attention-{name}", caption, lambda: attention(records, label))


def _at(line: Line, n: int) -> list[Record]:
    return [record for point in line.points if point.n_train == n for record in point.records]
