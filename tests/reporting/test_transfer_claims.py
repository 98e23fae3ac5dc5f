"""Claims and figures of transfer between channels, on Records whose truth is known."""

from __future__ import annotations

import pytest
from matplotlib.container import ErrorbarContainer

from transferline.evaluation.learning_curve import learning_curve
from transferline.evaluation.measurement import Measurement
from transferline.reporting.attention_plot import attention, mean_received, received
from transferline.reporting.claims import FAILS, HOLDS, OPEN, Claims
from transferline.reporting.page_figures import kept_losses, page_figures

from ..evaluation.synthetic import record

SIZES = (1000, 10000, 100000)


def table(**kinds):
    """Two blocks whose mean is `kinds`; the rows before the last are of single kinds."""
    rows = [list(kinds.values())] * (len(kinds) + 1)
    low, high = ([[v - 0.1 for v in row] for row in rows], [[v + 0.1 for v in row] for row in rows])
    return {"kinds": list(kinds), "blocks": [low, high], "events": 10}


ATTENTION = {
    "source": table(**{"b jet": 1.5, "jet": 0.8, "MET": 0.6}),
    "start": table(**{"b jet": 1.4, "jet": 0.8, "MET": 0.7}),
}
LOSSES = {"step": [1, 2, 3], "train": [0.7, 0.5, 0.3], "valid": [0.7, 0.6, 0.8]}


def records():
    made = []
    for task, gain in (("near", 0.2), ("far", 0.1), ("other", -0.1)):
        for seed in range(4):
            for n in SIZES:
                left = 0.3 + 0.002 * seed
                shared = {"task": task, "n_train": n, "seed": seed}
                made.append(record("scratch", auc=1 - left, **shared))
                after = table(**{"b jet": 1.2, "jet": 0.8, "MET": 0.9 + 0.01 * seed})
                extra = {"attention": {**ATTENTION, "end": after}, "losses": LOSSES}
                auc = 1 - left * (1 - gain)
                made.append(record("finetuned", auc=auc, extra=extra, pretraining="gat", **shared))
    return made


def verdict(found, **claim):
    [claim] = Claims.model_validate(
        {"claims": [{"text": "t", "task": "near", "n_train": 10000, **claim}]}
    ).claims
    return claim.judge(found)


TUNED = {"mode": "finetuned"}


@pytest.mark.parametrize(("share", "outcome"), [(0.15, HOLDS), (0.25, FAILS)])
def test_the_error_reduction_is_one_minus_the_ratio_of_errors(share, outcome):
    found = verdict(records(), kind="reduces_error", line=TUNED, share=share)
    assert found.outcome == outcome
    assert found.numbers.startswith("0.200")


def test_one_common_seed_decides_nothing():
    alone = [r for r in records() if r.mode == "finetuned" or r.seed == 0]
    found = verdict(alone, kind="reduces_error", line=TUNED, share=0.15)
    assert found.outcome == OPEN and "±" in found.numbers
    assert verdict(alone, kind="gains_in_order", line=TUNED, then=["far"]).outcome == OPEN


@pytest.mark.parametrize("more", [{"kind": "reduces_error", "share": 0.1},
                                  {"kind": "gains_in_order", "then": ["far"]}])  # fmt: skip
def test_a_metric_above_one_leaves_no_error_to_remove(more):
    found = [
        r.model_copy(update={"metrics": {"rejection_50": Measurement(30.0 + r.seed, 1.0)}})
        for r in records()
    ]
    judged = verdict(found, line=TUNED, metric="rejection_50", **more)
    assert judged.outcome == OPEN
    assert "1 - rejection_50 of scratch leaves nothing to remove at 10000" in judged.numbers
    elsewhere = verdict(found, line=TUNED, metric="rejection_50", **more, n_train=5)
    assert "no" in elsewhere.numbers and "remove" not in elsewhere.numbers


def test_a_value_is_met_within_its_error():
    """The metric of scratch runs is 0.697 on average, with a spread of 0.0026 over seeds."""
    claim = {"kind": "has_value", "line": {"mode": "scratch"}}
    assert verdict(records(), **claim, value=0.697).outcome == HOLDS
    assert verdict(records(), **claim, value=0.5).outcome == FAILS
    assert verdict(records(), **claim, value=0.5, n_train=50).outcome == OPEN


