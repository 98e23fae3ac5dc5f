"""Tables, claims and the figure of a joint analysis, from Records that say what they must find."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.learning_curve import learning_curve
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.records import append
from transferline.reporting.analysis_claims import MattersLess, ProbeRises, RatioOf
from transferline.reporting.analysis_claims import ratio as ratio_of
from transferline.reporting.analysis_table import analysis_tables
from transferline.reporting.claims import FAILS, HOLDS, OPEN, Chosen, Published
from transferline.reporting.mass_plot import mass_drawings, mass_ticks
from transferline.reporting.result_tables import ALONE
from transferline.reporting.results_page import write_results_page
from transferline.reporting.style import Label

from ..evaluation.synthetic import record

SLICES = [{"passing": [0.0, 1.0], "sum": [1.0, 2.0], "error": [0.1, 0.0]}]


def run(task, mode, rejection, seed, n_train=1000, **more):
    metrics = {
        "auc": Measurement(0.8, 0.01),
        "sculpting": Measurement(0.2, 0.02),
        "n_eff_90": Measurement(30.0, 0.0),
        "unweighted_rejection_90": Measurement(rejection, 0.05 * rejection),
        "limit[X]": Measurement(2.0, 0.1),
        **{name: Measurement(value, 0.001) for name, value in more.items()},
    }
    mass = {"edges": [300.0, 600.0, 900.0], "slices": SLICES, "floor": 0.01}
    return record(mode, n_train, seed, task=task, metrics=metrics, extra={"mass": mass})


RUNS = [
    run(task, mode, value, seed, **more)
    for task, mode, value, more in (
        ("V", "finetuned", 600, {"jet_probe": 0.9, "jet_probe_start": 0.6}),
        ("V", "frozen", 200, {"jet_probe": 0.6}),
        ("S", "frozen", 280, {}),
    )
    for seed in (0, 1)
]
TUNED, FROZEN = Chosen(mode="finetuned"), Chosen(mode="frozen")


def ratio(**keys):
    whole = {"text": "", "task": "V", "line": TUNED, "n_train": 1000, "other": FROZEN}
    return RatioOf(**(whole | keys))


@pytest.mark.parametrize(
    ("keys", "outcome"),
    [
        ({"other_task": "S", "least": 1.8}, HOLDS),
        ({"other_task": "S", "least": 1.9}, OPEN),  # 2.14 +- 0.15
        ({"other_task": "S", "least": 3.0}, FAILS),
        ({"least": 2.5}, HOLDS),
        ({"other_n_train": 10}, OPEN),
        ({"metric": "unknown"}, OPEN),
    ],
)
def test_ratios_across_tasks_are_judged_by_their_errors(keys, outcome):
    assert ratio(**keys).judge(RUNS).outcome == outcome


def test_a_limit_elsewhere_leaves_other_ratios_alone():
    few = Measurement(900.0, math.inf, "at least")
    elsewhere = run("V", "finetuned", 1.0, 0, n_train=100)
    elsewhere = elsewhere.model_copy(
        update={"metrics": {**elsewhere.metrics, "unweighted_rejection_90": few}}
    )
    assert ratio(least=2.5).judge([*RUNS, elsewhere]).outcome == HOLDS


def test_what_is_common_to_both_sides_of_a_ratio_cancels():
    name = "unweighted_rejection_90"
    common = np.random.default_rng(0).normal(1.0, 0.2, 100)

    def drawn(runs):
        return [
            r.model_copy(
                update={
                    "replicas": Replicas(
                        "test", 0, {name: tuple((r.metrics[name].value * common).tolist())}
                    )
                }
            )
            for r in runs
        ]

    both = [[r for r in RUNS if r.task == "V" and r.mode == m] for m in ("finetuned", "frozen")]
    apart, paired = ratio_of(*both, name), ratio_of(*map(drawn, both), name)
    assert apart.value == paired.value == pytest.approx(3.0)
    assert apart.error == pytest.approx(3.0 * 0.05 * math.sqrt(2))
    assert paired.error < 1e-6


def test_a_gain_that_matters_less():
    claim = MattersLess(
        text="", task="V", other_task="S", without=FROZEN, within=TUNED, n_train=1000
    )
    assert claim.judge(RUNS).outcome == OPEN  # nothing fine-tuned of S
    equal = [*RUNS, *(run("S", "finetuned", 590, seed) for seed in (0, 1))]
    assert claim.judge(equal).outcome == FAILS  # frozen 200 / 280, fine-tuned 600 / 590
    none = [*RUNS, *(run("S", "finetuned", math.inf, seed) for seed in (0, 1))]
    assert claim.judge(none).outcome == OPEN  # no background passes
    less = [*RUNS, *(run("S", "finetuned", 2000, seed) for seed in (0, 1))]
    assert claim.judge(less).outcome == HOLDS


def test_a_probe_that_rises():
    claim = ProbeRises(text="", task="V", line=TUNED, n_train=1000)
    assert claim.judge(RUNS).outcome == HOLDS
    assert claim.judge(RUNS[:1]).outcome == OPEN
    assert claim.model_copy(update={"line": FROZEN}).judge(RUNS).outcome == OPEN


CAPPED = {"steps": 100, "cap": 100, "best_step": 99, "stopped": "finished"}


def improving(runs, task, mode):
    """The runs, those of one line at the end of their steps while still improving."""
    return [
        r.model_copy(update={"extra": {**r.extra, **CAPPED}})
        if (r.task, r.mode) == (task, mode)
        else r
        for r in runs
    ]


def test_what_a_longer_training_may_turn_round_is_not_decided():
    less = MattersLess(
        text="", task="V", other_task="S", without=FROZEN, within=TUNED, n_train=1000
    )
    runs = [*RUNS, *(run("S", "finetuned", 2000, seed) for seed in (0, 1))]
    for task, mode in (("S", "finetuned"), ("V", "frozen")):
        verdict = less.judge(improving(runs, task, mode))
        assert verdict.outcome == OPEN
        assert f"({task}, 1,000) was still improving" in verdict.numbers
    loser = ratio(other_task="S", least=1.8).judge(improving(RUNS, "S", "frozen"))
    assert loser.outcome == OPEN
    assert "(S, 1,000) was still improving" in loser.numbers
    rises = ProbeRises(text="", task="V", line=TUNED, n_train=1000)
    assert rises.judge(improving(RUNS, "V", "finetuned")).outcome == HOLDS  # more may raise it more
    fallen = [run("V", "finetuned", 600, s, jet_probe=0.5, jet_probe_start=0.6) for s in (0, 1)]
    assert rises.judge(fallen).outcome == FAILS
    assert rises.judge(improving(fallen, "V", "finetuned")).outcome == OPEN


def test_tables_hold_published_values_and_what_some_lines_lack():
    lines = learning_curve([r for r in RUNS if r.task == "V"], "auc")
    given = Published(name="full", source="x", task="V", metrics={"unweighted_rejection_90": 680})
    together, each = analysis_tables(lines, [given])
    cells = {row[0]: row[1:] for row in together.rows}
    assert cells["published: full (x)"][0] == "680"
    assert sorted(row[4] for row in together.rows) != ["–"] * 3
    assert each.header == ("", "Signal", "Expected limit on the signal strength")
    assert [row[1] for row in each.rows] == ["X", "X"]
    assert mass_drawings(lines, Label("V"))[0].make().axes
    bare = [r.model_copy(update={"metrics": {"auc": r.metrics["auc"]}}) for r in RUNS[:2]]
    assert analysis_tables(learning_curve(bare, "auc")) == []


def test_published_values_of_an_analysis_without_a_column_do_not_vanish(tmp_path):
    for one in RUNS:
        append(tmp_path / "r.jsonl", one)
    metrics = {"unweighted_rejection_90": 680, "limit[X]": 0.25}
    given = {"name": "full", "source": "x", "task": "V", "metrics": metrics}
    (tmp_path / "c.yaml").write_text(json.dumps({"notes": ["n"], "published": [given]}))
    page = write_results_page(tmp_path / "r.jsonl", tmp_path / "p.md", "P", tmp_path / "c.yaml")
    text = page.read_text()
    assert "| published: full (x) | 680 | – |" in text
    assert "| published: full (x) | 0.25 |" in text.partition("**Published**")[2]


def test_tables_tell_numbers_of_seeds_and_what_one_alone_leaves_out():
    lines = learning_curve([r for r in RUNS if r.task == "V"], "auc")
    for table in analysis_tables(lines):
        assert [row[0] for row in table.rows] == ["frozen backbone (2)", "fine-tuned (2)"]
        assert ALONE not in table.note
    fewer = [r for r in RUNS if r.task == "V" and (r.mode, r.seed) != ("frozen", 1)]
    for table in analysis_tables(learning_curve(fewer, "auc")):
        assert [row[0] for row in table.rows] == ["frozen backbone (1)", "fine-tuned (2)"]
        assert table.note.endswith(ALONE)
    unmeasured = [
        r.model_copy(
            update={"metrics": {k: v for k, v in r.metrics.items() if not k.startswith("jet_")}}
        )
        if (r.mode, r.seed) == ("finetuned", 1)
        else r
        for r in RUNS
        if r.task == "V"
    ]
    table, each = analysis_tables(learning_curve(unmeasured, "auc"))
    tuned = table.rows[1]
    assert tuned[0] == "fine-tuned (2)" and tuned[5].endswith(" (1)") and "(" not in tuned[1]
    assert table.note.endswith(ALONE) and ALONE not in each.note


def test_a_sculpting_without_a_number_is_said_or_left_out_of_the_mean():
    nothing = Measurement(math.nan, math.nan)

    def cells(undefined):
        found = [
            r.model_copy(update={"metrics": {**r.metrics, "sculpting": nothing}})
            if r.seed in undefined else r
            for r in RUNS if r.task == "V"
        ]  # fmt: skip
        table, *_ = analysis_tables(learning_curve(found, "auc"))
        place = table.header.index("Mass sculpting")
        return {row[place] for row in table.rows}

    seeds = {r.seed for r in RUNS if r.task == "V"}
    assert cells(seeds) == {"undefined"}
    assert all("undefined" not in cell for cell in cells({min(seeds)}) if len(seeds) > 1)


def test_masses_of_the_largest_size_are_all_shown_and_others_while_there_is_room():
    small = [run("V", f"mode{i:02}", 50.0, 0) for i in range(5)]
    for large, room in ((6, 3), (11, 0)):
        most = [run("V", f"z{i:02}", 50.0, 0, 5000) for i in range(large)]
        [drawing] = mass_drawings(learning_curve([*small, *most], "auc"), Label("V"))
        titles = [axes.texts[-1].get_text() for axes in drawing.make().axes]
        named = [title for title in titles if title[0] in "mz"]
        assert named[:large] == [f"z{i:02}, 5000" for i in range(large)]
        assert named[large:] == [f"mode{i:02}, 1000" for i in range(room)]
        left = "; ".join(f"mode{i:02}, 1000" for i in range(room, 5))
        assert drawing.caption.endswith(f"not shown: {left}")


def test_masses_can_be_read_off_their_axis():
    for low, high in ((400.0, 4000.0), (60.0, 6000.0), (510.0, 2950.0)):
        ticks = mass_ticks(low, high)
        assert 3 <= len(ticks) <= 7 and low <= ticks[0] < ticks[-1] <= high
        assert np.diff(np.log(ticks)).min() >= 0.13 * np.log(high / low)
