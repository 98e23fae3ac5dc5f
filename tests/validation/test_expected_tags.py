"""Weighting by the probability of tags expects what tags drawn at random give on average."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from transferline.cli import run
from transferline.data.selections import selection
from transferline.errors import ConfigError, DataError
from transferline.validation.expected_tags import ExpectedTags, draw_until_one
from transferline.validation.file_spectra import NamedFile, read_spectra

from ..generated_events import SIGNAL, root_file

CUTS = selection("l1_j4_b1")


def test_tags_are_drawn_until_there_is_one():
    n, p = 40_000, np.array([0.02, 0.3, 0.6])
    event = np.repeat(np.arange(n), 3)
    drawn = draw_until_one(np.tile(p, n), event, np.random.default_rng(1)).reshape(n, 3)
    assert (drawn.sum(axis=1) > 0).all()
    expected = p / (1.0 - np.prod(1.0 - p))
    assert np.all(np.abs(drawn.mean(axis=0) - expected) < 4.5 * np.sqrt(expected / n))


def test_the_rate_is_that_of_the_tags_of_the_file():
    files = [NamedFile("tags", str(root_file(SIGNAL)))]
    (drawn,) = read_spectra(files, truth=True, cuts=CUTS)
    (found,) = read_spectra(files, truth=True, cuts=CUTS, expected="tags")
    assert found.selected > drawn.selected
    # The same events: only the tags differ, so this is less than the errors are.
    assert found.rate.value == pytest.approx(drawn.rate.value, abs=3.0 * drawn.rate.error)
    assert found.effective > drawn.effective
    tags = found.histograms["n_b_tags"]
    assert tags.content[0] == 0.0
    error = np.hypot(tags.mean().error, drawn.histograms["n_b_tags"].mean().error)
    assert abs(tags.mean().value - drawn.histograms["n_b_tags"].mean().value) < 3.0 * error


def test_only_files_that_tags_did_not_select_can_be_weighted():
    source = read_spectra([NamedFile("a", str(root_file(SIGNAL)))], truth=True)[0].source
    with pytest.raises(ConfigError, match="one b tag"):
        ExpectedTags.of(source, selection("l1_j4_b2"))
    for changes, words in (
        ({"filter": {"name": "tagged_jets", "tag": {}}}, "by their tags"),
        ({"card_hash": "0"}, "detector card"),
    ):
        other = SimpleNamespace(path="x.root", provenance=source.provenance | changes)
        with pytest.raises(DataError, match=words):
            ExpectedTags.of(other, CUTS)
    with pytest.raises(DataError, match="detector card"):
        ExpectedTags.of(SimpleNamespace(path="x.root", provenance=None), CUTS)


def test_a_file_that_is_not_there_is_told(tmp_path, capsys):
    words = ["validate", "spectra", f"plain={root_file(SIGNAL)}", "--out", str(tmp_path / "x.md")]
    assert run([*words, "--selection", "l1_j4_b1", "--expected-tags", "plane"]) == 2
    assert "plain" in capsys.readouterr().err
    assert run([*words, "--expected-tags", "plain"]) == 2
    assert "selection" in capsys.readouterr().err
