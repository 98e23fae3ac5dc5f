"""Figure and table of weak supervision, from Records alone."""

from __future__ import annotations

from transferline.evaluation.measurement import Measurement
from transferline.reporting.result_tables import ALONE
from transferline.reporting.weak_supervision import improvement, weak_curves, weak_table

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
        curves = weak_curves(found)
        figure = improvement(curves)
        for axes in figure.axes:
            marked = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
            assert [len(line.get_xdata()) for line in marked] == ([2] if alone else [])
        titles = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert ("open: one seed" in titles) == alone
        assert weak_table(curves).note.endswith(ALONE) == alone
