from __future__ import annotations

from transferline.evaluation.learning_curve import learning_curve
from transferline.reporting.head_to_head import head_to_head_drawings
from transferline.reporting.page_figures import page_figures
from transferline.reporting.ranking import ranked, ranking_drawings
from transferline.reporting.style import Label

from ..evaluation.synthetic import record

COST = {"pretraining": {"events": 1, "family": "f", "passes": 9, "cpu_seconds": 3.6, "labels": 0}}


def lines(count=7, elsewhere=0):
    """Scratch, trees and so many pre-trainings at 1,000 labels, some of them at 3,000, too."""
    made = [record("scratch", 1000, auc=0.8), record("trees", 1000, auc=0.85)]
    for number in range(count):
        name = f"task_{number}"
        for n_train in (1000, 3000) if number < elsewhere else (1000,):
            more = {"pretraining": name, "extra": COST}
            made.append(record("finetuned", n_train, auc=0.8 + 0.01 * number, **more))
        made.append(record("frozen", 1000, auc=0.7, pretraining=name))
    return learning_curve(made, "auc")


def test_rows_are_sorted_by_the_fine_tuned_network_and_hold_every_mode():
    [drawing] = ranking_drawings(lines(), Label("ttH"))
    figure = drawing.make()
    [axes] = figure.axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == [f"task {number}" for number in range(7)]  # from the bottom up
    titles = {text.get_text() for text in figure.legends[0].get_texts()}
    assert titles == {"boosted trees", "from scratch", "frozen backbone", "fine-tuned"}
    drawn = [bars.lines[0].get_xydata()[0] for bars in axes.containers]
    assert len(drawn) == 3 * 7
    best = sorted(x for x, y in drawn if round(y) == 6)
    assert [round(float(x), 3) for x in best] == [0.7, 0.8, 0.86]
    assert "1,000 labelled events" in drawing.caption


def test_it_stands_in_place_of_a_heap_of_single_points():
    assert not head_to_head_drawings(lines(), Label("ttH"))
    assert "ranking" in [found.stem for found in page_figures("ttH", [lines()])]
    for few in (lines(5), lines(7, elsewhere=4)):
        assert ranked(few) is None
        assert head_to_head_drawings(few, Label("ttH"))
        assert not ranking_drawings(few, Label("ttH"))
    assert ranked(learning_curve([record("scratch", 1000)], "auc")) is None


def test_only_lines_of_several_sizes_have_a_learning_curve():
    figures = {one.stem: one for one in page_figures("ttH", [lines(7, elsewhere=3)])}
    assert "ranking" in figures
    figure = figures["learning-curve"].make()
    drawn = [line for axes in figure.axes for line in axes.get_lines() if len(line.get_xdata()) > 1]
    assert len(drawn) >= 3
    titles = " ".join(t.get_text() for axes in figure.axes for t in axes.texts + axes.artists)
    titles += " ".join(
        t.get_text() for a in figure.axes if a.legend_ for t in a.legend_.get_texts()
    )
    assert "task 2" in titles
    assert "task 3" not in titles


def test_lines_of_one_size_each_have_no_learning_curve_though_the_sizes_differ():
    """Trees at another size than the networks are no curve, in neither metric."""
    trees = record("trees", 500, auc=0.85)
    made = [*(r for line in lines() for p in line.points for r in p.records), trees]
    made = [
        r.model_copy(update={"metrics": {**r.metrics, "accuracy": r.metrics["auc"]}})
        for r in made
        if r.mode != "trees" or r is trees
    ]
    curves = [learning_curve(made, metric) for metric in ("auc", "accuracy")]
    figures = {one.stem: one for one in page_figures("ttH", curves)}
    assert "ranking" in figures
    assert not {"learning-curve", "accuracy"} & figures.keys()
