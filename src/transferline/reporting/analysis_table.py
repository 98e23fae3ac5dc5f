"""What an analysis asks of its runs: rejection, sensitivity, sculpting, and a probe of jets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from transferline.evaluation.learning_curve import Line, Point
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.records import Record
from transferline.evaluation.tail import over_seeds
from transferline.reporting.claims import Published
from transferline.reporting.plots import looks, metric_title
from transferline.reporting.result_tables import alone_among
from transferline.reporting.table import Table

MARK = "sculpting"
"""Every Record of an analysis has this metric."""

_REJECTION = ("unweighted_rejection_90", "rejection_90")
SHOWN = (*_REJECTION, "n_eff_90", "sculpting", "jet_probe", "jet_probe_start")
"""Metrics that the table of all signal has a column for."""
_SEEDS = "In brackets the number of seeds, of a single cell where fewer have it."
_OF_SIGNAL = ("rejection_90", "significance", "asimov_significance", "limit")


def analysis_tables(lines: Sequence[Line], published: Sequence[Published] = ()) -> list[Table]:
    """Return two tables per number of labelled events, the largest first; none of other tasks.

    The first is of all signal together, with the published values below the largest size; the
    second of each signal sample.
    """
    records = [record for line in lines for p in line.points for record in p.records]
    if not records or not all(MARK in record.metrics for record in records):
        return []
    sizes = sorted({n for line in lines for n in line.n_train}, reverse=True)
    signals = [name for name in _names(records) if _is_of_signal(name)]
    tables = []
    for n in sizes:
        tables.append(_together(lines, n, published if n == sizes[0] else ()))
        if signals:
            tables.append(_each(lines, n, signals))
    return tables


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record.metrics))


def _is_of_signal(name: str) -> bool:
    kind, bracket, _ = name.partition("[")
    return kind in _OF_SIGNAL and (bool(bracket) or kind not in SHOWN)


def _together(lines: Sequence[Line], n: int, published: Sequence[Published]) -> Table:
    points = _points(lines, n)
    rows = [(title, *(_cell(point, name) for name in SHOWN)) for title, point in points]
    rows += [
        (f"published: {one.name} ({one.source})", *(_value(one.metrics, name) for name in SHOWN))
        for one in published
        if not one.metrics.keys().isdisjoint(SHOWN)
    ]
    note = (
        f"{_SEEDS} "
        "Rejection: 1 / background efficiency at 90 % signal efficiency, by events and by cross "
        "section; above that threshold the test set is worth so many background events. Sculpting: "
        "Jensen-Shannon divergence in bits of the mass of the two leading jets, between the tenth "
        "of the background with the highest scores and the rest; in brackets what a random tenth "
        "shows, which is no sculpting. Linear probe: AUC of a logistic "
        "regression on the backbone's embedding of single jets, after and before the training. "
        f"> is a lower limit at 95 % confidence.{_alone(points, SHOWN)}"
    )
    header = ("", *map(metric_title, SHOWN))
    return Table(f"Analysis at {n} labelled events", header, tuple(rows), note)


def _each(lines: Sequence[Line], n: int, signals: Sequence[str]) -> Table:
    samples = list(dict.fromkeys(name.partition("[")[2] for name in signals))
    kinds = [kind for kind in _OF_SIGNAL if any(name.partition("[")[0] == kind for name in signals)]
    points = _points(lines, n)
    rows = [
        (
            title,
            sample.rstrip("]") or "all",
            *(_cell(point, f"{kind}[{sample}" if sample else kind) for kind in kinds),
        )
        for title, point in points
        for sample in samples
    ]
    records = [r for _, point in points for r in point.records]
    missing = sorted({str(r.extra["sensitivity"]) for r in records if "sensitivity" in r.extra})
    note = " ".join(
        [
            _SEEDS,
            "Each signal against all background. Significance: expected of a discovery at signal "
            "strength one; limit: expected 95 % CLs upper limit on the signal strength. Both from "
            "a fit of the binned score in which every bin's background has the error of its "
            "simulation; beside them the formula for Asimov data.",
            *missing,
        ]
    ) + _alone(points, signals)
    header = ("", "Signal", *map(metric_title, kinds))
    return Table(f"Each signal at {n} labelled events", header, tuple(rows), note)


def _points(lines: Sequence[Line], n: int) -> list[tuple[str, Point]]:
    """Return the points at a size with their titles, which tell the number of seeds."""
    return [
        (f"{style.title} ({len(line.at(n).values)})", line.at(n))
        for line, style in zip(lines, looks(lines), strict=True)
        if n in line.n_train
    ]


def _alone(points: Iterable[tuple[str, Point]], names: Sequence[str]) -> str:
    return alone_among(len(_known(point, name)) for _, point in points for name in names)


def _known(point: Point, name: str) -> list[Measurement]:
    """Return a metric of the runs that have it; a sculpting may have no number."""
    found = [record.metrics[name] for record in point.records if name in record.metrics]
    return [one for one in found if name != "sculpting" or math.isfinite(one.value)]


def _cell(point: Point, name: str) -> str:
    records = [record for record in point.records if name in record.metrics]
    if not records:
        return "–"
    if not (found := _known(point, name)):
        return "undefined"
    return _text(name, found, records) + _fewer(len(found), point)


def _fewer(seeds: int, point: Point) -> str:
    return f" ({seeds})" if seeds < len(point.values) else ""


def _text(name: str, found: Sequence[Measurement], records: Sequence[Record]) -> str:
    if "rejection" in name:
        return str(over_seeds(found))
    if name == "sculpting":
        return f"{_mean(found)}{_floor(records)}"
    if all(one.error == 0.0 for one in found):  # a size, which has no error
        return f"{sum(one.value for one in found) / len(found):.0f}"
    return str(_mean(found))


def _floor(records: Sequence[Record]) -> str:
    masses = [record.extra.get("mass") for record in records]
    floors = [mass.get("floor") for mass in masses if isinstance(mass, dict)]
    known = [floor for floor in floors if isinstance(floor, float)]
    return f" ({statistics.fmean(known):.4f})" if known else ""


def _mean(found: Sequence[Measurement]) -> Measurement:
    """Mean over seeds; their spread and the error of the test set, which is common to all."""
    values = [one.value for one in found]
    seeds = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    test = statistics.fmean(one.error for one in found)
    return Measurement(statistics.fmean(values), math.hypot(seeds, test))


def _value(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:g}" if name in metrics else "–"
