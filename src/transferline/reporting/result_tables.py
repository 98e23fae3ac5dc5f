"""The tables that a study's Records give, the same in the HTML report and on results pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import TypeVar

from transferline.errors import NumericalError, TransferlineError
from transferline.evaluation.comparison import (
    Difference,
    error_reduction,
    gap_closed,
    paired_difference,
)
from transferline.evaluation.data_efficiency import Factor, data_efficiency
from transferline.evaluation.estimate import Estimate
from transferline.evaluation.learning_curve import Line, scratch_for
from transferline.evaluation.metrics import METRICS
from transferline.evaluation.records import Record
from transferline.evaluation.tagging import class_of
from transferline.reporting.p_value import p_text
from transferline.reporting.plots import looks, metric_title
from transferline.reporting.table import Table

R = TypeVar("R")

_SIZE = "Labelled events"
_OF_ANALYSIS = ("n_eff_90", "sculpting", "jet_probe", "jet_probe_start")
ALONE = "A single seed leaves the spread out."
_COLUMNS = 8  # of lines that a page is wide enough for


def alone_among(seeds: Iterable[int]) -> str:
    """Return what a note adds where one of some numbers of seeds is one, else nothing."""
    return f" {ALONE}" if 1 in seeds else ""


def result_tables(lines: Sequence[Line]) -> list[Table]:
    """Return what `lines` say: values, differences to scratch, factors and gaps closed.

    A table without a single entry is left out.
    """
    makers = (metric_table, difference_table, reduction_table, factor_table, gap_table)
    return [table for make in makers if (table := make(lines)).rows]


def metric_table(lines: Sequence[Line]) -> Table:
    """Return mean, error and number of seeds by size and mode."""
    cells = [
        {p.n_train: f"{p.measurement} ({len(p.values)})" for p in line.points} for line in lines
    ]
    note = (
        "Mean ± error (number of seeds). The error combines the spread over seeds, divided by the "
        "root of their number, with that of the finite test set, which is common to all seeds and "
        f"does not average down. {ALONE}"
    )
    return _table(metric_title(lines[0].metric), lines, cells, note)


def difference_table(lines: Sequence[Line]) -> Table:
    """Return the paired differences to scratch."""
    found = [_against_scratch(line, lines, paired_difference) or [] for line in lines]
    cells = [{d.n_train: difference_text(d) for d in differences} for differences in found]
    note = f"Paired by seed; in brackets the p-value, by Student's t. {ALONE}"
    if not all(d.paired_test for differences in found for d in differences):
        note += " Without replicas in the records the test error is not paired: an upper bound."
    return _table("Difference to scratch", lines, cells, note)


def difference_text(difference: Difference) -> str:
    """Return a difference with its sign, its error and, in brackets, its p-value.

    The error over a single common seed is that of the test set alone, and decides nothing.
    """
    found = difference.estimate
    sign = "+" if found.value >= 0 else ""
    chance = f" ({p_text(found.p_value())})" if found.error > 0 else ""
    return f"{sign}{difference.measurement}{chance if found.known else ' (one seed)'}"


def reduction_table(lines: Sequence[Line]) -> Table:
    """Return the share of scratch's `1 - metric` that is removed, in per cent."""
    if lines[0].metric not in ("auc", "accuracy"):
        return Table("", (), ())
    found = [_against_scratch(line, lines, error_reduction) or {} for line in lines]
    cells = [{n: _percent(share) for n, share in shares.items()} for shares in found]
    title = f"Share of scratch's 1 - {metric_title(lines[0].metric)} removed"
    return _table(title, lines, cells, f"Negative: it grew. {ALONE}")


def factor_table(lines: Sequence[Line]) -> Table:
    """Return the data-efficiency factors."""
    cells = [{f.n_train: str(f) for f in factors_of(line, lines)} for line in lines]
    note = (
        "Labelled events that scratch needs over those this mode had, at equal "
        f"{metric_title(lines[0].metric)}, read off scratch's curve (made monotone, linear in "
        "log n); where its sizes are more than ten times apart, the factors of both. In brackets "
        "the central 68 % interval from seeds (Student's t) and test set, or the 84 % bound of a "
        f"limit. {ALONE}"
    )
    return _table("Data-efficiency factor", lines, cells, note)


