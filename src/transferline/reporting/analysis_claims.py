"""Claims that compare across tasks or sizes, as those of a joint analysis do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from transferline.errors import DataError, TransferlineError
from transferline.evaluation.estimate import Estimate
from transferline.evaluation.learning_curve import Line, learning_curve
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.records import Record
from transferline.evaluation.tail import over_seeds
from transferline.evaluation.training_cap import unfinished
from transferline.reporting.claims import (
    FAILS,
    HOLDS,
    OPEN,
    Chosen,
    Claim,
    LineClaim,
    Verdict,
    decided,
    line_of,
    records_of,
)
from transferline.reporting.p_value import p_text


class ProbeRises(LineClaim):
    """Training on labels of events raises what a linear probe tells of single jets.

    Before and after are of one run; decided by `sigma` errors, the test jets' taken as if
    independent, which is an upper bound. A fall is undecided where the training was still
    improving when its steps ended.
    """

    kind: Literal["probe_rises"] = "probe_rises"
    metric: str = "jet_probe"
    line: Chosen
    n_train: int
    sigma: float = Field(2.0, ge=0)

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        every = line_of(lines, self.line).at(self.n_train).records
        records = [r for r in every if "jet_probe_start" in r.metrics]
        pairs = [(r.metrics["jet_probe_start"], r.metrics["jet_probe"]) for r in records]
        if not pairs:
            raise DataError("no Record of the line has a probe before its training.")
        rises = [after.value - before.value for before, after in pairs]
        test = statistics.fmean(math.hypot(a.error, b.error) for a, b in pairs)
        numbers = f"{statistics.fmean(before.value for before, _ in pairs):.3f} before"
        if len(rises) < 2:
            return Verdict(OPEN, f"{numbers}, {rises[0]:+.3f}, one seed")
        seeds = statistics.stdev(rises) / math.sqrt(len(rises))
        rise = Estimate(statistics.fmean(rises), ((test, math.inf), (seeds, len(rises) - 1)))
        numbers = f"{numbers}, rise {rise}, {len(rises)} seeds, {p_text(rise.p_value())}"
        outcome = decided(rise, self.sigma)
        if outcome == FAILS and unfinished(records):
            return Verdict(OPEN, f"{numbers}; it was still improving when its steps ended")
        return Verdict(outcome, numbers)


class RatioOf(Claim):
    """A line's background rejection is at least `least` times that of another line.

    Decided where the ratio is `sigma` errors away from `least`, both were made with several seeds,
    and the loser was not still improving when its steps ended. The error of the common test set is
    taken in pairs where the Records hold replicas of the metric; else both are taken as
    independent, which is an upper bound.

    Attributes:
        line, n_train: what is claimed to be better.
        other: what it is compared with,
        other_task: in another task,
        other_n_train: at another size, such as a larger one.
        least: the ratio that is claimed.
    """

    one_sided: ClassVar[bool] = True
    kind: Literal["ratio_of"] = "ratio_of"
    metric: str = "unweighted_rejection_90"
    line: Chosen
    n_train: int
    other: Chosen
    other_task: str | None = None
    other_n_train: int | None = None
    least: float = Field(1.0, gt=0)
    sigma: float = Field(2.0, ge=0)

    def judge(self, records: Sequence[Record]) -> Verdict:
        """See `Claim.judge`."""
        try:
            one = runs_of(records, self.task, self.line, self.n_train, self.metric)
            task, n_train = self.other_task or self.task, self.other_n_train or self.n_train
            other = runs_of(records, task, self.other, n_train, self.metric)
        except TransferlineError as problem:
            return Verdict(OPEN, str(problem))
        values = [over_seeds([r.metrics[self.metric] for r in s.records]) for s in (one, other)]
        found = ratio(one.records, other.records, self.metric)
        numbers = f"{values[0]} against {values[1]}: ratio {found}"
        outcome = decided(found, self.sigma, self.least)
        loser = other if outcome == HOLDS else one
        if outcome != OPEN and unfinished(loser.records):
            return Verdict(OPEN, f"{numbers}; {_improving(loser)}")
        return Verdict(outcome, numbers)


class MattersLess(Claim):
    """What another task gains in background rejection is smaller for one line than for another.

    The ratio of this task to `other_task` in the line `without`, over the same ratio in the line
    `within`, is above one by `sigma` errors, the two ratios taken as independent. Nothing is
    decided where one of the four was still improving when its steps ended.

    Attributes:
        without, within: lines such as the frozen and the fine-tuned one.
        other_task: what this task is compared with in both.
        n_train: size.
    """

    one_sided: ClassVar[bool] = True
    kind: Literal["matters_less"] = "matters_less"
    metric: str = "unweighted_rejection_90"
    without: Chosen
    within: Chosen
    other_task: str
    n_train: int
    sigma: float = Field(2.0, ge=0)

    def judge(self, records: Sequence[Record]) -> Verdict:
        """See `Claim.judge`."""
        try:
            runs = [
                runs_of(records, task, line, self.n_train, self.metric)
                for line in (self.without, self.within)
                for task in (self.task, self.other_task)
            ]
        except TransferlineError as problem:
            return Verdict(OPEN, str(problem))
        without, within = (ratio(runs[i].records, runs[i + 1].records, self.metric) for i in (0, 2))
        numbers = f"ratio {without} against {within}"
        if not (without.known and within.known):
            return Verdict(OPEN, numbers)
        value = without.value / within.value
        relative = [one.scaled(value / one.value).parts for one in (without, within)]
        outcome = decided(Estimate(value, relative[0] + relative[1]), self.sigma, 1.0)
        short = [side for side in runs if unfinished(side.records)]
        if outcome != OPEN and short:
            return Verdict(OPEN, f"{numbers}; {_improving(short[0])}")
        return Verdict(outcome, numbers)


class Runs(NamedTuple):
    """The Records of all seeds of a line at one size, and what they are called."""

    name: str
    records: list[Record]


def _improving(runs: Runs) -> str:
    return f"{runs.name} was still improving when its steps ended"


def runs_of(
    records: Sequence[Record], task: str, chosen: Chosen, n_train: int, metric: str
) -> Runs:
    """Return the Records of all seeds of a line at a size that have the metric."""
    # The curve of a metric that is always finite: one limit anywhere would forbid the mean.
    line = line_of(learning_curve(records_of(records, task), "auc"), chosen)
    if n_train not in line.n_train:
        raise DataError(f"{line.name}: has no size {n_train}.")
    found = [r for r in line.at(n_train).records if metric in r.metrics]
    if not found:
        raise DataError(f"{line.name}: no Record has the metric {metric}.")
    return Runs(f"{line.name} ({task}, {n_train:,})", found)


def ratio(one: Sequence[Record], other: Sequence[Record], metric: str) -> Estimate:
    r"""Return the ratio of a rejection of two sets of runs, that of mean efficiencies.

    The relative error adds the spread over seeds of each, $s / \sqrt{k}$, and the error of the
    test set: the spread of the ratio over common replicas, else that of two independent numbers.
    A limit among them leaves the error infinite.
    """
    sides = [[r.metrics[metric] for r in side] for side in (one, other)]
    top, below = (over_seeds(found) for found in sides)
    value = top.value / below.value
    if not (math.isfinite(top.error) and math.isfinite(below.error)):
        return Estimate(value, ((math.inf, math.inf),))
    seeds = [(value * _seeds(found), len(found) - 1) for found in sides]
    drawn = _paired(one, other, metric)
    if drawn is None:
        test = [value * statistics.fmean(m.error / m.value for m in found) for found in sides]
    else:
        test = [float(np.std(drawn, ddof=1))]
    return Estimate(value, (*seeds, *((error, math.inf) for error in test)))


def _seeds(found: Sequence[Measurement]) -> float:
    """Relative error of the mean efficiency from the spread over seeds."""
    passing = [1.0 / one.value for one in found]
    if len(passing) < 2:
        return 0.0
    return statistics.stdev(passing) / math.sqrt(len(passing)) / statistics.fmean(passing)


def _paired(
    one: Sequence[Record], other: Sequence[Record], metric: str
) -> NDArray[np.float64] | None:
    """Return the ratio on every common replica of the test set, if all Records hold the same."""
    replicas = [r.replicas for r in (*one, *other)]
    kept = [r for r in replicas if r is not None and metric in r.values]
    if len(kept) < len(replicas) or not all(r.paired_with(kept[0]) for r in kept):
        return None
    passing = 1.0 / np.array([r.values[metric] for r in kept])
    of_one, of_other = passing[: len(one)].mean(0), passing[len(one) :].mean(0)
    if not of_one.all():
        return None
    found: NDArray[np.float64] = of_other / of_one
    return found