def test_the_order_of_gains_is_that_of_the_tasks():
    order = {"kind": "gains_in_order", "line": TUNED}
    assert verdict(records(), **order, then=["far", "other"]).outcome == HOLDS
    assert verdict(records(), **order, then=["other", "far"]).outcome == FAILS
    absent = verdict(records(), **order, then=["absent"])
    assert (absent.outcome, absent.numbers) == (OPEN, "no Records of the task 'absent'.")


def test_agreement_is_within_errors():
    same = {"kind": "agrees_with", "line": TUNED, "other": {"mode": "scratch"}}
    assert verdict(records(), **same).outcome == FAILS
    assert verdict(records(), **same, sigma=1e6).outcome == HOLDS
    assert verdict(records(), **{**same, "n_train": 5}).outcome == OPEN
    for never in (0.0, -2.0):  # no difference is so small
        with pytest.raises(ValueError, match="greater than 0"):
            verdict(records(), **same, sigma=never)


ENDED = {"steps": 100, "cap": 100, "best_step": 100, "stopped": "finished"}


def ended(mode, task="near"):
    """The records, of which those of one mode and task were still improving at their end."""
    return [
        r.model_copy(update={"extra": {**r.extra, **ENDED}})
        if (r.mode, r.task) == (mode, task)
        else r
        for r in records()
    ]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("mode", "sigma", "outcome"),
    [
        ("scratch", 2, OPEN),  # it is lower, and might not be
        ("finetuned", 2, FAILS),
        ("scratch", 1e6, OPEN),
        ("finetuned", 1e6, OPEN),
    ],
)
def test_agreement_of_what_was_still_improving_is_open(mode, sigma, outcome, turned):
    pair = [TUNED, {"mode": "scratch"}]
    line, other = reversed(pair) if turned else pair
    found = verdict(ended(mode), kind="agrees_with", line=line, other=other, sigma=sigma)
    assert found.outcome == outcome
    name = "finetuned (gat)" if mode == "finetuned" else "scratch"
    assert (f"{name} was still improving" in found.numbers) == (outcome == OPEN)


@pytest.mark.parametrize(("mode", "outcome"), [("scratch", FAILS), ("finetuned", OPEN)])
def test_of_limits_the_higher_one_is_the_worse_and_may_fall(mode, outcome):
    limits = [r.model_copy(update={"metrics": {"limit": r.metrics["auc"]}}) for r in ended(mode)]
    pair = {"line": TUNED, "other": {"mode": "scratch"}}
    assert verdict(limits, kind="agrees_with", metric="limit", **pair).outcome == outcome


@pytest.mark.parametrize(
    ("mode", "task", "outcome"),
    [
        ("scratch", "near", OPEN),  # its gain might be smaller
        ("finetuned", "near", HOLDS),
        ("scratch", "far", HOLDS),
        ("finetuned", "far", OPEN),  # its gain might be larger
    ],
)
def test_an_order_that_longer_training_may_turn_is_open(mode, task, outcome):
    order = {"kind": "gains_in_order", "line": TUNED, "then": ["far"]}
    found = verdict(ended(mode, task), **order)
    assert found.outcome == outcome
    assert (f"{task}, was still improving" in found.numbers) == (outcome == OPEN)
    turned = {**order, "task": "far", "then": ["near"]}
    assert verdict(ended(mode, task), **turned).outcome == (FAILS if outcome == HOLDS else OPEN)


def test_a_wrong_step_decides_beside_a_doubtful_one():
    order = {"kind": "gains_in_order", "line": TUNED, "task": "far", "then": ["near", "other"]}
    assert verdict(ended("finetuned", "other"), **order).outcome == FAILS


def test_a_value_of_runs_that_were_too_short_is_open():
    claim = {"kind": "has_value", "line": {"mode": "scratch"}, "value": 0.697}
    assert verdict(ended("scratch"), **claim).outcome == OPEN


