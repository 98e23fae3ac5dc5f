from __future__ import annotations

import pytest

from transferline.errors import ConfigError
from transferline.generate.catalogue import process
from transferline.generate.hard_filter import FILTERS, hard_filter
from transferline.generate.pythia import PythiaRun


def run(name, n=80):
    settings = (*process("ttbar").settings(0), "PartonLevel:all = off")
    run = PythiaRun(settings, 3, hard_filter(name))
    batches = list(run.batches(n))
    return run, batches


@pytest.mark.parametrize("name", FILTERS)
def test_every_event_tried_is_counted(name):
    made, batches = run(name)
    count = made.count
    assert sum(truth.n for truth in batches) == count.passed == 80
    assert count.tried >= count.passed
    assert count.sum_weight == pytest.approx(count.tried)
    assert (count.tried == count.passed) == (name == "none")


def test_cross_section_is_that_before_the_filter():
    unfiltered, error = run("none", 3000)[0].cross_section()
    filtered, filtered_error = run("lepton", 1500)[0].cross_section()
    assert filtered == pytest.approx(unfiltered, abs=4.0 * (error + filtered_error))


def test_unknown_filter():
    with pytest.raises(ConfigError, match="Did you mean 'lepton_jets'"):
        hard_filter("lepton_jet")
