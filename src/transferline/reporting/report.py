"""The report of a study: one HTML page that needs nothing else, and every plot as PNG and PDF."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from transferline.errors import TransferlineError
from transferline.evaluation.learning_curve import Line, learning_curve, without_repeats
from transferline.evaluation.records import Record
from transferline.files import write_text
from transferline.provenance import run_facts
from transferline.reporting import plots
from transferline.reporting.analysis_table import analysis_tables
from transferline.reporting.checks import warnings_about
from transferline.reporting.drawing import Drawing
from transferline.reporting.head_to_head import head_to_head_drawings
from transferline.reporting.page import Page
from transferline.reporting.page_figures import quoted
from transferline.reporting.pretext_table import (
    cost_of_checkpoint,
    cost_of_pretrainings,
    of_checkpoint,
    pretext_table,
)
from transferline.reporting.ranking import ranking_drawings
from transferline.reporting.result_tables import (
    common_metrics,
    cost_table,
    metric_table,
    result_tables,
)
from transferline.reporting.sample_tables import cut_flow, cut_flow_table, sample_table
from transferline.reporting.study_directory import StudyDirectory
from transferline.reporting.style import Label, save, words
from transferline.reporting.table import Table
from transferline.reporting.tagging_table import tagging_tables
from transferline.reporting.task_figures import TaskFigures, pretraining_losses
from transferline.reporting.weak_supervision import weak_curves, weak_drawing, weak_tables


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
        self.page = Page(study.name, self._subtitle())

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
        self._weak()
        self._pretraining()
        self._samples()
        self._provenance()
        self._warnings()

    def _missing(self, text: str) -> None:
        self.page.text(text, "warning")
        self.warnings.append(text)

    def _draw(self, drawings: Sequence[Drawing]) -> None:
        """Save and embed drawings; one that fails says why."""
        pictures = []
        for drawing in drawings:
            try:
                png, _ = save(drawing.make(), self.plots / _file_name(drawing.stem))
            except TransferlineError as error:
                self._missing(f"{drawing.caption}: not drawn. {error}")
            else:
                pictures.append((png, drawing.caption))
        if pictures:
            self.page.figures(pictures)

    def _task(self, task: str, records: Sequence[Record]) -> None:
        self.page.section(f"Results: {words(task)}")
        curves = self._curves(records)
        if not curves:
            return
        lines, others = curves[0], curves[1:]
        (title, first), *sections = TaskFigures(self.study, task, lines).sections()
        self.page.subsection(title)
        compared = [
            *head_to_head_drawings(quoted(curves), Label(task)),
            *ranking_drawings(quoted(curves), Label(task)),
        ]
        self._draw([*first, *(replace(one, stem=f"{one.stem}_{task}") for one in compared)])
        for table in (*tagging_tables(lines), *analysis_tables(lines), *result_tables(lines)):
            self.page.table(table)
        if others:
            self.page.folded("Other metrics", [metric_table(other) for other in others])
        self.page.table(cost_table(lines))
        for title, drawings in sections:
            self.page.subsection(title)
            self._draw(drawings)
        self.warnings += [f"{task}: {text}" for text in warnings_about(records, lines)]

    def _curves(self, records: Sequence[Record]) -> list[list[Line]]:
        """Return the learning curve of every metric that has one, the headline metric first."""
        curves = []
        for metric in common_metrics(records):
            try:
                curves.append(learning_curve(records, metric))
            except TransferlineError as error:
                self._missing(f"No learning curve of {plots.metric_title(metric)}: {error}")
        return curves

    def _weak(self) -> None:
        try:
            curves = weak_curves(self.records)
        except TransferlineError as error:
            self._missing(f"No curve of weak supervision: {error}")
            return
        if curves:
            self.page.section("Weak supervision")
            self._draw([weak_drawing(curves, self.study.name)])
            for table in weak_tables(curves):
                self.page.table(table)

    def _pretraining(self) -> None:
        self.page.section("Pre-training")
        drawings = [
            pretraining_losses(found.name, found.losses)
            for found in self.study.pretrainings
            if found.losses is not None
        ]
        if not drawings:
            self._missing("No loss curve of a pre-training is here.")
        self._draw(drawings)
        known = {found.name: of_checkpoint(found.config) for found in self.study.pretrainings}
        costs = {found.name: cost_of_checkpoint(found.config) for found in self.study.pretrainings}
        for table in (pretext_table(known), cost_of_pretrainings(costs)):
            if table.rows:
                self.page.table(table)

    def _samples(self) -> None:
        self.page.section("Samples and cut-flow")
        if not self.study.samples:
            self._missing("No samples are here: samples.json lists none.")
            return
        self.page.table(sample_table(self.study.samples))
        cut = [sample for sample in self.study.samples if sample.cutflow.steps]
        if cut:
            self._draw([cut_flow(cut)])
        for sample in cut:
            self.page.table(cut_flow_table(sample))
        for sample in self.study.samples:
            if not sample.cutflow.steps:
                self._missing(f"No cut-flow of the sample {sample.name} is here.")

    def _provenance(self) -> None:
        self.page.section("Provenance")
        facts = run_facts()
        rows = [(name, version) for name, version in facts["versions"].items()]
        self.page.table(Table("This page was made with", ("Package", "Version"), tuple(rows)))
        if self.records:
            self.page.folded("Hashes of every run", [_hash_table(self.records)])
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
        found = list(dict.fromkeys([*self.warnings, *self.study.absent]))
        self.page.section(f"Warnings ({len(found)})")
        for text in found:
            self.page.text(text, "warning")
        if not found:
            self.page.text("None.")


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
