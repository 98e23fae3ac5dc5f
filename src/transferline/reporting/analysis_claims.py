"""Claims that compare across tasks or sizes, as those of a joint analysis do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from transferline.errors import DataError, TransferlineError
from transferline.evaluation.learning_curve import Line, learning_curve
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.records import Record
from transferline.evaluation.tail import over_seeds
from transferline.reporting.claims import (
    FAILS,
    HOLDS,
    OPEN,
    Chosen,
    Claim,
    LineClaim,
    Verdict,
    line_of,
    records_of,
)


class ProbeRises(LineClaim):
    """Training on labels of events raises what a linear probe tells of single jets.

    Before and after are of one run; decided by `sigma` errors, the test jets' taken as if
    independent, which is an upper bound.
    """

    kind: Literal["probe_rises"] = "probe_rises"
    metric: str = "jet_probe"
    line: Chosen
    n_train: int
    sigma: float = 2.0

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        records = line_of(lines, self.line).at(self.n_train).records
        pairs = [
            (r.metrics["jet_probe_start"], r.metrics["jet_probe"])
            for r in records
            if "jet_probe_start" in r.metrics
        ]
        if not pairs:
            raise DataError("no Record of the line has a probe before its training.")
        rises = [after.value - before.value for before, after in pairs]
        test = statistics.fmean(math.hypot(a.error, b.error) for a, b in pairs)
        numbers = f"{statistics.fmean(before.value for before, _ in pairs):.3f} before"
        if len(rises) < 2:
            return Verdict(OPEN, f"{numbers}, {rises[0]:+.3f}, one seed")
        error = math.hypot(test, statistics.stdev(rises) / math.sqrt(len(rises)))
        rise = Measurement(statistics.fmean(rises), error)
        outcome = HOLDS if rise.value > self.sigma * error else FAILS
        return Verdict(outcome, f"{numbers}, rise {rise}, {len(rises)} seeds")


class RatioOf(Claim):
    """A line's metric, such as a rejection, is at least `least` times that of another line.

    Decided where the ratio is `sigma` errors away from `least`, and both were made with several
    seeds. The error takes the two as independent: on one test set it is an upper bound.

    Attributes:
        line, n_train: what is claimed to be better.
        other: what it is compared with,
        other_task: in another task,
        other_n_train: at another size, such as a larger one.
        least: the ratio that is claimed.
    """

    kind: Literal["ratio_of"] = "ratio_of"
    metric: str = "unweighted_rejection_90"
    line: Chosen
    n_train: int
    other: Chosen
    other_task: str | None = None
    other_n_train: int | None = None
    least: float = Field(1.0, gt=0)
    sigma: float = Field(1.0, ge=0)

    def judge(self, records: Sequence[Record]) -> Verdict:
        """See `Claim.judge`."""
        try:
            one, seeds = self._found(records, self.task, self.line, self.n_train)
            other_n = self.other_n_train or self.n_train
            other, others = self._found(records, self.other_task or self.task, self.other, other_n)
        except TransferlineError as problem:
            return Verdict(OPEN, str(problem))
        ratio = one.value / other.value
        error = ratio * math.hypot(one.error / one.value, other.error / other.value)
        found = Measurement(ratio, error)
        numbers = f"{one} against {other}: ratio {found}"
        excess = ratio - self.least
        known = min(seeds, others) > 1 and math.isfinite(error)
        if not known or not abs(excess) > self.sigma * error:
            return Verdict(OPEN, numbers)
        return Verdict(HOLDS if excess > 0 else FAILS, numbers)

    def _found(
        self, records: Sequence[Record], task: str, chosen: Chosen, n_train: int
    ) -> tuple[Measurement, int]:
        """Return the metric over all seeds, and their number."""
        known = [r for r in records_of(records, task) if self.metric in r.metrics]
        if not known:
            raise DataError(f"no Record of the task '{task}' has the metric {self.metric}.")
        line = line_of(learning_curve(known, self.metric), chosen)
        if n_train not in line.n_train:
            raise DataError(f"{line.name}: has no size {n_train}.")
        point = line.at(n_train)
        if "rejection" in self.metric:
            return over_seeds([r.metrics[self.metric] for r in point.records]), len(point.records)
        return point.measurement, len(point.records)
