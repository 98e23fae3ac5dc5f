from __future__ import annotations

import numpy as np
import pytest

from transferline.evaluation.learning_curve import learning_curve
from transferline.reporting import small_multiples
from transferline.reporting.plots import looks
from transferline.reporting.result_tables import metric_table
from transferline.reporting.run_plots import Losses
from transferline.reporting.style import Label, look, markers_needed

from ..evaluation.synthetic import curve, log_line

SIZES = (300, 1000, 3000)
NAMES = ("gat", "gnn", "wide_one", "other")


def lines(names=NAMES):
    records = curve("trees", SIZES, range(2), log_line)
    for name in names:
        for mode in ("scratch", "frozen", "finetuned"):
            records += curve(mode, SIZES, range(2), log_line, pretraining=name)
    return learning_curve(records)


def series(names=NAMES):
    steps = np.arange(5.0)
    losses = Losses(steps, 1 / (1 + steps), 1 / (1 + steps) + 0.1)
    return [(line, losses) for line in lines(names) if line.mode != "trees"]


@pytest.mark.parametrize(
    ("draw", "data", "modes"),
    [
        (small_multiples.learning_curves, lines, 4),
        (small_multiples.loss_curves, series, 3),
    ],
)
def test_many_lines_get_a_panel_per_pretraining(draw, data, modes):
    figure = draw(data(), Label("ttH"))
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert set(panels) == {"gat", "gnn", "wide one", "other"}
    assert all(len(axes.get_legend_handles_labels()[1]) == modes for axes in panels.values())
    [legend] = figure.legends
    assert len(legend.get_texts()) == modes  # each mode once
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["transferline", "Simulation", "", "ttH (13 TeV)"]
    figure.draw_without_rendering()
    assert len(draw(data(NAMES[:2]), Label("ttH")).axes) < 4  # few lines stay together


def test_short_trainings_beside_long_ones_are_seen():
    steps = np.array([10.0, 20, 90])
    long, short = Losses(steps, steps, steps), Losses(steps[:1], steps[:1], steps[:1])
    mixed = [(line, long if line.mode == "frozen" else short) for line, _ in series()]
    for data, scale in ((series(), "linear"), (mixed, "log")):
        alone = [pair for pair in data if pair[0].pretraining == "gat"]
        for shown, panels in ((data, len(NAMES)), (alone, 1)):
            figure = small_multiples.loss_curves(shown, Label("ttH"))
            assert len(figure.axes) >= panels
            assert {axes.get_xscale() for axes in figure.axes} == {scale}


def test_each_panel_is_set_beside_its_own_scratch():
    groups = small_multiples.by_pretraining(lines())
    assert list(groups) == sorted(NAMES)
    for name, members in groups.items():
        assert {line.pretraining for line in members if line.mode != "trees"} == {name}
        assert {line.mode for line in members} == {"trees", "scratch", "frozen", "finetuned"}


def test_variants_of_one_mode_have_colours_of_their_own():
    scratch = [line for line in lines() if line.mode == "scratch"]
    assert len({style.colour for style in looks(scratch)}) == len(NAMES)
    few = lines(NAMES[:3])
    together = dict(zip(((x.mode, x.pretraining) for x in few), looks(few), strict=True))
    assert together["finetuned", "gat"].colour == look("finetuned").colour


def test_many_pretrainings_have_colours_of_their_own_and_modes_dashes():
    names = [f"p{number:02}" for number in range(9)]
    every = lines(names)
    found = dict(zip(((x.mode, x.pretraining) for x in every), looks(every), strict=True))
    one = {mode: found[mode, "p03"] for mode in ("scratch", "frozen", "finetuned")}
    assert one["frozen"].colour == one["finetuned"].colour != one["scratch"].colour
    assert one["frozen"].marker == one["finetuned"].marker
    assert one["frozen"].dashes != one["finetuned"].dashes
    for mode in ("frozen", "finetuned"):
        own = [style for (of, _), style in found.items() if of == mode]
        assert len({(style.colour, style.marker) for style in own}) == 9
        assert markers_needed(own) and not markers_needed(own[:3])


def test_a_line_looks_the_same_whatever_else_is_drawn():
    trees, *scratch = [line for line in lines() if line.mode in ("trees", "scratch")]
    for every in (lines(), [trees, *scratch]):
        whole = dict(zip(map(id, every), looks(every), strict=True))
        some = [every[0], every[3]]
        assert looks(some, every) == [whole[id(line)] for line in some]
        assert whole[id(every[0])].colour == look("trees").colour


def test_scratch_is_plain_where_there_is_one():
    every = [line for line in lines() if line.mode != "scratch" or line.pretraining == "other"]
    found = dict(zip(((x.mode, x.pretraining) for x in every), looks(every), strict=True))
    assert found["scratch", "other"].colour == look("scratch").colour
    assert found["scratch", "other"].dashes == "-"
    assert found["scratch", "other"].title == "from scratch, other"


def test_losses_have_the_colours_of_all_lines_of_the_task():
    trees, *scratch = [line for line in lines() if line.mode in ("trees", "scratch")]
    kept = [pair for pair in series() if pair[0].mode == "scratch"]
    figure = small_multiples.loss_curves(kept[1:], Label("ttH"), [trees, *scratch])
    drawn = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
    for style in looks([trees, *scratch])[2:]:
        assert drawn[style.title] == style.colour


def test_tables_of_many_lines_have_a_row_for_each():
    wide, few = metric_table(lines()), metric_table(lines(NAMES[:1]))
    assert wide.header == ("Labelled events", "300", "1000", "3000") and len(wide.rows) == 13
    assert few.header[1] == "boosted trees" and len(few.rows) == 3
    assert {row[0]: row[1] for row in wide.rows}["boosted trees"] == few.rows[0][1]


def test_a_reference_that_nothing_is_compared_with_is_drawn_by_itself():
    alone = learning_curve(curve("scratch", [3000], [0], log_line, pretraining="ParT"))
    groups = small_multiples.by_pretraining([*lines(), *alone])
    assert set(groups) == {*NAMES, "ParT"}
    assert [line.mode for line in groups["ParT"]] == ["trees", "scratch"]
