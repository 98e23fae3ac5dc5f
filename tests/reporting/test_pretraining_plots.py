"""What more pre-training events bring, and the losses of pre-trainings, from Records alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transferline.evaluation.learning_curve import learning_curve
from transferline.reporting.page_figures import page_figures, source_figures
from transferline.reporting.pretraining_plots import (
    scaling,
    scaling_points,
    source_losses,
    source_of,
    sources_of,
    told_once,
)

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


def test_many_names_stand_beside_the_panels(found):
    [first, *_] = sources_of(found)
    figure = source_losses([replace(first, name=f"p{number}") for number in range(9)])
    assert not any(axes.get_legend() for axes in figure.axes)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"p{number}" for number in range(9)]


def test_variants_that_share_a_pretraining_are_one_line(found):
    twins = [r.model_copy(update={"pretraining": "again"}) for r in found if r.pretraining == "ten"]
    names = [source.name for source in sources_of(told_once([*found, *twins]))]
    assert names == ["again, ten", "hundred", "plain"]


def test_records_of_older_versions_tell_nothing(found):
    assert source_of(found[0]) is None
    assert source_figures("toy", found[:2]) == []
