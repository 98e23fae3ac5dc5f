"""Tables and figures of tasks with many classes, from Records alone."""

from __future__ import annotations

import numpy as np
import pytest

from transferline.evaluation.learning_curve import learning_curve
from transferline.evaluation.records import append
from transferline.evaluation.tagging import Question, class_details, measure_classes
from transferline.reporting.report import write_report
from transferline.reporting.result_tables import ALONE
from transferline.reporting.results_page import write_results_page
from transferline.reporting.style import Label
from transferline.reporting.tagging_plots import (
    confusion_matrix,
    mean_confusion,
    mean_roc,
    one_event,
    tagging_drawings,
    working_points,
)
from transferline.reporting.tagging_table import tagging_tables

from ..evaluation.synthetic import record

CLASSES = ("QCD", "Hbb", "Tbl")
ASKED = Question(CLASSES, "QCD", {"Hbb": 50.0, "Tbl": 99.5})

CLAIMS = """
claims:
  - {kind: better_than, text: networks win, task: ttH, metric: accuracy, n_train: 1000,
     line: {mode: scratch}, other: {mode: trees}}
published:
  - {name: ParT, source: arXiv:2202.03772, task: ttH,
     metrics: {auc: 0.9877, rejection_50_Hbb: 10638}}
"""


def tagged(mode, n_train, seed, strength):
    """A Record of scores that were really measured."""
    rng = np.random.default_rng([seed, n_train, len(mode)])
    target = np.arange(900) % 3
    logits = rng.normal(size=(900, 3))
    logits[np.arange(900), target] += strength
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    metrics, replicas = measure_classes(p, target, np.ones(900), ASKED, replicas=20)
    extra = class_details(p, target, np.ones(900), ASKED)
    return record(mode, n_train, seed, metrics=metrics, replicas=replicas, extra=extra)


@pytest.fixture(scope="module")
def records():
    return [
        tagged(mode, n, seed, strength + 0.3 * (n == 1000))
        for mode, strength in (("scratch", 3.0), ("trees", 1.5))
        for n in (100, 1000)
        for seed in range(2)
    ]


def test_the_table_has_a_row_per_line_and_a_column_per_class(records):
    largest, smallest = tagging_tables(learning_curve(records))
    assert largest.header == ("", "Accuracy", "AUC", "Hbb", "Tbl")
    assert "1000" in largest.title and "100 " in smallest.title
    assert [row[0] for row in largest.rows] == ["boosted trees (2)", "from scratch (2)"]
    assert largest.rows[1][3].startswith("> ") and "±" in smallest.rows[0][3]
    assert "at 50 % efficiency of the signal, 99.5 % of Tbl" in largest.note
    assert not tagging_tables(learning_curve([record("scratch")]))  # of two classes there is none


def test_the_table_tells_numbers_of_seeds_and_what_one_alone_leaves_out(records):
    alone = [one for one in records if one.mode == "trees" or one.seed == 0]
    for found, seeds, told in ((records, 2, False), (alone, 1, True)):
        table, *_ = tagging_tables(learning_curve(found))
        assert [row[0] for row in table.rows] == ["boosted trees (2)", f"from scratch ({seeds})"]
        assert table.note.endswith(ALONE) == told


def test_curves_and_matrices_are_means_over_seeds(records):
    two = [one for one in records if one.mode == "trees" and one.n_train == 100]
    expected = np.mean([one.extra["confusion"] for one in two], axis=0)
    assert mean_confusion(two) == pytest.approx(expected)
    curve = mean_roc(two)
    assert set(curve) == {"signal", "Hbb", "Tbl"}
    known = np.isfinite(curve["Hbb"])
    assert known.any() and (np.diff(curve["Hbb"][known]) >= 0).all()


def test_a_curve_ends_where_tables_give_a_limit():
    one = record("trees")
    roc = {"signal": [0.2, 0.4, 0.6, 0.8], "Hbb": [0.0, 0.01, 0.03, 0.2]}
    other = {**roc, "Hbb": [0.01, 0.02, 0.02998, 0.3]}  # of 100 events, rounded
    runs = [one.model_copy(update={"extra": {"roc": found}}) for found in (roc, other)]
    assert one_event(runs) == 0.01
    curve = mean_roc(runs, one_event(runs))
    assert curve["Hbb"] == pytest.approx([np.nan, np.nan, 0.02999, 0.25], nan_ok=True)
    assert list(curve["signal"]) == roc["signal"]


def test_the_efficiency_at_which_a_class_is_quoted_is_marked_and_seen(records):
    assert working_points(records[0]) == {"Hbb": 0.5, "Tbl": 0.995}
    figure = tagging_drawings(learning_curve(records), Label("ten classes"))[0].make()
    for axes, point in zip(figure.axes, (0.5, 0.995), strict=True):
        places = axes.transAxes.inverted().transform(
            [axes.transData.transform((line.get_xdata()[0], 10.0)) for line in axes.get_lines()]
        )
        marked = [
            place[0]
            for place, line in zip(places, axes.get_lines(), strict=True)
            if line.get_xdata()[0] == point == line.get_xdata()[1]
        ]
        assert len(marked) == 1 and 0.02 < marked[0] < 0.98


