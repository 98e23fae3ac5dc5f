"""Spectra of jets before and after a tokenizer."""

from __future__ import annotations

import numpy as np

from transferline.reporting.tokenizer_plots import spectrum

BINS = np.linspace(0.0, 4.0, 5)


def drawn(before, after):
    figure = spectrum(np.repeat(BINS[:-1] + 0.5, before), np.repeat(BINS[:-1] + 0.5, after), BINS,
                      "Mass [GeV]")  # fmt: skip
    top, below = figure.axes
    points = {line.get_marker(): list(line.get_xdata()) for line in below.get_lines()}
    return top, below, points


def test_a_ratio_beyond_its_axis_is_an_arrow_and_no_point():
    _, below, points = drawn([100, 100, 100, 0], [100, 1, 5000, 7])
    low, high = below.get_ylim()
    assert below.get_yscale() == "log" and low * high == 1.0
    assert points["o"] == [0.5]
    assert points["v"] == [1.5] and points["^"] == [2.5, 3.5]


def test_ratios_near_one_have_a_close_axis():
    _, below, points = drawn([100] * 4, [100, 90, 110, 150])
    assert below.get_ylim() == (0.5, 2.0)
    assert points["v"] == points["^"] == []


def test_the_figure_says_which_bins_hold_more():
    inside = np.array([0.5, 1.5])
    for far, said in (
        ([], ""),
        ([9.0], "last bin: with overflow"),
        ([-1.0, 9.0], "first bin: with underflow\nlast bin: with overflow"),
    ):
        figure = spectrum(inside, np.append(inside, far), BINS, "Mass [GeV]")
        assert figure.axes[0].get_legend().get_title().get_text() == said
