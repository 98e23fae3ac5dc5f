from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from transferline.evaluation.learning_curve import learning_curve
from transferline.reporting.head_to_head import compared, head_to_head_drawings
from transferline.reporting.page_figures import page_figures, quoted
from transferline.reporting.plots import value_axis
from transferline.reporting.style import Label, look, new_figure

from ..evaluation.synthetic import record

NAMES = ("contrastive", "jepa", "next_token", "supervised")


def lines(names=NAMES, told=True):
    made = [record("scratch", n_train=n, seed=s) for n in (100, 1000) for s in (0, 1)]
    for name in names:
        labels = 76_000 if name == "supervised" else 0
        cost = {"passes": 1000, "cpu_seconds": 360.0, "labels": labels}
        facts = {"events": 1, "family": "f", **(cost if told else {})}
        extra = {"pretraining": facts}
        made += [
            record("finetuned", n_train=n, seed=seed, pretraining=name, extra=extra)
            for n in (100, 1000)
            for seed in (0, 1)
        ]
    return learning_curve(made, "auc")


def test_one_panel_holds_every_pretraining_with_its_cost():
    [drawing] = head_to_head_drawings(lines(), Label("ten classes"))
    figure = drawing.make()
    titles = [text.get_text() for text in figure.legends[0].get_texts()]
    assert titles[0] == "from scratch"
    assert titles[1:4] == [f"{name.replace('_', ' ')}\n0.10 CPU h" for name in NAMES[:3]]
    assert titles[4] == "supervised\n0.10 CPU h, 76,000 labels"
    assert "head-to-head" in [found.stem for found in page_figures("ten classes", [lines()])]


def test_a_single_point_tells_which_line_it_is_of():
    names = [f"p{number}" for number in range(20)]
    own = [line for line in lines(names) if line.mode == "finetuned"]
    [scratch] = [line for line in lines() if line.mode == "scratch"]
    references = [replace(scratch, pretraining=name) for name in ("a", "b", "c")]
    [drawing] = head_to_head_drawings([*references, *own], Label("ten classes"))
    figure = drawing.make()
    [axes] = figure.axes
    drawn = [bars.lines[0] for bars in axes.containers]
    assert len(drawn) == 23
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 23
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert legend.y0 >= 0, "the last entries are beyond the figure"


def test_the_legend_has_the_order_of_the_values_and_points_stand_apart():
    found = lines()
    for line, value in zip(found, (0.6, 0.5, 0.9, 0.7, 0.8), strict=True):
        for point in line.points:
            for seed in point.values:
                point.values[seed] = value + 0.001 * seed
    [drawing] = head_to_head_drawings(found, Label("ten classes"))
    assert "at 1,000 labelled events" in drawing.caption
    figure = drawing.make()
    titles = [text.get_text().partition("\n")[0] for text in figure.legends[0].get_texts()]
    assert titles == ["jepa", "supervised", "next token", "from scratch", "contrastive"]
    places = sorted(bars.lines[0].get_xdata()[0] for bars in figure.axes[0].containers)
    assert min(b / a for a, b in pairwise(places)) > 1.05
    assert math.prod(places) == pytest.approx(100.0**5)


def test_references_look_as_everywhere_else():
    figure = head_to_head_drawings(lines(), Label("ten classes"))[0].make()
    [scratch] = [b for b in figure.axes[0].containers if b.get_label() == "from scratch"]
    assert scratch.lines[0].get_color() == look("scratch").colour


def test_few_pretrainings_or_unknown_costs_are_not_compared():
    assert not compared(lines(NAMES[:3]))
    assert not compared(lines(told=False))
    assert not head_to_head_drawings(lines(told=False), Label("ten classes"))


@pytest.mark.parametrize(
    ("rejection", "shown"), [("rejection_50", "auc"), ("rejection_50_Hbb", "accuracy")]
)
def test_two_classes_are_compared_by_area_and_several_by_accuracy(rejection, shown):
    area = lines()
    for line in area:
        for point in line.points:
            for one in point.records:
                one.metrics[rejection] = one.metrics["auc"]
    accuracy = [replace(line, metric="accuracy") for line in area]
    assert {line.metric for line in quoted([area, accuracy])} == {shown}


def test_where_rejections_are_quoted_they_are_drawn_on_axes_of_factors():
    rejections = [replace(line, metric="unweighted_rejection_90") for line in lines()]
    drawings = {d.stem: d for d in page_figures("hh", [lines(), rejections])}
    assert list(drawings)[1:3] == ["head-to-head", "unweighted-rejection-90"]
    _, [axes] = new_figure(Label("hh"))
    for values, scale in (((90, 170), "linear"), ((2, 170), "log")):
        axes.clear()
        axes.plot(values)
        value_axis(axes, "unweighted_rejection_90")
        assert axes.get_yscale() == scale
    assert "accuracy" not in drawings
