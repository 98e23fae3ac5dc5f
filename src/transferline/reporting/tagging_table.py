"""Accuracy, AUC and the rejections of every class, as papers on jet tagging tabulate them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transferline.evaluation.learning_curve import Line, Point
from transferline.evaluation.records import Record
from transferline.evaluation.tagging import class_of
from transferline.evaluation.tail import over_seeds
from transferline.reporting.claims import Published
from transferline.reporting.plots import looks, metric_title
from transferline.reporting.result_tables import alone_among
from transferline.reporting.table import Table

_SHARED = ("accuracy", "auc")


def tagging_tables(lines: Sequence[Line], published: Sequence[Published] = ()) -> list[Table]:
    """Return one table per number of labelled events, the largest first; none without classes.

    Published values stand below the largest.
    """
    names = of_classes([record for line in lines for p in line.points for record in p.records])
    if not names:
        return []
    sizes = sorted({n for line in lines for n in line.n_train}, reverse=True)
    return [_table(lines, names, n, published if n == sizes[0] else ()) for n in sizes]


def of_classes(records: Sequence[Record]) -> list[str]:
    """Return the metrics of single classes that all records have, in their order."""
    if not records:
        return []
    shared = set.intersection(*(set(record.metrics) for record in records))
    return [name for name in records[0].metrics if name in shared and class_of(name)]


def class_columns(lines: Sequence[Line]) -> list[str]:
    """Return the metrics that `tagging_tables` have a column for; none without classes."""
    names = of_classes([record for line in lines for p in line.points for record in p.records])
    return [*_SHARED, *names] if names else []


def without_column(published: Sequence[Published], columns: Sequence[str]) -> list[Published]:
    """Return what published values leave that a table with these columns cannot show."""
    rest = [
        (one, {name: value for name, value in one.metrics.items() if name not in columns})
        for one in published
    ]
    return [one.model_copy(update={"metrics": values}) for one, values in rest if values]


def published_table(published: Sequence[Published]) -> Table:
    """Return published values alone, which no other table of their task has a column for."""
    names = list(dict.fromkeys(name for one in published for name in one.metrics))
    rows = [(_title(one), *_values(one, names)) for one in published]
    return Table("Published", ("", *map(metric_title, names)), tuple(rows))


def _table(
    lines: Sequence[Line], names: Sequence[str], n: int, published: Sequence[Published]
) -> Table:
    points = [
        (style.title, line.at(n))
        for line, style in zip(lines, looks(lines), strict=True)
        if n in line.n_train
    ]
    rows = [(f"{title} ({len(one.values)})", *_cells(one, names)) for title, one in points]
    columns = [*_SHARED, *names]
    told = [one for one in published if not one.metrics.keys().isdisjoint(columns)]
    rows += [(_title(one), *_values(one, columns)) for one in told]
    header = ("", *map(metric_title, _SHARED), *(class_of(name) or name for name in names))
    note = _note(names) + alone_among(len(one.values) for _, one in points)
    return Table(f"Metrics by class at {n} labelled events", header, tuple(rows), note)


def _cells(point: Point, names: Sequence[str]) -> list[str]:
    shared = [str(Point.of(point.records, name).measurement) for name in _SHARED]
    rejections = [over_seeds([record.metrics[name] for record in point.records]) for name in names]
    return [*shared, *map(str, rejections)]


def _title(one: Published) -> str:
    return f"published: {one.name} ({one.source})"


def _values(one: Published, names: Sequence[str]) -> list[str]:
    return [f"{one.metrics[name]:g}" if name in one.metrics else "–" for name in names]


def _note(names: Sequence[str]) -> str:
    by_share: dict[str, list[str]] = {}
    for name in names:
        by_share.setdefault(name.split("_")[1], []).append(class_of(name) or name)
    usual = max(by_share, key=lambda share: len(by_share[share]))
    others = "".join(
        f", {share} % of {' and '.join(of)}" for share, of in by_share.items() if share != usual
    )
    return (
        "In brackets the number of seeds. AUC: mean over all pairs of classes. By class: "
        f"1 / efficiency of the background class at {usual} % efficiency of the signal{others}. "
        "Errors combine seeds and the finite test set; > is a lower limit at 95 % confidence, "
        "where fewer than three background events pass."
    )


def by_task(published: Sequence[Published]) -> Mapping[str, list[Published]]:
    """Return task -> its published values."""
    found: dict[str, list[Published]] = {}
    for one in published:
        found.setdefault(one.task, []).append(one)
    return found
