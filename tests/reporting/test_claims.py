"""Verdicts: errors count, one seed decides nothing, and an unfinished loser leaves it open."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from transferline.config import load_config
from transferline.errors import ConfigError
from transferline.evaluation.learning_curve import learning_curve
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.rate_choice import end_taken, mostly_taken
from transferline.evaluation.training_cap import at_cap
from transferline.reporting.checks import (
    best_when_first_seen,
    still_improving,
    warnings_about,
)
from transferline.reporting.claims import FAILS, HOLDS, OPEN, Claims

from ..evaluation.synthetic import curve, log_line, record

SIZES = (100, 1000, 10000)
TUNED = {"mode": "finetuned"}
ENDED = {"steps": 100, "cap": 100, "best_step": 99, "stopped": "finished"}


def runs(worth, seeds=5, scratch=None, tuned=None):
    """Scratch and fine-tuned, which is worth so many times its labels; extras of either."""
    rng = np.random.default_rng(0)
    made = []
    for mode, times, extra in (("scratch", 1, scratch), ("finetuned", worth, tuned)):
        line = curve(mode, SIZES, range(seeds), lambda n, t=times: log_line(n, t), rng, 3e-4)
        made += [r.model_copy(update={"extra": extra or {}}) for r in line]
    return made


def judge(found, **claim):
    whole = {"text": "t", "task": "ttH", "line": TUNED, **claim}
    [made] = Claims.model_validate({"claims": [whole]}).claims
    return made.judge(found)


def test_a_claim_about_several_tasks_is_judged_for_each():
    whole = {"text": "t", "kind": "beats_scratch", "line": TUNED, "n_train": 1000}
    [claim] = Claims.model_validate({"claims": [{**whole, "tasks": ["ttH", "tb"]}]}).claims
    assert [(one.text, one.task) for one in claim.each()] == [("t", "ttH"), ("t", "tb")]
    verdicts = [one.judge(runs(10)) for one in claim.each()]
    assert [verdict.outcome for verdict in verdicts] == [HOLDS, OPEN]
    assert "no Records of the task 'tb'" in verdicts[1].numbers
    for tasks in ({}, {"task": "ttH", "tasks": ["tb"]}):
        with pytest.raises(ValueError, match="either `task`, or `tasks`"):
            Claims.model_validate({"claims": [{**whole, **tasks}]})


@pytest.mark.parametrize(("worth", "outcome"), [(10, HOLDS), (1.02, OPEN), (0.1, FAILS)], ids=str)
def test_what_is_within_its_error_is_not_decided(worth, outcome):
    assert judge(runs(worth), kind="beats_scratch", n_train=1000).outcome == outcome
    assert judge(runs(worth, 1), kind="beats_scratch", n_train=1000).outcome == OPEN


@pytest.mark.parametrize(
    ("worth", "share", "outcome"), [(10, 0.5, HOLDS), (10, 1.0, OPEN), (3, 0.9, FAILS)], ids=str
)
def test_a_gap_is_closed_where_its_error_says_so(worth, share, outcome):
    claim = {"kind": "closes_gap", "n_low": 1000, "n_high": 10000, "share": share}
    assert judge(runs(worth), **claim).outcome == outcome
    alone = [r for r in runs(10) if r.n_train < 10000 or r.seed == 0]
    found = judge(alone, **claim)
    assert found.outcome == OPEN
    assert "one seed at 10,000" in found.numbers


ONE_SIDED = {
    "beats_scratch": {"n_train": 1000},
    "better_than": {"other": {"mode": "scratch"}, "n_train": 1000},
    "closes_gap": {"n_low": 1000, "n_high": 10000, "share": 0.5},
    "not_below": {},
    "reduces_error": {"n_train": 1000, "share": 0.1},
    "gains_in_order": {"n_train": 1000, "then": ["tb"]},
    "ratio_of": {"n_train": 1000, "other": {"mode": "scratch"}},
    "matters_less": {"n_train": 1000, "other_task": "tb", "without": TUNED, "within": TUNED},
}


@pytest.mark.parametrize("kind", ONE_SIDED)
def test_claims_that_take_more_for_better_refuse_what_should_be_small(kind, tmp_path):
    claim = {"kind": kind, "text": "t", "task": "ttH", "line": TUNED, **ONE_SIDED[kind]}
    if kind == "matters_less":
        del claim["line"]
    place = tmp_path / "claims.yaml"
    for metric in ("limit", "limit[X]", "sculpting"):
        place.write_text(json.dumps({"claims": [{**claim, "metric": metric}]}))
        with pytest.raises(ConfigError, match=f"less of '{re.escape(metric)}' is better"):
            load_config(place, Claims)
    place.write_text(json.dumps({"claims": [{**claim, "metric": "significance[X]"}]}))
    assert load_config(place, Claims).claims


def test_claims_of_two_sides_take_limits(tmp_path):
    place = tmp_path / "claims.yaml"
    pair = {"line": TUNED, "other": {"mode": "scratch"}, "n_train": 1000}
    claim = {"kind": "agrees_with", "text": "t", "task": "ttH", "metric": "limit[X]", **pair}
    place.write_text(json.dumps({"claims": [claim]}))
    assert load_config(place, Claims).claims


@pytest.mark.parametrize("share", [0.0, 1.2])
def test_no_more_than_the_gap_can_be_closed(share):
    with pytest.raises(ValueError, match="share"):
        judge(runs(10), kind="closes_gap", n_low=1000, n_high=10000, share=share)


@pytest.mark.parametrize(("worth", "outcome"), [(10, HOLDS), (1, HOLDS), (0.3, FAILS)], ids=str)
def test_nowhere_below_scratch(worth, outcome):
    found = judge(runs(worth), kind="not_below")
    assert found.outcome == outcome
    assert "worst of 3 sizes, at " in found.numbers
    alone = [r for r in runs(worth) if r.n_train != 100 or r.seed == 0]
    expected = FAILS if outcome == FAILS else OPEN
    assert judge(alone, kind="not_below").outcome == expected


def test_a_size_without_a_common_seed_is_not_passed_over():
    found = [
        r.model_copy(update={"seed": r.seed + 50}) if (r.n_train, r.mode) == (SIZES[0], "scratch")
        else r for r in runs(10)
    ]  # fmt: skip
    verdict = judge(found, kind="not_below")
    assert verdict.outcome == OPEN
    assert verdict.numbers.endswith("; no common seed at 100")


def test_a_size_that_one_line_lacks_leaves_open_what_holds_at_the_others():
    found = [r for r in runs(10) if (r.n_train, r.mode) != (10_000, "finetuned")]
    verdict = judge(found, kind="not_below")
    assert verdict.outcome == OPEN
    assert verdict.numbers.endswith("; not both at 10,000")
    worse = [r for r in runs(0.3) if (r.n_train, r.mode) != (10_000, "finetuned")]
    assert judge(worse, kind="not_below").outcome == FAILS
    smaller = judge(found, kind="not_below", largest=1000)  # the size is not asked about
    assert smaller.outcome == HOLDS and "of 2 sizes" in smaller.numbers


def test_an_error_too_wide_to_exclude_a_deficit_is_not_level():
    """Equal but for noise: level within 0.1, and not known to be within 0.001."""
    assert judge(runs(1), kind="not_below", margin=0.1).outcome == HOLDS
    assert judge(runs(1), kind="not_below", margin=1e-5).outcome == OPEN


def test_a_small_deficit_is_level_however_well_it_is_known():
    rng = np.random.default_rng(0)
    lines = {"scratch": 0.0, "finetuned": -0.002}
    found = [
        one
        for mode, shift in lines.items()
        for one in curve(
            mode, SIZES, range(5), lambda n, s=shift: log_line(n) + s, rng, 1e-4, error=0.0
        )
    ]
    assert judge(found, kind="beats_scratch", n_train=1000).outcome == FAILS
    assert judge(found, kind="not_below").outcome == HOLDS
    assert judge(found, kind="not_below", margin=0.001).outcome == FAILS


def test_nowhere_below_another_line():
    rng = np.random.default_rng(1)
    trees = curve("trees", SIZES, range(5), lambda n: log_line(n, 3), rng, 3e-4)
    found = [*runs(10), *trees]
    trees_line = {"mode": "trees"}
    assert judge(found, kind="not_below", other=trees_line).outcome == HOLDS
    scratch = {"line": {"mode": "scratch"}, "other": trees_line}
    assert judge(found, kind="not_below", **scratch).outcome == FAILS


def test_a_loser_that_was_still_improving_has_not_lost():
    claim = {"kind": "beats_scratch", "n_train": 1000}
    gap = {"kind": "closes_gap", "n_low": 1000, "n_high": 10000, "share": 0.5}
    for found in (judge(runs(10, scratch=ENDED), **claim), judge(runs(10, scratch=ENDED), **gap)):
        assert found.outcome == OPEN
        assert "scratch was still improving when its steps ended" in found.numbers
    assert judge(runs(0.1, tuned=ENDED), **claim).outcome == OPEN
    # The winner may be: it has won already.
    assert judge(runs(10, tuned=ENDED), **claim).outcome == HOLDS
    assert judge(runs(0.1, scratch=ENDED), **claim).outcome == FAILS
    assert judge(runs(0.1, scratch=ENDED), **gap).outcome == FAILS


@pytest.mark.parametrize(
    ("claim", "worth"),
    [
        ({"kind": "not_below"}, 10),
        ({"kind": "reduces_error", "n_train": 1000, "share": 0.01}, 10),
        ({"kind": "closes_gap", "n_low": 100, "n_high": 10000, "share": 0.1}, 10),
    ],
)
def test_an_unfinished_scratch_has_not_lost_whatever_the_claim(claim, worth):
    assert judge(runs(worth), **claim).outcome == HOLDS
    assert judge(runs(worth, scratch=ENDED), **claim).outcome == OPEN


def test_only_the_seeds_that_are_compared_are_asked_whether_they_had_ended():
    """Four more seeds of scratch, which stopped early, do not make up for one that did not."""
    made = [r for r in runs(10) if r.mode != "finetuned" or r.seed < 2]
    late = [
        r.model_copy(update={"extra": {**r.extra, **ENDED}})
        if r.mode == "scratch" and r.seed == 0
        else r
        for r in made
    ]
    claim = {"kind": "beats_scratch", "n_train": 1000}
    assert judge(made, **claim).outcome == HOLDS
    assert judge(late, **claim).outcome == OPEN
    assert judge(late, kind="not_below").outcome == OPEN


def test_a_size_that_is_below_scratch_is_not_hidden_by_a_doubtful_one():
    def ended(record):
        tuned = record.mode == "finetuned" and record.n_train == 100
        return record.model_copy(update={"extra": {**record.extra, **ENDED}}) if tuned else record

    found = judge([ended(r) for r in runs(0.1)], kind="not_below")
    assert found.outcome == FAILS
    assert "of 3 sizes, at " in found.numbers
    assert "at 100:" not in found.numbers


def test_two_pretrainings_are_one_each():
    made = runs(10)
    made += [
        r.model_copy(update={"pretraining": "other"}) for r in runs(100) if r.mode == "finetuned"
    ]
    claim = {"kind": "better_than", "n_train": 1000}
    lines = {name: {"mode": "finetuned", "pretraining": name} for name in ("other", "masked_type")}
    found = judge(made, **claim, line=lines["other"], other=lines["masked_type"])
    assert found.outcome == HOLDS
    assert found.numbers.endswith("one pre-training each")
    scratch = judge(made, **claim, line=lines["other"], other={"mode": "scratch"})
    assert "pre-training" not in scratch.numbers


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (ENDED, True),
        ({**ENDED, "best_step": 60}, False),
        ({**ENDED, "stopped": "patience"}, False),
        ({**ENDED, "cap": 1000}, False),  # its trial was the best: more steps made it worse
        ({"steps": 100, "best_step": 100, "stopped": "finished"}, True),
        (
            {
                "steps": 100,
                "best_step": 100,
                "stopped": "finished",
                "grid": [{"lr": 1e-3, "steps": 100}, {"lr": 3e-3, "steps": 100}],
            },
            False,
        ),
        ({}, False),  # trees
    ],
    ids=str,
)
def test_a_run_at_its_cap_is_known(extra, expected):
    assert at_cap(record(extra=extra)) is expected


def test_cells_at_their_cap_are_named_to_the_reader():
    made = [r.model_copy(update={"extra": ENDED}) for r in runs(10) if r.seed == 0]
    found = warnings_about(made, learning_curve(made))
    [text] = [line for line in found if line.startswith("Still improving")]
    assert "scratch at 10000 (1 of 1)" in text
    probes = [r.model_copy(update={"mode": "frozen"}) for r in made if r.mode == "finetuned"]
    [text] = still_improving(learning_curve(probes))
    assert "frozen (masked_type) at 10000 (1 of 1)" in text
    assert not [w for w in warnings_about(runs(10), []) if w.startswith("Still")]


RATES = [{"lr": rate} for rate in (1e-3, 1e-4, 3e-4)]


@pytest.mark.parametrize(
    ("extra", "end"),
    [
        ({"lr": 1e-4, "grid": RATES}, "lowest"),
        ({"lr": 1e-3, "grid": RATES}, "highest"),
        ({"lr": 3e-4, "grid": RATES}, None),
        ({"lr": 1e-3, "grid": RATES[:1]}, None),
        ({"lr": 1e-3}, None),
        ({"grid": [{"leaves": 31}, {"leaves": 63}]}, None),  # trees
    ],
    ids=str,
)
def test_the_end_of_the_rates_that_a_run_took_is_known(extra, end):
    assert end_taken(record(extra=extra)) == end


def test_lines_whose_rates_end_too_early_are_named_to_the_reader():
    lowest, highest = ({"lr": rate, "grid": RATES} for rate in (1e-4, 1e-3))
    made = runs(10, scratch=lowest, tuned=highest)
    [text] = [w for w in warnings_about(made, learning_curve(made)) if "wider range" in w]
    assert "the highest was taken by finetuned (masked_type) (15 of 15); the lowest was" in text
    assert "taken by scratch (15 of 15)" in text
    some = [record(extra=extra) for extra in (lowest, lowest, lowest, highest)]
    assert mostly_taken(some) == ("lowest", 3, 4)
    assert mostly_taken([*some, *runs(10)]) == ("lowest", 3, 4)
    assert mostly_taken(some[1:]) is None
    assert mostly_taken(some[:1]) is None
    assert not [w for w in warnings_about(runs(10), learning_curve(runs(10))) if "wider" in w]


def test_weights_of_the_first_validation_are_told():
    looked = {"step": [10, 20, 30], "train": [0.6, 0.5, 0.4], "valid": [0.5, 0.6, 0.7]}
    early, later = ({"best_step": step, "losses": looked} for step in (10, 20))
    told = best_when_first_seen(learning_curve(runs(3, tuned=early, scratch=later)))
    assert len(told) == 1
    assert "finetuned (masked_type) at 100 (5 of 5)" in told[0]
    assert "scratch" not in told[0]
    single = {"best_step": 10, "losses": {"step": [10], "train": [0.6], "valid": [0.5]}}
    assert best_when_first_seen(learning_curve(runs(3, tuned=single))) == []


def test_a_limit_in_another_line_leaves_a_claim_alone():
    """A rejection that is a limit has no mean: that of trees says nothing of two networks."""
    found = [
        one.model_copy(update={"metrics": {"rejection_50": Measurement(100.0 * value, 2.0)}})
        for one in runs(10)
        for value in [one.metrics["auc"].value]
    ]
    limit = {"rejection_50": Measurement(2000.0, math.inf, "at least")}
    trees = [record("trees", n, 0, metrics=limit) for n in SIZES]
    claim = {"kind": "beats_scratch", "metric": "rejection_50", "n_train": 1000}
    assert judge([*found, *trees], **claim) == judge(found, **claim)
    assert (
        "no mean exists" in judge([*found, *trees], **{**claim, "line": {"mode": "trees"}}).numbers
    )


def test_a_training_that_keeps_its_last_weights_is_not_unfinished():
    """Its best step is the last one by definition, which tells nothing of its steps."""
    at_end = {"steps": 100, "cap": 100, "best_step": 100, "stopped": "finished"}
    claim = {"kind": "beats_scratch", "n_train": 1000}
    doubtful = judge(runs(10, scratch=at_end, tuned=at_end), **claim)
    told = judge(runs(10, scratch={**at_end, "keep": "last"}, tuned=at_end), **claim)
    assert (doubtful.outcome, told.outcome) == (OPEN, HOLDS)


@pytest.mark.parametrize("unseen", [{"n_select": 0}, {"losses": {"valid": [None, None]}}], ids=str)
def test_a_training_that_nothing_validated_is_not_unfinished(unseen):
    """Without held-out labels its best step is the last one, as above; a loss tells of one."""
    at_end = {"steps": 100, "cap": 100, "best_step": 100, "stopped": "finished"}
    claim = {"kind": "beats_scratch", "n_train": 1000}
    seen = {**at_end, "n_select": 200, "losses": {"valid": [None, 0.5]}}
    doubtful = judge(runs(10, scratch=seen, tuned=seen), **claim)
    told = judge(runs(10, scratch={**at_end, **unseen}, tuned=seen), **claim)
    assert (doubtful.outcome, told.outcome) == (OPEN, HOLDS)