def factors_of(line: Line, lines: Sequence[Line]) -> list[Factor]:
    """Return the factors of a line; none for scratch itself or where its curve is too short."""
    return _against_scratch(line, lines, data_efficiency) or []


def gap_table(lines: Sequence[Line]) -> Table:
    """Return the share of scratch's gain up to its largest size that each mode has early.

    Where the scratch lines of several pre-trainings end at different sizes, each says its own.
    """
    against = [scratch_for(line, lines) for line in lines]
    cells = [_gaps(line, scratch) for line, scratch in zip(lines, against, strict=True)]
    ends = [0 if scratch is None else scratch.n_train[-1] for scratch in against]
    used = {end for end, column in zip(ends, cells, strict=True) if column}
    if len(used) > 1:
        to, each = "the largest", [f" (to {end})" for end in ends]
    else:
        to, each = f"{max(used, default=0)} labelled events", None
    title = f"Share closed of scratch's gap from this size to {to}"
    note = f"1 means: as good as scratch at that size. {ALONE}"
    return _table(title, lines, cells, note, each)


def _gaps(line: Line, scratch: Line | None) -> dict[int, str]:
    if scratch is None or line is scratch:
        return {}
    high = scratch.n_train[-1]
    sizes = [n for n in line.n_train if n in scratch.n_train and n < high]
    return {n: _gap(line, scratch, n, high) for n in sizes}


def _gap(line: Line, scratch: Line, low: int, high: int) -> str:
    try:
        return str(gap_closed(line, scratch, low, high))
    except NumericalError:
        return "no gap"


def _against_scratch(
    line: Line, lines: Sequence[Line], compute: Callable[[Line, Line], R]
) -> R | None:
    """Return `compute(line, scratch)`; None for scratch itself or where it cannot be computed."""
    scratch = scratch_for(line, lines)
    if scratch is None or line is scratch:
        return None
    try:
        return compute(line, scratch)
    except TransferlineError:
        return None


def _percent(share: Estimate) -> str:
    return f"{share.scaled(100.0)} %"


def _table(
    title: str,
    lines: Sequence[Line],
    cells: Sequence[Mapping[int, str]],
    note: str,
    added: Sequence[str] | None = None,
) -> Table:
    """Return rows of sizes and columns of lines; of many lines, the other way round.

    A line without any cell is left out. `added` stands behind the names of the lines.
    """
    names = [
        style.title + more for style, more in zip(looks(lines), added or repeat(""), strict=False)
    ]
    used = [(name, column) for name, column in zip(names, cells, strict=True) if column]
    sizes = sorted({n for _, column in used for n in column})
    if len(used) > _COLUMNS:
        across = [(name, *(column.get(n, "–") for n in sizes)) for name, column in used]
        return Table(title, (_SIZE, *map(str, sizes)), tuple(across), note)
    rows = [(str(n), *(column.get(n, "–") for _, column in used)) for n in sizes]
    return Table(title, (_SIZE, *(name for name, _ in used)), tuple(rows), note)


def cost_table(lines: Sequence[Line]) -> Table:
    """Return what the runs of each line cost."""
    rows = []
    for style, line in zip(looks(lines), lines, strict=True):
        records = [record for point in line.points for record in point.records]
        rows.append((style.title, str(len(records)), *_cost(records)))
    header = ("Mode", "Runs", "Optimiser steps", "Examples seen", "CPU hours", "Wall hours")
    return Table("Cost of the runs", header, tuple(rows), "Examples count every repetition.")


def _cost(records: Sequence[Record]) -> tuple[str, ...]:
    costs = [record.cost for record in records]
    return (
        f"{sum(cost.steps for cost in costs):,}",
        f"{sum(cost.examples_seen for cost in costs):,}",
        f"{sum(cost.cpu_seconds for cost in costs) / 3600:.2f}",
        f"{sum(cost.wall_seconds for cost in costs) / 3600:.2f}",
    )


def common_metrics(records: Sequence[Record]) -> list[str]:
    """Return the metrics that all records have, the headline metric first.

    Those of single classes stand together in `tagging_tables`, those of single signal samples and
    of an analysis alone in `analysis_tables`.
    """
    shared = set.intersection(*(set(record.metrics) for record in records))
    shared = {name for name in shared if class_of(name) is None}
    shared = {name for name in shared if "[" not in name and name not in _OF_ANALYSIS}
    known = [name for name in METRICS if name in shared]
    return known + sorted(shared - set(known))
