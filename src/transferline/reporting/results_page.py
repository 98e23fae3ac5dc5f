"""A Markdown page of results, built from committed Records: no number is typed by hand."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from transferline.config import load_config
from transferline.errors import DataError, TransferlineError
from transferline.evaluation.learning_curve import Line, learning_curve, without_repeats
from transferline.evaluation.records import Record, read
from transferline.files import json_hash, write_text
from transferline.reporting import plots
from transferline.reporting.ablation_table import Ablation, ablation_table
from transferline.reporting.analysis_table import SHOWN, analysis_tables
from transferline.reporting.checks import (
    best_when_first_seen,
    rates_at_ends,
    shortened_hash,
    still_improving,
)
from transferline.reporting.claims import Claims, Published
from transferline.reporting.page_figures import page_figures, source_figures
from transferline.reporting.page_parts import check_target, picture, shown
from transferline.reporting.pretext_table import (
    cost_of_pretrainings,
    costs_of_records,
    of_records,
    pretext_table,
)
from transferline.reporting.pretraining_plots import told_once
from transferline.reporting.result_tables import (
    common_metrics,
    cost_table,
    metric_table,
    reduction_table,
    result_tables,
)
from transferline.reporting.style import words
from transferline.reporting.table import Table
from transferline.reporting.tagging_table import (
    by_task,
    class_columns,
    published_table,
    tagging_tables,
    without_column,
)
from transferline.reporting.verdict_tables import verdict_tables
from transferline.reporting.weak_supervision import weak_curves, weak_drawing, weak_tables


def write_results_page(
    records: Path | Sequence[Path],
    out_md: Path,
    title: str,
    claims: Path | None = None,
) -> Path:
    """Write a results page and the pictures beside it; the same records give the same bytes.

    Args:
        records: JSONL files, or directories that hold some, see `find_records`.
        out_md: the page; pictures are named after it.
        title: its heading.
        claims: YAML file of claims to be judged by the records, see `claims.py`.

    Returns:
        `out_md`.

    Raises:
        DataError: there are no records, or a file is broken.
        ConfigError: the file of claims is wrong, or `out_md` is one of the files read.
    """
    given = load_config(claims, Claims) if claims else None
    sources = [records] if isinstance(records, Path) else list(records)
    files = find_records(sources)
    check_target(out_md, [*files, *([claims] if claims else [])])
    found = sorted(without_repeats(read(files)), key=_order)
    if not found:
        raise DataError(f"no records in {', '.join(map(str, sources))}.")
    command = _command(sources, out_md, title, claims)
    parts = [_head(title, command, files, found)]
    parts.append(_remarks(given.notes, given.names) if given else "")
    parts.append(verdict_tables(given.claims if given else (), found))
    parts.append(_ablations(given.ablations if given else (), found))
    published = by_task(given.published if given else ())
    stems = _stems({_part(record) for record in found}, out_md)
    for part, group in groupby(found, key=_part):
        parts.append(_task(list(group), stems[part], published.get(part[1], [])))
    parts.append(_not_run(published, {record.task for record in found}))
    parts += [_weak(found, out_md), _pretrainings(found, out_md)]
    parts.append(_provenance(found))
    write_text(out_md, "\n".join(part for part in parts if part))
    return out_md


def find_records(sources: Iterable[Path]) -> list[Path]:
    """Return the JSONL files that are meant, sorted.

    Of a directory that is every `records.jsonl` in and below it, and where there is none every
    `*.jsonl` in it: what a study has set aside is no Record of its page.

    Raises:
        DataError: a source does not exist or a directory holds none.
    """
    files: list[Path] = []
    for source in sources:
        below = sorted(source.rglob("records.jsonl")) or sorted(source.glob("*.jsonl"))
        found = below if source.is_dir() else [source]
        if not found or not found[0].is_file():
            raise DataError(f"{source}: holds no records.jsonl.")
        files += found
    return sorted(set(files))


def _order(record: Record) -> tuple[str | int, ...]:
    return (
        record.study,
        record.task,
        record.mode,
        record.pretraining,
        record.n_train,
        record.seed,
        record.hashes.config,
    )


def _part(record: Record) -> tuple[str, str]:
    """The study and the task of a part of the page."""
    return record.study, record.task


def _stems(parts: Collection[tuple[str, str]], out_md: Path) -> dict[tuple[str, str], Path]:
    """Return how the pictures of each part begin; a hash tells names apart that letters do not."""
    names = {
        part: "".join(c if c.isalnum() else "-" for c in "-".join((out_md.stem, *part)))
        for part in parts
    }
    used = Counter(names.values())
    return {
        part: out_md.with_name(f"{name}-{json_hash(part)[:6]}" if used[name] > 1 else name)
        for part, name in names.items()
    }


def _command(sources: Sequence[Path], out_md: Path, title: str, claims: Path | None) -> str:
    words = ["transferline", "report", *map(shown, sources), "--markdown", shown(out_md)]
    words += ["--title", title, *(["--claims", shown(claims)] if claims else [])]
    return shlex.join(words)


def _head(title: str, command: str, files: Sequence[Path], records: Sequence[Record]) -> str:
    names = ", ".join(f"`{shown(file)}`" for file in files)
    return (
        f"# {title}\n\n"
        f"Every number on this page is computed from Records ({len(records)}, in {names}). "
        f"It is regenerated by\n\n```\n{command}\n```\n\n"
        "`n` labelled events always counts all classes together.\n"
    )


def _remarks(notes: Sequence[str], names: Mapping[str, str]) -> str:
    """What a reader must know before the numbers: their faults, and what lines are called."""
    text = "".join(f"- {note}\n" for note in notes)
    text = f"**Read with care**\n\n{text}\n" if notes else ""
    meant = "".join(f"- {words(name)}: {meaning}\n" for name, meaning in names.items())
    return text + (f"**Names of the pre-trainings**\n\n{meant}" if names else "")


def _ablations(ablations: Iterable[Ablation], records: Sequence[Record]) -> str:
    text = []
    for one in ablations:
        try:
            text.append(ablation_table(one, records).markdown())
        except TransferlineError as error:
            text.append(f"No table of {one.title}: {error}\n\n")
    return "## Choices of a pre-training\n\n" + "".join(text) if text else ""


def _weak(records: Sequence[Record], out_md: Path) -> str:
    text = []
    for study, group in groupby(records, key=lambda record: record.study):
        try:
            curves = weak_curves(list(group))
        except DataError as error:
            text.append(f"## Weak supervision ({study})\n\nNo curve: {error}\n\n")
            continue
        if curves:
            stem = out_md.with_name(f"{out_md.stem}-{study}")
            text += [
                f"## Weak supervision ({study})\n\n",
                picture(weak_drawing(curves, study), stem),
            ]
            text += [table.markdown() for table in weak_tables(curves)]
    return "".join(text)


def _pretrainings(records: Sequence[Record], out_md: Path) -> str:
    text = []
    for study, group in groupby(records, key=lambda record: record.study):
        own = told_once(list(group))
        table = pretext_table(of_records(own))
        if table.rows:
            text.append(f"## Pre-training ({study})\n\n")
            stem = out_md.with_name(f"{out_md.stem}-{study}")
            text += [picture(found, stem) for found in source_figures(study, own)]
            text.append(table.markdown())
            costs = cost_of_pretrainings(costs_of_records(own))
            text += [costs.markdown()] if costs.rows else []
    return "".join(text)


def _not_run(published: Mapping[str, Sequence[Published]], tasks: Collection[str]) -> str:
    """Name what has no part of the page: a misspelt task would else be one published value less."""
    return "".join(
        f"No Records of the task '{task}': published values of "
        f"{'; '.join(f'{one.name} ({one.source})' for one in values)} not shown.\n\n"
        for task, values in published.items()
        if task not in tasks
    )


def _task(records: Sequence[Record], stem: Path, published: Sequence[Published]) -> str:
    study, task = records[0].study, records[0].task
    text = [f"## {task} ({study})\n\n"]
    curves: list[Sequence[Line]] = []
    for metric in common_metrics(records):
        try:
            curves.append(learning_curve(records, metric))
        except TransferlineError as error:
            text.append(f"No learning curve of {plots.metric_title(metric)}: {error}\n\n")
    if curves:
        text += [picture(found, stem) for found in page_figures(task, curves)]
        lines = curves[0]
        notes = [
            *still_improving(lines),
            *best_when_first_seen(lines),
            *rates_at_ends(lines),
        ]
        text += [f"{line}\n\n" for line in notes]
        others = [*result_tables(curves[0]), *_others(curves[1:]), cost_table(curves[0])]
        text += [table.markdown() for table in (*_details(curves[0], published), *others)]
    elif published:
        text.append(published_table(published).markdown())
    return "".join(text)


def _details(lines: Sequence[Line], published: Sequence[Published]) -> list[Table]:
    """Tables by class or of an analysis, and published values that these have no column for."""
    columns: Sequence[str] = class_columns(lines)
    tables = tagging_tables(lines, published)
    if not tables and (tables := analysis_tables(lines, published)):
        columns = SHOWN
    rest = without_column(published, columns)
    return [*tables, *([published_table(rest)] if rest else [])]


def _others(curves: Sequence[Sequence[Line]]) -> list[Table]:
    """Tables of the metrics after the first: values and, of accuracy, the error reduction."""
    tables = [make(lines) for lines in curves for make in (metric_table, reduction_table)]
    return [table for table in tables if table.rows]


def _provenance(records: Sequence[Record]) -> str:
    def listed(values: Iterable[str]) -> str:
        return ", ".join(f"`{value}`" for value in sorted(set(values)) if value) or "not recorded"

    precisions = Counter(str(p) for r in records if (p := dict(r.extra).get("precision")))
    told = ", ".join(f"{name} ({count} runs)" for name, count in sorted(precisions.items()))
    return (
        "## Provenance\n\n"
        f"- transferline {listed(record.version for record in records)}, "
        f"commit {listed(shortened_hash(record.commit) for record in records)}\n"
        f"- data {listed((record.hashes.data or '')[:12] for record in records)}\n"
        f"- checkpoint {listed((record.hashes.checkpoint or '')[:12] for record in records)}\n"
        f"- loaded backbone {listed((record.hashes.loaded or '')[:12] for record in records)}\n"
        + (f"- networks trained in {told}\n" if told else "")
    )