def test_attention_claims_look_at_their_stage():
    chosen = {"pretraining": "gat"}
    most = {"kind": "most_attention", **chosen}
    found = verdict(records(), **most, object="b jet")
    assert found.outcome == OPEN and "one pre-training" in found.numbers
    assert verdict(records(), **most, object="MET", stage="end").outcome == FAILS
    assert verdict(records(), **most, object="b jet", stage="end").outcome == HOLDS
    assert verdict(records()[:6], **most, object="b jet", stage="end").outcome == OPEN  # one seed
    assert verdict(records(), **most, object="tau").outcome == OPEN
    rises = {"kind": "attention_rises", **chosen}
    found = verdict(records(), **rises, object="MET")
    assert found.outcome == HOLDS
    assert "0.700 before, 0.915 (seeds: 0.013) after" in found.numbers
    assert verdict(records(), **rises, object="b jet").outcome == FAILS
    assert "no attention on 'photon'" in verdict(records(), **rises, object="photon").numbers
    without = [r.model_copy(update={"extra": {}}) for r in records()]
    assert verdict(without, **most, object="b jet").outcome == OPEN


def test_attention_is_the_mean_over_blocks():
    tuned = [r for r in records() if r.mode == "finetuned" and r.task == "near"][:2]
    assert received(tuned[0], "source") == pytest.approx({"b jet": 1.5, "jet": 0.8, "MET": 0.6})
    assert mean_received(tuned, "start")["MET"] == pytest.approx((0.7, 0))
    figure = attention(tuned)
    assert len(figure.axes[0].patches) == 9


def test_attention_is_drawn_from_one_with_the_spread_of_several_networks_alone():
    tuned = [r for r in records() if r.mode == "finetuned" and r.task == "near"]
    tuned = [r for r in tuned if r.n_train == 10_000]
    [axes] = attention(tuned).axes
    bars = [bar for bar in axes.containers if isinstance(bar, ErrorbarContainer)]
    # Before tuning the network of all seeds is one.
    assert [len(bar.lines[2][0].get_segments()) for bar in bars][:2] == [0, 0]
    assert bars[-1].lines[2][0].get_segments()
    assert all(patch.get_y() == 1.0 for patch in axes.patches)
    for one in tuned:
        for stage in ("start", "end"):
            found = one.extra["attention"][stage]
            found["kinds"] = [*found["kinds"][:2], "tau"]
    said = [text.get_text().strip() for text in attention(tuned).axes[0].texts]
    assert {"no MET in target", "no tau in source"} <= set(said)


def test_the_page_draws_what_the_records_hold():
    found = [r for r in records() if r.task == "near"]
    stems = [d.stem for d in page_figures("near", [learning_curve(found, "auc")])]
    assert stems == ["learning-curve", "losses-10000", "attention-gat"]
    bare = [r.model_copy(update={"extra": {}}) for r in found]
    assert [d.stem for d in page_figures("near", [learning_curve(bare, "auc")])] == stems[:1]
    two = [
        r.model_copy(update={"metrics": {**r.metrics, "accuracy": r.metrics["auc"]}}) for r in bare
    ]
    small = [r for r in two if r.n_train == SIZES[0]]
    many, one = ([learning_curve(f, name) for name in ("auc", "accuracy")] for f in (two, small))
    assert len(page_figures("near", many)) == 2
    assert not page_figures("near", one), "one number of labels is no curve"
    told = found[1].model_copy(update={"extra": {**found[1].extra, "best_step": 3}})
    losses = kept_losses(told)
    assert losses is not None
    assert (losses.valid.tolist(), losses.best) == (LOSSES["valid"], 3)


def test_losses_are_drawn_at_the_size_where_most_networks_are():
    extra = {"losses": LOSSES}
    made = [record("scratch", task="near", n_train=n, extra=extra) for n in SIZES]
    made += [
        record("finetuned", task="near", n_train=n, pretraining=name, extra=extra)
        for name, sizes in (("gat", SIZES), ("gnn", SIZES[:1]))
        for n in sizes
    ]
    stems = [d.stem for d in page_figures("near", [learning_curve(made, "auc")])]
    assert f"losses-{SIZES[0]}" in stems
