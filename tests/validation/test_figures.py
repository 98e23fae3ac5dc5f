"""Figures of validation pages."""

from __future__ import annotations

from transferline.evaluation.measurement import Measurement
from transferline.reporting.style import Label
from transferline.validation.figures import Profile, profiles


def test_what_is_expected_is_told_from_the_bars_across_bins():
    measured = [Measurement(0.9, 0.01), Measurement(0.8, 0.01)]
    rows = [Profile(name, [20, 50, 100], measured, [0.9, 0.8]) for name in ("barrel", "endcap")]
    [axes] = profiles(rows, "pT (GeV)", "Efficiency", Label("ttbar")).axes
    bars = {tuple(c.get_edgecolor()[0]) for c in axes.collections}
    steps = axes.patches
    assert len(steps) == 2 and len({step.get_edgecolor() for step in steps}) == 2
    assert not {step.get_edgecolor() for step in steps} & bars
    assert all(step.get_linestyle() != "solid" for step in steps)
    assert "dashed: expected" in [text.get_text() for text in axes.get_legend().get_texts()]
