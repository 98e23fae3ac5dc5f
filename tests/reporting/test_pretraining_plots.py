"""What more pre-training events bring, and the losses of pre-trainings, from Records alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transferline.evaluation.learning_curve import learning_curve
from transferline.reporting.page_figures import page_figures, source_figures
from transferline.reporting.pretext_table import of_records
from transferline.reporting.pretraining_plots import (
    scaling,
    scaling_points,
    source_losses,
    source_of,
    sources_of,
    told_once,
)
from transferline.reporting.style import Label, look, of_pretraining

from ..evaluation.synthetic import curve, log_line

SIZES = (300, 1000)
LOSSES = {"step": [1.0, 2.0], "train": [None, 0.5], "valid": [0.7, 0.6]}
# Name -> events, family.
PRETRAININGS = {"ten": (10, "a"), "hundred": (100, "a"), "plain": (100, "b")}


def told(record, **facts):
    return record.model_copy(update={"extra": {**record.extra, "pretraining": facts}})


@pytest.fixture(scope="module")
def found():
    records = curve("scratch", SIZES, range(2), log_line, pretraining="hundred")
    for name, (events, family) in PRETRAININGS.items():
        sizes = SIZES if name != "ten" else SIZES[:1]
        made = curve("finetuned", sizes, range(2), log_line, pretraining=name)
        records += [told(r, events=events, family=family, losses=LOSSES) for r in made]
    return records


def test_sizes_of_one_family_are_set_side_by_side(found):
    series = scaling_points(learning_curve(found))
    assert list(series) == [300]  # the only size that both have
    assert [events for events, _ in series[300]] == [10, 100]
    assert all(len(point.values) == 2 for _, point in series[300])


def test_one_size_alone_does_not_scale(found):
    alone = [record for record in found if record.pretraining != "ten"]
    assert scaling_points(learning_curve(alone)) == {}
    assert "scaling" not in [d.stem for d in page_figures("ttH", [learning_curve(alone)])]


def test_the_drawing_has_its_scratch(found):
    lines = learning_curve(found)
    [axes] = scaling(lines).axes
    scratch = next(line for line in lines if line.mode == "scratch")
    levels = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert scratch.points[0].value in levels
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "300 labelled events", "from scratch"]  # fmt: skip
    assert "scaling" in [drawing.stem for drawing in page_figures("ttH", [lines])]


def test_losses_have_a_panel_per_number_of_events(found):
    sources = sources_of(found)
    assert [source.name for source in sources] == ["ten", "hundred", "plain"]
    assert np.isnan(sources[0].losses.train[0])
    figure = source_losses(sources)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["10 events", "100 events"]
    assert [len(axes.get_legend().get_texts()) for axes in figure.axes] == [1, 2]
    [drawing] = source_figures("toy", found)
    assert drawing.stem.startswith("pretraining-")


def test_many_pretrainings_have_a_panel_each_before_the_others(found):
    [first, *_] = sources_of(found)
    many = [replace(first, name=f"p{number}") for number in range(9)]
    figure = source_losses(many)
    assert [axes.texts[-1].get_text() for axes in figure.axes] == [
        f"p{number}\n10 events" for number in range(9)
    ]
    for axes in figure.axes:
        *others, valid, train = axes.get_lines()
        assert len(others) == 8 and valid.get_color() == train.get_color()
        assert {line.get_color() for line in others} == {"#C8C8C8"}


def test_a_colour_that_is_used_again_in_a_panel_has_a_marker(found):
    [first, *_] = sources_of(found)
    names = [f"p{number}" for number in range(9)]
    for shown, marked in ((("p0", "p1"), False), (("p0", "p7"), True)):
        figure = source_losses([replace(first, name=name) for name in shown], Label(), names)
        lines = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "-"]
        assert len({(line.get_color(), line.get_marker()) for line in lines}) == 2
        assert all((line.get_marker() != "None") == marked for line in lines)


def test_a_pretraining_has_the_colour_that_it_has_beside_others(found):
    [ten, hundred, _] = sources_of(found)
    twins = replace(hundred, name="hundred, plain")
    for shown, name in ((hundred, "hundred"), (twins, "hundred, plain")):
        figure = source_losses([ten, shown], Label(), ("aa", "hundred", "ten"))
        drawn = {line.get_label(): line.get_color() for line in figure.axes[1].get_lines()}
        assert drawn[name] == of_pretraining(look("finetuned"), 1).colour


def test_variants_that_share_a_pretraining_are_one_line(found):
    twins = [r.model_copy(update={"pretraining": "again"}) for r in found if r.pretraining == "ten"]
    names = [source.name for source in sources_of(told_once([*found, *twins]))]
    assert names == ["again, ten", "hundred", "plain"]


@pytest.mark.parametrize("ordered", [1, -1])
def test_a_name_that_stands_for_two_pretrainings_has_a_row_for_each(found, ordered):
    """Such as one that was made anew, while another study's name means the new one, too."""
    plain = [r for r in found if r.pretraining == "plain"]
    older = [told(r, events=100, family="a", losses=LOSSES) for r in plain]
    twins = [r.model_copy(update={"pretraining": "twin"}) for r in plain]
    mixed = [
        r.model_copy(update={"extra": {**r.extra, "pretext": {"loss": loss}}})
        for group, loss in ((plain, 2.0), (older, 1.0), (twins, 2.0))
        for r in group
    ]
    [scratch, *_] = [r for r in found if r.mode == "scratch"]
    silent = scratch.model_copy(update={"pretraining": "plain"})  # which of both it does not tell
    renamed = told_once([*mixed, silent][::ordered])
    assert of_records(renamed) == {"plain": {"loss": 1.0}, "plain, twin": {"loss": 2.0}}
    assert renamed[::ordered][-1].pretraining == "plain"
    drawn = source_losses(sources_of(renamed)).axes[0].get_lines()
    assert len({line.get_color() for line in drawn if line.get_linestyle() == "-"}) == 2


def test_pretrainings_with_other_shares_of_labels_are_two(found):
    """As Records told which files have labels only by the names of the classes."""
    plain = [r for r in found if r.pretraining == "plain"]
    made = [
        told(r.model_copy(update={"pretraining": name}), events=100, family="b", labels=labels)
        for name, labels in (("few", 10), ("many", 90), ("again", 90))
        for r in plain
    ]
    assert {r.pretraining for r in told_once(made)} == {"few", "again, many"}


@pytest.mark.parametrize("labelled", [("x",), ("x", "y")])
def test_an_older_record_is_of_the_only_pretraining_that_it_can_be(found, labelled):
    """It does not tell which events had labels; a study that is continued has newer ones, too."""
    plain = [r for r in found if r.pretraining == "plain"]
    older = [told(r, events=100, family="b", labels=10) for r in plain]
    newer = [
        told(
            r.model_copy(update={"pretraining": f"new_{one}"}),
            events=100,
            family="b",
            labels=10,
            labelled=one,
        )
        for one in labelled
        for r in plain
    ]
    names = {r.pretraining for r in told_once([*older, *newer])}
    assert names == ({"new_x, plain"} if len(labelled) == 1 else {"plain", "new_x", "new_y"})


def test_records_of_older_versions_tell_nothing(found):
    assert source_of(found[0]) is None
    assert source_figures("toy", found[:2]) == []
