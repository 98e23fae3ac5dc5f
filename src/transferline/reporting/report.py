"""The report of a study: one HTML page that needs nothing else, and every plot as PNG and PDF."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from transferline.errors import DataError, TransferlineError
from transferline.evaluation.learning_curve import Line, learning_curve, without_repeats
from transferline.evaluation.records import Record
from transferline.evaluation.roc import Roc, roc_curve
from transferline.evaluation.roc_band import RocBand
from transferline.files import write_text
from transferline.provenance import run_facts
from transferline.reporting import plots, run_plots
from transferline.reporting.checks import warnings_about
from transferline.reporting.page import Page
from transferline.reporting.result_tables import (
    common_metrics,
    cost_table,
    factors_of,
    metric_table,
    result_tables,
)
from transferline.reporting.run_plots import SERIES
from transferline.reporting.study_directory import StudyDirectory
from transferline.reporting.style import Label, Look, save, words
from transferline.reporting.table import Table


def write_report(run_dir: Path, out: Path) -> Path:
    """Write `out/report.html` and the plots in `out/plots/`; return the page.

    A part of the study that is absent or unreadable is named on the page, in its place and among
    the warnings; the rest is shown.

    Args:
        run_dir: the directory of a study.
        out: a directory, made if need be.

    Raises:
        DataError: `run_dir` is not a directory.
    """
    study = StudyDirectory.open(Path(run_dir))
    report = _Report(study, Path(out))
    report.fill()
    page = Path(out) / "report.html"
    write_text(page, report.page.html())
    return page


class _Report:
    """A report in the making."""

    def __init__(self, study: StudyDirectory, out: Path) -> None:
        self.study = study
        self.plots = out / "plots"
        self.warnings: list[str] = []
        records = without_repeats(study.records)
        records.sort(key=lambda r: (r.study, r.task, r.mode, r.pretraining, r.n_train, r.seed))
        self.records = records
        self.page = Page(f"Study {study.name}", self._subtitle())

    def _subtitle(self) -> str:
        if not self.records:
            return "No finished run."
        last = max(record.time for record in self.records)
        versions = ", ".join(sorted({record.version for record in self.records}))
        return f"{len(self.records)} runs, the last ended {last}; transferline {versions}."

    def fill(self) -> None:
        """Add all sections; the warnings come last, as the others find some."""
        if not self.records:
            self.page.section("Results")
            self._missing("No results: records.jsonl holds no readable record.")
        for (_, task), group in groupby(self.records, key=lambda r: (r.study, r.task)):
            self._task(task, list(group))
        self._pretraining()
        self._cut_flow()
        self._provenance()
        self._warnings()

    def _missing(self, text: str) -> None:
        self.page.text(text, "warning")
        self.warnings.append(text)

    def _draw(self, items: Sequence[tuple[str, str, Callable[[], Figure]]]) -> None:
        """Save and embed figures `(file stem, caption, maker)`; one that fails says why."""
        pictures = []
        for stem, caption, make in items:
            try:
                png, _ = save(make(), self.plots / _file_name(stem))
            except TransferlineError as error:
                self._missing(f"{caption}: not drawn. {error}")
            else:
                pictures.append((png, caption))
        if pictures:
            self.page.figures(pictures)

    def _task(self, task: str, records: Sequence[Record]) -> None:
        self.page.section(f"Results: {words(task)}")
        metrics = common_metrics(records)
        drawn: list[Line] = []
        for number, metric in enumerate(metrics):
            try:
                lines = learning_curve(records, metric)
            except TransferlineError as error:
                self._missing(f"No table of {plots.metric_title(metric)}: {error}")
                continue
            for table in result_tables(lines) if number == 0 else [metric_table(lines)]:
                self.page.table(table)
            drawn = drawn or lines
        if not drawn:
            return
        self.page.table(cost_table(drawn))
        self.warnings += [f"{task}: {text}" for text in warnings_about(records, drawn)]
        _TaskFigures(self, task, drawn).add()

    def _pretraining(self) -> None:
        self.page.section("Pre-training")
        known = [p for p in self.study.pretrainings if p.losses is not None]
        if not known:
            self._missing("No loss curve of a pre-training is here.")
        self._draw(
            [
                (f"pretraining_{p.name}", f"Pre-training {p.name}", _losses_of(p.name, p.losses))
                for p in known
                if p.losses is not None
            ]
        )

    def _cut_flow(self) -> None:
        self.page.section("Cut-flow")
        samples = [sample for sample in self.study.samples if sample.cutflow]
        if not samples:
            self._missing("No cut-flow is here: samples.json lists none.")
            return
        shares = {s.name: [(step, weighted) for step, _, weighted in s.cutflow] for s in samples}
        self._draw([("cut_flow", "Cut-flow", lambda: run_plots.cut_flow(shares))])
        for sample in samples:
            rows = tuple((step, f"{raw:,.0f}", f"{w:,.6g}") for step, raw, w in sample.cutflow)
            header = ("Step", "Events", "Sum of signed weights")
            self.page.table(Table(f"{sample.name} (label {sample.label})", header, rows))
        for sample in self.study.samples:
            if not sample.cutflow:
                self._missing(f"No cut-flow of the sample {sample.name} is here.")

    def _provenance(self) -> None:
        self.page.section("Provenance")
        facts = run_facts()
        rows = [(name, version) for name, version in facts["versions"].items()]
        self.page.table(Table("This page was made with", ("Package", "Version"), tuple(rows)))
        if self.records:
            self.page.table(_hash_table(self.records))
        if self.study.config is not None:
            self.page.code("Resolved configuration of the study", _pretty(self.study.config))
        for pretraining in self.study.pretrainings:
            self.page.code(f"Card of pre-training {pretraining.name}", pretraining.card)
            self.page.code(
                f"Configuration of pre-training {pretraining.name}", _pretty(pretraining.config)
            )
        for sample in self.study.samples:
            self.page.code(f"Data card of {sample.name}", _pretty(sample.card))

    def _warnings(self) -> None:
        self.page.section("Warnings")
        found = list(dict.fromkeys([*self.warnings, *self.study.absent]))
        for text in found:
            self.page.text(text, "warning")
        if not found:
            self.page.text("None.")


class _TaskFigures:
    """The figures of one task."""

    def __init__(self, report: _Report, task: str, lines: list[Line]) -> None:
        self.report, self.task, self.lines = report, task, lines
        self.label = Label(task)
        self.looks = list(zip(lines, plots.looks(lines), strict=True))
        sizes = sorted({n for line in lines for n in line.n_train})
        # Where transfer matters most, and where it matters least.
        self.sizes = list(dict.fromkeys([sizes[0], sizes[-1]]))

    def add(self) -> None:
        """Draw learning curve, factors, ROC, scores and losses."""
        page, draw = self.report.page, self.report._draw
        page.subsection("Learning curve")
        draw([self._learning_curve(), *self._factors()])
        page.subsection("ROC")
        draw([self._roc(n) for n in self.sizes])
        page.subsection("Scores of training and test events")
        draw([item for n in self.sizes for item in self._scores(n)])
        page.subsection("Losses")
        draw([self._losses(n) for n in self.sizes])

    def _learning_curve(self) -> tuple[str, str, Callable[[], Figure]]:
        caption = (
            "Learning curve. Bands: one standard deviation, seeds and test set together; "
            "below, differences paired by seed."
        )
        return (
            f"learning_curve_{self.task}",
            caption,
            lambda: plots.learning_curve(self.lines, self.label),
        )

    def _factors(self) -> list[tuple[str, str, Callable[[], Figure]]]:
        factors = {
            line.name: (style, found)
            for line, style in self.looks
            if (found := factors_of(line, self.lines))
        }
        if not factors:
            return []
        caption = "Labelled events scratch needs over those of the mode, at equal metric."
        return [
            (
                f"data_efficiency_{self.task}",
                caption,
                lambda: plots.data_efficiency_factor(factors, self.label),
            )
        ]

    def _roc(self, n: int) -> tuple[str, str, Callable[[], Figure]]:
        caption = f"ROC at {n} labelled events. Bands: one standard deviation between seeds."
        return f"roc_{self.task}_{n}", caption, lambda: run_plots.roc(self._bands(n), self.label)

    def _bands(self, n: int) -> list[tuple[Look, RocBand]]:
        bands = [
            (style, RocBand.of(rocs)) for line, style in self.looks if (rocs := self._rocs(line, n))
        ]
        if not bands:
            raise DataError(f"no run at {n} labelled events kept its scores.")
        return bands

    def _rocs(self, line: Line, n: int) -> list[Roc]:
        rocs = []
        for record in _records(line, n):
            try:
                test, _ = self.report.study.scores(record)
                rocs.append(roc_curve(test.score, test.is_signal, test.weight))
            except TransferlineError as error:
                self.report.warnings.append(str(error))
        return rocs

    def _scores(self, n: int) -> list[tuple[str, str, Callable[[], Figure]]]:
        return [
            (
                f"scores_{self.task}_{line.mode}_{line.pretraining}_{n}",
                f"Scores: {style.title}, {n} labelled events, one seed.",
                _distributions(self.report.study, record, self.label),
            )
            for line, style in self.looks
            for record in _records(line, n)[:1]
        ]

    def _losses(self, n: int) -> tuple[str, str, Callable[[], Figure]]:
        caption = f"Losses at {n} labelled events, one seed. Dots: the weights that are kept."

        def make() -> Figure:
            series = [
                (style, losses)
                for line, style in self.looks
                for record in _records(line, n)[:1]
                if line.mode != "trees" and (losses := self.report.study.losses(record)) is not None
            ]
            if not series:
                raise DataError(f"no run at {n} labelled events kept its losses.")
            return run_plots.loss_curves(series, self.label)

        return f"losses_{self.task}_{n}", caption, make


def _records(line: Line, n: int) -> list[Record]:
    return [record for point in line.points if point.n_train == n for record in point.records]


def _distributions(study: StudyDirectory, record: Record, label: Label) -> Callable[[], Figure]:
    def make() -> Figure:
        test, train = study.scores(record)
        if train is None:
            raise DataError(f"runs/{record.key()}/scores.npz: holds no training scores.")
        return run_plots.score_distributions(test, train, label)

    return make


def _losses_of(name: str, losses: run_plots.Losses) -> Callable[[], Figure]:
    style = Look(words(name), SERIES[0], "o", "-")
    return lambda: run_plots.loss_curves([(style, losses)], Label("pre-training"))


def _hash_table(records: Sequence[Record]) -> Table:
    rows = []
    for record in records:
        hashes = record.hashes
        shown = (hashes.loaded, hashes.start, hashes.end, hashes.checkpoint, hashes.data)
        short = (value[:10] if value else "–" for value in (*shown, hashes.config))
        rows.append((record.key(), *short, record.commit[:10] or "–"))
    header = (
        "Run",
        "Backbone loaded",
        "at start",
        "at end",
        "Checkpoint",
        "Data",
        "Config",
        "Commit",
    )
    note = (
        "First digits of SHA-256. A frozen backbone is the same in all three; a fine-tuned one "
        "starts as it was loaded; one from scratch does not."
    )
    return Table("Hashes", header, tuple(rows), note)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _file_name(stem: str) -> str:
    return "".join(c if c.isalnum() or c in "_-+" else "-" for c in stem)
