from __future__ import annotations

from dataclasses import replace

import pytest

from transferline.errors import ConfigError, DataError
from transferline.generate import veto
from transferline.generate.catalogue import process
from transferline.generate.hard_filter import FILTERS, hard_filter
from transferline.generate.pythia import PythiaRun, import_pythia

from .conftest import make


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
    # Without a shower there is nothing that `four_jets` could look at.
    assert (count.tried == count.passed) == (name in ("none", "four_jets"))


def test_cross_section_is_that_before_the_filter():
    unfiltered, error = run("none", 3000)[0].cross_section()
    filtered, filtered_error = run("lepton", 1500)[0].cross_section()
    assert filtered == pytest.approx(unfiltered, abs=4.0 * (error + filtered_error))


def showered(name, seed):
    """Z -> nu nu down to partons, and a finder of jets above 35 GeV."""
    settings = process("Zjets_nunu").settings(0)
    settings = (*settings, "PartonLevel:MPI = off", "HadronLevel:all = off")
    hard = replace(FILTERS["four_jets"], jet_pt=35.0)
    return PythiaRun(settings, seed, hard_filter(name)), hard.finder(import_pythia())


def test_jets_of_the_shower_are_found_before_it_ends():
    """What has four hard jets in the end passes, and little else; sums count all events."""
    run, hard = showered("none", 3)
    rule = hard_filter("four_jets")
    four = sum(_next_has_jets(run, rule, hard) for _ in range(4000)) / 4000
    filtered, hard = showered("four_jets", 4)
    kept = [_next_has_jets(filtered, rule, hard) for _ in range(250)]
    count = filtered.count
    assert count.passed == len(kept)
    assert count.sum_weight == pytest.approx(count.tried)
    assert 0.03 < count.passed / count.tried < 0.09
    assert sum(kept) / count.tried == pytest.approx(four, rel=0.5)
    unfiltered, error = run.cross_section()
    assert filtered.cross_section()[0] == pytest.approx(unfiltered, rel=0.05, abs=4 * error)


def _next_has_jets(run, rule, finder):
    assert run._pythia.next()
    return rule.keeps(run._pythia.event, finder)


def test_unknown_filter():
    with pytest.raises(ConfigError, match="Did you mean 'lepton_jets'"):
        hard_filter("lepton_jet")


def test_a_filter_that_no_event_can_pass_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(veto, "MOST_REFUSED", 300)
    with pytest.raises(DataError, match="filter lepton: none of 300 events of Zjets_nunu passed"):
        make(tmp_path / "x.root", "Zjets_nunu", n=2, filter="lepton")


def test_events_behind_the_first_that_passed_are_not_counted_against_a_filter(monkeypatch):
    monkeypatch.setattr(veto, "MOST_REFUSED", 30)
    count = run("lepton")[0].count
    assert count.tried > 80 == count.passed