def test_every_line_has_its_matrix_and_all_share_the_curves(records):
    drawings = tagging_drawings(learning_curve(records), Label("ten classes"))
    stems = ["roc-classes", "confusion-trees-none", "confusion-scratch-none"]
    assert [one.stem for one in drawings] == stems
    curves, matrix = (drawings[i].make() for i in (0, 1))
    panels = [axes for axes in curves.axes if axes.get_lines()]
    assert [axes.get_title(loc="left") for axes in panels] == ["Hbb", "Tbl"]
    assert [len(axes.get_lines()) for axes in panels] == [3, 3]  # and the working point
    (cells,) = (axes for axes in matrix.axes if axes.images)
    assert [text.get_text() for text in cells.get_xticklabels()] == list(CLASSES)
    assert len(cells.texts) >= 9


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_names_above_a_matrix_do_not_meet(count):
    names = [f"class{number}" for number in range(count)]
    figure = confusion_matrix(
        np.eye(count), names, "frozen backbone", Label("new detector of jets")
    )
    figure.draw_without_rendering()
    texts = {text.get_text(): text for text in figure.axes[0].texts}
    kind, right = texts["Simulation"], texts["new detector of jets (13 TeV)"]
    assert kind.get_window_extent().x1 < right.get_window_extent().x0
    assert right.get_window_extent().x1 <= figure.bbox.x1


def test_of_many_lines_the_best_of_each_mode_has_a_matrix(records):
    frozen = [
        tagged("frozen", n, 0, 0.3 * number).model_copy(update={"pretraining": f"p{number}"})
        for number, n in enumerate([1000, 1000, 1000, 1000, 1000, 100])
    ]
    drawings = tagging_drawings(learning_curve([*records, *frozen]), Label("ten classes"))
    stems = {one.stem for one in drawings if one.stem.startswith("confusion")}
    assert stems == {"confusion-trees-none", "confusion-scratch-none", "confusion-frozen-p4"}


def page_of(folder):
    claims = folder / "claims.yaml"
    claims.write_text(CLAIMS)
    return write_results_page(folder / "r.jsonl", folder / "p.md", "P", claims)


def test_a_page_shows_them_and_lays_published_values_beside(records, tmp_path):
    for one in records:
        append(tmp_path / "r.jsonl", one)
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    page = write_results_page(
        tmp_path / "r.jsonl", tmp_path / "p.md", "P", tmp_path / "claims.yaml"
    )
    text = page.read_text()
    row = "| published: ParT (arXiv:2202.03772) | – | 0.9877 | 10638 | – |"
    assert text.count(row) == 1
    assert "No learning curve" not in text  # limits have none, and nobody is told to miss it
    assert len(list(tmp_path.glob("*confusion*.png"))) == 2
    assert len(list(tmp_path.glob("*roc-classes.png"))) == 1


def test_published_values_of_other_tasks_have_a_table_of_their_own(tmp_path):
    append(tmp_path / "r.jsonl", record("scratch"))
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    page = write_results_page(
        tmp_path / "r.jsonl", tmp_path / "p.md", "P", tmp_path / "claims.yaml"
    )
    assert "**Published**" in page.read_text()


def test_published_values_without_a_column_or_a_task_do_not_vanish(records, tmp_path):
    for one in records:
        append(tmp_path / "r.jsonl", one)
    (tmp_path / "claims.yaml").write_text("""
notes: [Three publications.]
published:
  - {name: ParT, source: a, task: ttH, metrics: {auc: 0.9877, rejection_50_Hqq: 42}}
  - {name: PFN, source: b, task: ttH, metrics: {rejection_50_Hqq: 7}}
  - {name: GAT, source: c, task: tth, metrics: {auc: 0.5}}
""")
    page = write_results_page(
        tmp_path / "r.jsonl", tmp_path / "p.md", "P", tmp_path / "claims.yaml"
    )
    text = page.read_text()
    assert text.count("| published: ParT (a) | – | 0.9877 | – | – |") == 1
    _, told, rest = text.partition("**Published**")
    assert told and "at 50 % efficiency of Hqq |" in rest
    for row in ("| published: ParT (a) | 42 |", "| published: PFN (b) | 7 |"):
        assert row in rest
    assert text.count("PFN") == 1  # no row of the other tables, which could show nothing
    assert "No Records of the task 'tth': published values of GAT (c) not shown." in text


def test_a_report_shows_them_without_the_scores(records, tmp_path):
    for one in records:
        append(tmp_path / "study" / "records.jsonl", one)
    page = write_report(tmp_path / "study", tmp_path / "report")
    text = page.read_text()
    assert "ROC and confusion by class" in text and "Metrics by class at 1000" in text
    assert "Scores of training and test events" not in text
    assert (tmp_path / "report" / "plots" / "confusion-trees-none_ttH.png").exists()
