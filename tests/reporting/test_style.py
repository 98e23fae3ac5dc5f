from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import pytest

from transferline.evaluation.learning_curve import learning_curve
from transferline.reporting import plots
from transferline.reporting.style import (
    Label,
    legend_with_room,
    look,
    new_figure,
    of_pretraining,
    save,
    styled,
)

from ..evaluation.synthetic import curve, log_line

MODES = ("scratch", "frozen", "finetuned", "trees")


def one_curve():
    records = curve("scratch", (100, 1000), range(2), log_line)
    records += curve("finetuned", (100, 1000), range(2), lambda n: log_line(n, 3))
    return learning_curve(records)


def test_every_mode_has_its_own_colour_and_marker():
    found = [look(mode) for mode in MODES]
    assert len({style.colour for style in found}) == len({style.marker for style in found}) == 4
    assert look("probe").colour not in {style.colour for style in found}


def test_variants_share_the_colour_family_but_not_the_line():
    first, second = (look("frozen", name, ("none", "a", "b")) for name in ("a", "b"))
    assert first.colour == look("frozen").colour != second.colour
    assert first.dashes != second.dashes
    assert (first.title, second.title) == ("frozen backbone, a", "frozen backbone, b")


def test_sixteen_variants_of_a_mode_are_told_apart():
    names = [f"p{number:02}" for number in range(16)]
    found = [look("frozen", name, names) for name in names]
    assert len({(style.colour, style.dashes) for style in found}) == 16


def test_a_variant_looks_the_same_in_whatever_order_they_are_given():
    assert look("frozen", "b", ("a", "b")) == look("frozen", "b", ("b", "none", "a"))


def test_pretrainings_are_told_apart_and_have_no_colour_of_what_they_are_compared_with():
    found = [of_pretraining(look("finetuned"), number) for number in range(32)]
    assert len({(style.colour, style.marker) for style in found}) == 32
    assert len({(style.colour, style.dashes) for style in found}) == 32
    assert not {style.colour for style in found} & {look(m).colour for m in ("trees", "scratch")}


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("entries", [3, 20])
def test_the_room_of_the_legend_has_no_ticks(scale, entries):
    with styled():
        figure, (axes,) = new_figure(Label("ttH"), (1.0,))
        for i in range(entries):
            axes.plot([1, 2], [0.011, 0.99], label=str(i))
        axes.set_yscale(scale)
        low, high = axes.get_ylim()
        legend_with_room(axes)
        figure.canvas.draw()
    major, minor = axes.get_yticks(), axes.get_yticks(minor=True)
    assert low <= min(*major, *minor) and max(*major, *minor) <= high < axes.get_ylim()[1]
    assert len(major) >= (3 if scale == "linear" else 2) and len(minor) > 3
    assert all(label.get_text() for label in axes.get_yticklabels())


def test_pictures_are_whole_and_the_same_every_time(tmp_path):
    first = save(plots.learning_curve(one_curve()), tmp_path / "a" / "curve.v1")
    second = save(plots.learning_curve(one_curve()), tmp_path / "b" / "curve.v1")
    assert [path.name for path in first] == ["curve.v1.png", "curve.v1.pdf"]
    assert first[0].read_bytes()[:4] == b"\x89PNG"
    assert first[1].read_bytes()[:5] == b"%PDF-"
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert len(list((tmp_path / "a").iterdir())) == 2  # no temporary file is left


def test_plots_in_threads_leave_the_users_settings_alone(tmp_path):
    before = dict(matplotlib.rcParams)

    def draw(number):
        return save(plots.learning_curve(one_curve()), tmp_path / str(number), ("png",))[0]

    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(draw, range(4)))
    assert len({path.read_bytes() for path in pictures}) == 1
    assert dict(matplotlib.rcParams) == before
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


@pytest.mark.parametrize("sample", ["ttH", "charged_Higgs_to_tb_and_everything_else " * 2])
def test_the_labels_above_a_plot_do_not_meet(sample):
    with styled():
        figure, [axes] = new_figure(Label(sample))
        axes.plot([0, 1], [0, 1])
        figure.draw_without_rendering()
        name, kind, right = (text.get_window_extent() for text in axes.texts)
    assert name.x1 < kind.x0
    assert kind.x1 < right.x0
    assert right.x1 <= figure.bbox.x1
    assert "13 TeV" in axes.texts[2].get_text()
