"""Figure and table of weak supervision, from Records alone."""

from __future__ import annotations

from transferline.evaluation.measurement import Measurement
from transferline.reporting.result_tables import ALONE
from transferline.reporting.weak_supervision import (
    improvement,
    weak_curves,
    weak_drawing,
    weak_tables,
)

from ..evaluation.synthetic import record


def weak(mode, n_signal, seed, n_train=10000):
    """A run on a sample into which `n_signal` events were mixed."""
    values = {"sic_cut": 1.5, "sic_fpr1": 1.0 + n_signal / 500, "auc": 0.7, "auc_mixed": 0.55}
    metrics = {name: Measurement(value + 0.1 * seed, 0.02) for name, value in values.items()}
    found = {"weak": {"n_signal": n_signal}}
    return record(mode, n_train, seed, task=f"N = {n_signal}", metrics=metrics, extra=found)


def runs(seeds, modes=("scratch", "finetuned"), **keys):
    return [weak(mode, n, seed, **keys) for mode in modes for n in (0, 300) for seed in seeds]


def test_points_of_a_single_seed_are_open_and_said_to_lack_their_spread():
    for alone in (False, True):
        found = [r for r in runs(range(2)) if not (alone and (r.mode, r.seed) == ("scratch", 1))]
        by_size = weak_curves(found)
        [curves] = by_size.values()
        figure = improvement(curves)
        for axes in figure.axes:
            marked = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
            assert [len(line.get_xdata()) for line in marked] == ([2] if alone else [])
        titles = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert ("open: one seed" in titles) == alone
        [table] = weak_tables(by_size)
        assert table.note.endswith(ALONE) == alone


def test_runs_below_the_largest_size_have_a_table_and_are_named_below_the_figure():
    """A mode that was not run at the largest size would else be nowhere."""
    large = runs(range(2))
    drawing = weak_drawing(weak_curves(large), "toy")
    assert "at 10000 labelled events" in drawing.caption and "shown" not in drawing.caption
    both = weak_curves([*runs(range(2), ("finetuned", "trees"), n_train=1000), *large])
    caption = weak_drawing(both, "toy").caption
    assert "at 10000 labelled events" in caption
    assert caption.endswith("Not shown, see the tables: fine-tuned, 1000; boosted trees, 1000.")
    tables = weak_tables(both)
    assert [table.title for table in tables] == [
        f"Weak supervision at {n} labelled events" for n in (10000, 1000)
    ]
    assert [[row[0] for row in table.rows] for table in tables] == [
        ["fine-tuned"] * 2 + ["from scratch"] * 2,
        ["fine-tuned"] * 2 + ["boosted trees"] * 2,
    ]
