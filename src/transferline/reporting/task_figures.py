"""Which figures a report draws for one task, each made only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from transferline.errors import DataError
from transferline.evaluation.learning_curve import Line
from transferline.evaluation.records import Record
from transferline.evaluation.roc import Roc, roc_curve
from transferline.evaluation.roc_band import RocBand
from transferline.reporting import plots, run_plots
from transferline.reporting.drawing import Drawing
from transferline.reporting.mass_plot import mass_drawings
from transferline.reporting.result_tables import factors_of
from transferline.reporting.run_plots import Losses
from transferline.reporting.small_multiples import learning_curves, loss_curves
from transferline.reporting.study_directory import StudyDirectory
from transferline.reporting.style import SERIES, Label, Look, words
from transferline.reporting.tagging_plots import tagging_drawings


class TaskFigures:
    """The figures of one task of a study."""

    def __init__(self, study: StudyDirectory, task: str, lines: Sequence[Line]) -> None:
        self.study, self.task, self.lines = study, task, lines
        self.label = Label(task)
        self.looks = list(zip(lines, plots.looks(lines), strict=True))
        sizes = sorted({n for line in lines for n in line.n_train})
        # Where transfer matters most, and where it matters least.
        self.sizes = list(dict.fromkeys([sizes[0], sizes[-1]]))

    def sections(self) -> list[tuple[str, list[Drawing]]]:
        """Return titles with their drawings."""
        return [
            ("Learning curve", [self._learning_curve(), *self._factors()]),
            *self._scored(),
            *self._masses(),
            ("Losses", [self._losses(n) for n in self.sizes]),
        ]

    def _scored(self) -> list[tuple[str, list[Drawing]]]:
        """Return what shows the scores: of two classes their distributions, of more none."""
        if by_class := tagging_drawings(self.lines, self.label):
            drawings = [replace(one, stem=f"{one.stem}_{self.task}") for one in by_class]
            return [("ROC and confusion by class", drawings)]
        scores = [drawing for n in self.sizes for drawing in self._scores(n)]
        return [
            ("ROC", [self._roc(n) for n in self.sizes]),
            ("Scores of training and test events", scores),
        ]

    def _masses(self) -> list[tuple[str, list[Drawing]]]:
        drawings = mass_drawings(self.lines, self.label)
        named = [replace(one, stem=f"{one.stem}_{self.task}") for one in drawings]
        return [("Mass of the background in slices of the score", named)] if named else []

    def _learning_curve(self) -> Drawing:
        caption = (
            "Learning curve. Bands: one standard deviation, seeds and test set together; "
            "below, differences paired by seed."
        )
        stem = f"learning_curve_{self.task}"
        return Drawing(stem, caption, lambda: learning_curves(self.lines, self.label))

    def _factors(self) -> list[Drawing]:
        factors = {
            line.name: (style, found)
            for line, style in self.looks
            if (found := factors_of(line, self.lines))
        }
        if not factors:
            return []
        caption = "Labelled events scratch needs over those of the mode, at equal metric."
        stem = f"data_efficiency_{self.task}"
        return [Drawing(stem, caption, lambda: plots.data_efficiency_factor(factors, self.label))]

    def _roc(self, n: int) -> Drawing:
        caption = f"ROC at {n} labelled events. Bands: one standard deviation between seeds."
        stem = f"roc_{self.task}_{n}"
        return Drawing(stem, caption, lambda: run_plots.roc(self._bands(n), self.label))

    def _bands(self, n: int) -> list[tuple[Look, RocBand]]:
        rocs = [
            (style, [self._one_roc(r) for r in _records(line, n)]) for line, style in self.looks
        ]
        return [(style, RocBand.of(found)) for style, found in rocs if found]

    def _one_roc(self, record: Record) -> Roc:
        test, _ = self.study.scores(record)
        return roc_curve(test.score, test.is_signal, test.weight)

    def _scores(self, n: int) -> list[Drawing]:
        return [
            Drawing(
                f"scores_{self.task}_{line.mode}_{line.pretraining}_{n}",
                f"Scores: {style.title}, {n} labelled events, one seed.",
                self._distributions(record),
            )
            for line, style in self.looks
            for record in _records(line, n)[:1]
            if "weak" not in record.extra  # it was trained on other labels than it is tested on
        ]

    def _distributions(self, record: Record) -> Callable[[], Figure]:
        def make() -> Figure:
            test, train = self.study.scores(record)
            if train is None:
                raise DataError(f"runs/{record.key()}/scores.npz: holds no training scores.")
            return run_plots.score_distributions(test, train, self.label)

        return make

    def _losses(self, n: int) -> Drawing:
        caption = f"Losses at {n} labelled events, one seed. Dots: the weights that are kept."

        def make() -> Figure:
            series = [
                (line, losses.kept_by(record))
                for line in self.lines
                for record in _records(line, n)[:1]
                if line.mode != "trees" and (losses := self.study.losses(record)) is not None
            ]
            if not series:
                raise DataError(f"no run at {n} labelled events kept its losses.")
            return loss_curves(series, self.label, self.lines)

        return Drawing(f"losses_{self.task}_{n}", caption, make)


def _records(line: Line, n: int) -> list[Record]:
    return [record for point in line.points if point.n_train == n for record in point.records]


def pretraining_losses(name: str, losses: Losses) -> Drawing:
    """Return the drawing of a pre-training's losses."""
    style = Look(words(name), SERIES[0], "o", "-")
    caption = f"Losses of the pre-training {words(name)}."
    return Drawing(
        f"pretraining_{name}",
        caption,
        # Its events may be collision data, so nothing is said about their kind.
        lambda: run_plots.loss_curves([(style, losses)], Label("pre-training", kind="")),
    )
