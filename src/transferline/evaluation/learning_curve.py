"""Learning curves: a metric against the number of labelled events, with its whole error.

Two errors meet in every point. The spread over seeds (training subset and starting weights) falls
as one over the root of their number. The test set is one and the same for all seeds, so its error
does *not* average down: it enters once, in full.

A point keeps its error as a vector of independent contributions, one per seed and one per
bootstrap replica of the test set. The error of any linear combination of points is the length of
the same combination of their vectors, so whatever two points share (the subset of a seed, the
test set) cancels or adds as it should.

Of a background rejection the efficiencies are averaged: seeds that happen to let one event pass
would rule a mean of their inverses.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transferline.errors import DataError, NumericalError
from transferline.evaluation.estimate import Estimate
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.records import Record
from transferline.evaluation.tail import is_rejection

_ORDER = ("trees", "scratch", "frozen", "fixed", "finetuned")


@dataclass(frozen=True)
class Point:
    """One mode at one number of labelled events.

    Args:
        n_train: labelled events, both classes together.
        values: seed -> metric.
        from_seeds: contributions of the seeds to the error, empty for a single seed.
        from_test: contributions of the finite test set.
        records: what the point was made from, one per seed.
        metric: which of their metrics.
    """

    n_train: int
    values: Mapping[int, float]
    from_seeds: Mapping[str, float]
    from_test: Mapping[str, float]
    records: tuple[Record, ...]
    metric: str

    @property
    def value(self) -> float:
        """The mean over seeds; of a rejection that of the mean efficiency."""
        return _mean(self.values.values(), self.metric)

    @property
    def spread(self) -> float:
        """The sample standard deviation over seeds; not a number for a single seed."""
        if len(self.values) < 2:
            return math.nan
        return float(np.std(list(self.values.values()), ddof=1))

    @property
    def test_error(self) -> float:
        """The error from the finite test set, common to all seeds."""
        return math.hypot(*self.from_test.values())

    @property
    def contributions(self) -> dict[str, float]:
        """All independent contributions to the error."""
        return {**self.from_seeds, **self.from_test}

    @property
    def error(self) -> float:
        """All contributions in quadrature; a single seed leaves those of the seeds unknown."""
        return math.hypot(*self.contributions.values())

    @property
    def measurement(self) -> Measurement:
        """Mean and error."""
        return Measurement(self.value, self.error)

    @classmethod
    def of(cls, records: Sequence[Record], metric: str) -> Point:
        """Combine the records of one mode and `n_train`, one per seed.

        Raises:
            DataError: a record lacks the metric, two records share a seed, or seeds are of
                different settings.
            NumericalError: the metric or its error is not finite, as a rejection where no
                background passes.
        """
        values = {record.seed: _finite(record, metric).value for record in records}
        if len(values) < len(records):
            raise DataError(_duplicates(records))
        if len({record.hashes.config for record in records}) > 1:
            raise DataError(_mixed(records))
        seed_part, test_part = _seed_part(values, metric), _test_part(records, metric)
        return cls(records[0].n_train, values, seed_part, test_part, tuple(records), metric)

    def restricted(self, seeds: Collection[int]) -> Point:
        """Return the point made from these seeds only."""
        return Point.of([record for record in self.records if record.seed in seeds], self.metric)


def _mean(values: Collection[float], metric: str) -> float:
    if is_rejection(metric):
        return len(values) / math.fsum(1.0 / value for value in values)
    return math.fsum(values) / len(values)


def _slope(mean: float, value: float, metric: str) -> float:
    """How much the mean over seeds moves with one of them, times their number."""
    return (mean / value) ** 2 if is_rejection(metric) else 1.0


def _seed_part(values: Mapping[int, float], metric: str) -> dict[str, float]:
    count = len(values)
    if count < 2:
        return {}
    mean = _mean(values.values(), metric)
    scale = math.sqrt(count * (count - 1))

    def away(value: float) -> float:
        return mean * (1.0 - mean / value) if is_rejection(metric) else value - mean

    return {f"seed {seed}": away(value) / scale for seed, value in values.items()}


def _test_part(records: Sequence[Record], metric: str) -> dict[str, float]:
    kept = [record.replicas for record in records]
    one, first = records[0], kept[0]
    drawn = [
        replicas.values[metric]
        for replicas in kept
        if first and replicas and replicas.paired_with(first) and metric in replicas.values
    ]
    found = [_finite(record, metric) for record in records]
    mean = _mean([each.value for each in found], metric)
    # A rejection may be infinite in a replica, and then has no mean over them.
    if first is None or len(drawn) < len(records) or not np.isfinite(drawn).all():
        # Other networks, those of other sizes included, are wrong about other events.
        seen = f"test set as seen by {one.mode} {one.pretraining} {one.n_train}"
        errors = (each.error * _slope(mean, each.value, metric) for each in found)
        return {seen: math.fsum(errors) / len(records)}
    rows = np.array(drawn)
    if is_rejection(metric):  # to first order, as its error is
        means = -(mean**2) * np.mean(1.0 / rows, axis=0)
    else:
        means = np.mean(rows, axis=0)
    shifts = (means - means.mean()) / math.sqrt(means.size - 1)
    name = f"test set {first.test_set} drawn by {first.seed}"
    return {f"{name}: {number}": float(shift) for number, shift in enumerate(shifts)}


def _finite(record: Record, metric: str) -> Measurement:
    if metric not in record.metrics:
        known = ", ".join(record.metrics)
        raise DataError(f"the record {record.key()} has no metric '{metric}'; it has {known}.")
    found = record.metrics[metric]
    if not (math.isfinite(found.value) and math.isfinite(found.error)):
        raise NumericalError(f"{metric} of the record {record.key()} is {found}: no mean exists.")
    return found


def _duplicates(records: Sequence[Record]) -> str:
    return (
        f"several records share {_place(records)} and a seed (config hashes {_configs(records)}): "
        "they come from different studies or configurations. Keep one."
    )


def _mixed(records: Sequence[Record]) -> str:
    seeds = ", ".join(str(record.seed) for record in records)
    return (
        f"the seeds {seeds} of {_place(records)} are of different settings, data or weights "
        f"(config hashes {_configs(records)}) and have no mean. Keep those of one."
    )


def _place(records: Sequence[Record]) -> str:
    first = records[0]
    return (
        f"task '{first.task}', mode '{first.mode}', pre-training '{first.pretraining}', n_train "
        f"{first.n_train}"
    )


def _configs(records: Sequence[Record]) -> str:
    return ", ".join(sorted({record.hashes.config[:12] for record in records}))


def estimate_of(terms: Sequence[tuple[float, Point]]) -> Estimate:
    """Return `sum factor * point` with its error, of which everything that the points share.

    The spread over seeds is known as well as that of the point with the fewest.
    """
    used = [(factor, point) for factor, point in terms if factor]
    seeds = _together((factor, point.from_seeds) for factor, point in used)
    test = _together((factor, point.from_test) for factor, point in used)
    fewest = min((len(point.values) for _, point in used), default=2)
    value = math.fsum(factor * point.value for factor, point in used)
    return Estimate(value, ((seeds, fewest - 1), (test, math.inf)))


def _together(terms: Iterable[tuple[float, Mapping[str, float]]]) -> float:
    total: dict[str, float] = defaultdict(float)
    for factor, contributions in terms:
        for name, size in contributions.items():
            total[name] += factor * size
    return math.hypot(*total.values())


@dataclass(frozen=True)
class Line:
    """The learning curve of one mode and pre-training variant, by rising `n_train`."""

    mode: str
    pretraining: str
    metric: str
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """Mode and, where there is one, pre-training variant."""
        return self.mode if self.pretraining == "none" else f"{self.mode} ({self.pretraining})"

    @property
    def n_train(self) -> list[int]:
        """The numbers of labelled events."""
        return [point.n_train for point in self.points]

    def at(self, n_train: int) -> Point:
        """Return the point at `n_train`.

        Raises:
            DataError: there is none.
        """
        for point in self.points:
            if point.n_train == n_train:
                return point
        raise DataError(f"{self.name} has no point at {n_train}; it has {self.n_train}.")


def without_repeats(records: Iterable[Record]) -> list[Record]:
    """Return the records with the newest of each key, as when a run was recorded twice."""
    newest: dict[str, Record] = {}
    for record in records:
        key = record.key()
        if key not in newest or record.time >= newest[key].time:
            newest[key] = record
    return list(newest.values())


def learning_curve(records: Iterable[Record], metric: str = "auc") -> list[Line]:
    """Return one `Line` per mode and pre-training variant, baselines first.

    Args:
        records: of one study and task; repeats of a run count once.
        metric: a key of `Record.metrics`.

    Raises:
        DataError: there are no records, they mix studies or tasks, or a seed stands twice.
        NumericalError: as `Point.of`.
    """
    groups: dict[tuple[str, str], dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    chosen = without_repeats(records)
    _check_one_task(chosen)
    for record in sorted(chosen, key=lambda record: record.seed):
        groups[record.mode, record.pretraining][record.n_train].append(record)
    return [
        Line(*name, metric, tuple(Point.of(sizes[n], metric) for n in sorted(sizes)))
        for name, sizes in sorted(groups.items(), key=lambda item: _rank(*item[0]))
    ]


def _check_one_task(records: Sequence[Record]) -> None:
    tasks = sorted({f"{record.study}/{record.task}" for record in records})
    if len(tasks) != 1:
        raise DataError(
            f"a learning curve needs the records of one task, not of {', '.join(tasks) or 'none'}."
        )


def _rank(mode: str, pretraining: str) -> tuple[int, str, str]:
    return (_ORDER.index(mode) if mode in _ORDER else len(_ORDER), mode, pretraining)


def scratch_for(line: Line, lines: Sequence[Line]) -> Line | None:
    """Return the scratch line to compare with.

    It is the one that the records name. Where they name none it is that of the same pre-training,
    else the one without a name, else the only one.
    """
    scratch = {other.pretraining: other for other in lines if other.mode == "scratch"}
    named = line.points[0].records[0].extra.get("scratch") if line.points else None
    if named is not None:
        return scratch.get(str(named))
    for name in (line.pretraining, "none"):
        if name in scratch:
            return scratch[name]
    return next(iter(scratch.values())) if len(scratch) == 1 else None
