from __future__ import annotations

import numpy as np
import pytest

from transferline.data.cutflow import Cutflow, Step
from transferline.errors import DataError
from transferline.evaluation.data_efficiency import Factor
from transferline.evaluation.learning_curve import learning_curve
from transferline.evaluation.roc import roc_curve
from transferline.evaluation.roc_band import RocBand
from transferline.reporting import plots, run_plots
from transferline.reporting.run_plots import Losses, Scores
from transferline.reporting.sample_tables import cut_flow
from transferline.reporting.study_directory import Sample
from transferline.reporting.style import Label, look

from ..evaluation.synthetic import curve, log_line, record, separated_scores

SIZES = (300, 1000, 3000)


def lines():
    records = []
    for mode, worth in (("scratch", 1), ("finetuned", 5), ("trees", 0.5)):
        records += curve(mode, SIZES, range(5), lambda n, worth=worth: log_line(n, worth))
    return learning_curve(records + curve("finetuned", (10000,), [0], log_line))


def titles(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def assert_labelled(figure):
    """Every panel has a y label, the lowest an x label, and the mark of the project is there."""
    panels = figure.axes
    assert all(axes.get_ylabel() for axes in panels)
    assert panels[-1].get_xlabel()
    texts = [text.get_text() for text in panels[0].texts]
    assert texts[:2] == ["transferline", "Simulation"]
    figure.draw_without_rendering()


def scores(seed, n=2000, distance=1.5, negative=0.1):
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 2
    weight = np.where(rng.random(n) < negative, -1.0, 1.0)
    return Scores(separated_scores(rng, target, distance), target == 1, weight)


def test_learning_curve_has_both_panels():
    figure = plots.learning_curve(lines(), Label("ttH"))
    assert_labelled(figure)
    top, bottom = figure.axes
    assert top.get_ylabel() == "AUC"
    assert "all classes together" in bottom.get_xlabel()
    assert "scratch" in bottom.get_ylabel()
    assert bottom.get_xscale() == "log"
    assert titles(top) == ["boosted trees", "from scratch", "fine-tuned", "open: one seed"]
    assert [text.get_text() for text in bottom.get_xticklabels()] == ["300", "1k", "3k", "10k"]


@pytest.mark.parametrize("letters", [12, 40, 70])
def test_the_legend_of_long_names_stays_inside(letters):
    names = ["first", "x" * letters]
    records = [
        record.model_copy(update={"pretraining": name})
        for name in names
        for record in curve("finetuned", SIZES, range(5), log_line)
    ]
    figure = plots.learning_curve(learning_curve(records))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    legend, panel = axes.get_legend().get_window_extent(), axes.get_window_extent()
    assert panel.x0 <= legend.x0
    assert legend.x1 <= panel.x1


def test_the_legend_stands_above_every_curve():
    figure = plots.learning_curve(lines())
    figure.draw_without_rendering()
    top = figure.axes[0]
    legend = top.get_legend().get_window_extent()
    highest = max(p.value + p.error for line in lines() for p in line.points)
    assert top.transData.transform((1, highest))[1] < legend.y0


def test_learning_curve_without_scratch_has_one_panel():
    figure = plots.learning_curve([line for line in lines() if line.mode == "trees"])
    assert_labelled(figure)
    assert len(figure.axes) == 1


def test_data_efficiency_shows_values_and_bounds():
    factors = [
        Factor(300, 5.0, 4.0, 6.0, ""),
        Factor(1000, 3.0, 2.0, np.inf, ""),
        Factor(3000, 1.0, 0.9, np.inf, "at least"),
        Factor(10000, 0.1, 0.0, 0.2, "at most"),
    ]
    figure = plots.data_efficiency_factor({"x": (look("finetuned"), factors)}, Label())
    assert_labelled(figure)
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert len([text for text in axes.texts if text.arrow_patch]) == 3


def test_roc_band_spans_the_seeds():
    rocs = [roc_curve(*vars(scores(seed, negative=0.0)).values()) for seed in range(4)]
    band = RocBand.of(rocs)
    single = RocBand.of(rocs[:1])
    assert (band.low < band.high).mean() > 0.9
    assert (single.low == single.high).all()
    assert (np.diff(band.rejection) <= 0).all()
    assert 1.0 <= band.rejection[-1] < 1.2  # the last signal event lies above some background
    half = int(np.argmin(np.abs(single.signal - 0.5)))
    assert single.rejection[half] == pytest.approx(1 / rocs[0].background_at(0.5))
    figure = run_plots.roc([(look("scratch"), band)])
    assert_labelled(figure)
    assert figure.axes[0].get_yscale() == "log"
    assert titles(figure.axes[0]) == ["from scratch", "random"]


def test_scores_show_overtraining_as_a_small_p_value():
    honest = run_plots.score_distributions(scores(0), scores(1, negative=0.0))
    assert_labelled(honest)
    assert "signal, test" in titles(honest.axes[0])
    assert not any("< 0.001" in title for title in titles(honest.axes[0]))
    overtrained = run_plots.score_distributions(scores(0), scores(1, distance=4.0))
    assert sum("KS p < 0.001" in title for title in titles(overtrained.axes[0])) == 2


def test_scores_of_one_class_are_refused():
    one = scores(0)
    only = Scores(one.score, np.ones_like(one.is_signal), one.weight)
    with pytest.raises(DataError, match="no scores"):
        run_plots.score_distributions(one, only)


def test_losses_may_lack_validation():
    step = np.arange(0.0, 50.0, 10.0)
    falling = 1 / (1 + step)
    full = Losses(step, falling, falling + 0.1)
    bare = Losses(step, falling, np.full(5, np.nan))
    figure = run_plots.loss_curves([(look("scratch"), full), (look("frozen"), bare)])
    assert_labelled(figure)
    assert titles(figure.axes[0]) == ["from scratch", "frozen backbone (training)"]


def test_cut_flow_lists_every_step_and_survives_zero_and_negative_sums():
    samples = {
        "ttH": [("all", 10.0), ("trigger", 5.0), ("at least four jets and two b jets", 1.0)],
        "ttbar": [("all", 1000.0), ("trigger", 0.0), ("unknown", -3.0)],
    }
    figure = run_plots.cut_flow(samples)
    axes = figure.axes[0]
    axes.set_ylabel("")  # the steps name themselves
    figure.draw_without_rendering()
    assert axes.get_xlabel()
    assert [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()] == [
        step for step, _ in samples["ttH"]
    ]


@pytest.mark.parametrize(("best", "marked"), [(None, 10.0), (40, 40.0), (29, 30.0)], ids=str)
def test_the_dot_is_at_the_weights_that_are_kept(best, marked):
    """Not at the lowest loss where the last weights are kept, nor at a step without validation."""
    losses = Losses(np.arange(0.0, 50.0, 10.0), np.ones(5), np.array([3.0, 1.0, np.nan, 2.0, 4.0]))
    told = record(extra={} if best is None else {"best_step": best})
    axes = run_plots.loss_curves([(look("scratch"), losses.kept_by(told))]).axes[0]
    [dot] = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert dot.get_xdata() == [marked]


def test_samples_of_one_label_have_a_cut_flow_each():
    made = [
        Sample(name, "ttbar", {}, Cutflow((Step("all", 9, 9.0, 9.0), Step("cut", 3, left, left))))
        for name, left in (("ttbar_2016", 3.0), ("ttbar_2018", 1.0))
    ]
    lone = Sample("ttH_2016", "ttH", {}, made[0].cutflow)
    axes = cut_flow([*made, lone]).make().axes[0]
    drawn = [str(line.get_label()) for line in axes.get_lines()]
    assert drawn == ["ttbar (ttbar_2016)", "ttbar (ttbar_2018)", "ttH"]
