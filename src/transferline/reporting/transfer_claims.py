"""Claims of the studies that transfer between channels: errors, agreement, order, attention."""

from __future__ import annotations

import math
import statistics
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from transferline.errors import DataError, TransferlineError
from transferline.evaluation.comparison import error_reduction, paired_difference
from transferline.evaluation.estimate import Estimate
from transferline.evaluation.learning_curve import Line, estimate_of, learning_curve
from transferline.evaluation.metrics import smaller_is_better
from transferline.evaluation.records import Record
from transferline.reporting.attention_plot import mean_received, received, with_attention
from transferline.reporting.claims import (
    FAILS,
    HOLDS,
    OPEN,
    Chosen,
    Claim,
    LineClaim,
    Side,
    Verdict,
    decided,
    difference_at,
    doubted,
    in_doubt,
    line_of,
    met,
    numbers_of,
    records_of,
    scratch_of,
    sides,
)
from transferline.reporting.p_value import p_text


class ReducesError(LineClaim):
    """A line removes at least `share` of scratch's `1 - metric` at `n_train`.

    Decided where the number is `sigma` errors away from `share`, and made with several seeds that
    scratch has, too, none of whose losers were still improving, see `BeatsScratch`.
    """

    one_sided: ClassVar[bool] = True
    kind: Literal["reduces_error"] = "reduces_error"
    line: Chosen
    n_train: int
    share: float = Field(gt=-1, lt=1)
    sigma: float = Field(2.0, ge=0)

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        found = _reduction(lines, self.line, self.n_train)
        outcome = decided(found, self.sigma, self.share)
        line = line_of(lines, self.line)
        scratch = scratch_of(line, lines)
        chance = p_text(found.p_value(self.share))
        verdict = Verdict(outcome, f"{_shown(found)} of scratch's error removed, {chance}")
        return doubted(verdict, *sides(line, scratch, self.n_train))


class AgreesWith(LineClaim):
    """A line and another differ by no more than `sigma` paired errors at `n_train`.

    A wide error bar agrees with anything: the numbers say how well the two are known. Of two that
    agree neither may have been improving when its steps ended, of two that do not the worse one.
    """

    kind: Literal["agrees_with"] = "agrees_with"
    line: Chosen
    other: Chosen
    n_train: int
    sigma: float = Field(2.0, gt=0)

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        line, other = line_of(lines, self.line), line_of(lines, self.other)
        found = difference_at(line, other, self.n_train)
        verdict = Verdict(met(found.estimate, self.sigma), numbers_of(found))
        if verdict.outcome == OPEN:
            return verdict
        agrees = verdict.outcome == HOLDS
        one, two = sides(line, other, self.n_train)
        first = (found.measurement.value < 0) != smaller_is_better(self.metric)
        worse, better = (one, two) if first else (two, one)
        doubtful = [s for s in ((worse, better) if agrees else (worse,)) if s.unfinished]
        return in_doubt(verdict, doubtful[0]) if doubtful else verdict


class HasValue(LineClaim):
    """A line's metric at `n_train` is `value` within `sigma` errors, such as a chance of one half.

    A wide error bar agrees with anything: the numbers say how well it is known. One seed, whose
    spread is unknown, decides nothing; nor do runs that were still improving.
    """

    kind: Literal["has_value"] = "has_value"
    line: Chosen
    n_train: int
    value: float
    sigma: float = Field(2.0, gt=0)

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        line = line_of(lines, self.line)
        point = line.at(self.n_train)
        found = estimate_of([(1.0, point)])
        if not found.known:
            return Verdict(OPEN, f"{found}, one seed")
        verdict = Verdict(met(found, self.sigma, self.value), str(found))
        side = Side(line.name, point)
        return in_doubt(verdict, side) if side.unfinished else verdict


class GainsInOrder(Claim):
    """The error reductions of one mode fall from `task` through the tasks `then`.

    Every step counts if it is larger than `sigma` errors; a step that is not leaves it open, and so
    does one that a longer training of tuned or scratch networks may turn round.
    """

    one_sided: ClassVar[bool] = True
    kind: Literal["gains_in_order"] = "gains_in_order"
    line: Chosen
    then: tuple[str, ...] = Field(min_length=1)
    n_train: int
    sigma: float = Field(2.0, ge=0)

    def judge(self, records: Sequence[Record]) -> Verdict:
        """See `Claim.judge`."""
        try:
            found = [self._gain(records, task) for task in (self.task, *self.then)]
        except TransferlineError as error:
            return Verdict(OPEN, str(error))
        numbers = " > ".join(_shown(gain.size) for gain in found) + " is claimed"
        steps = [a.above(b, self.sigma, numbers) for a, b in pairwise(found)]
        for outcome in (FAILS, OPEN):
            for step in steps:
                if step.outcome == outcome:
                    return step
        return Verdict(HOLDS, numbers)

    def _gain(self, records: Sequence[Record], task: str) -> _Gain:
        lines = learning_curve(records_of(records, task), self.metric)
        line = line_of(lines, self.line)
        tuned, scratch = sides(line, scratch_of(line, lines), self.n_train)
        size = _reduction(lines, self.line, self.n_train)
        return _Gain(
            size, *(side._replace(name=f"{side.name}, {task},") for side in (tuned, scratch))
        )


class _Gain(NamedTuple):
    """The error reduction in one task, and the runs that it is of."""

    size: Estimate
    tuned: Side
    scratch: Side

    def above(self, other: _Gain, sigma: float, numbers: str) -> Verdict:
        """Tell whether it is larger than another one, longer training included."""
        verdict = Verdict(decided(self.size.minus(other.size), sigma), numbers)
        first = doubted(verdict, self.tuned, self.scratch)
        return (
            first
            if first.outcome != verdict.outcome
            else doubted(verdict, other.scratch, other.tuned)
        )


class _AttentionClaim(LineClaim):
    """A claim about Records of fine-tuned runs at one size, whatever their metric."""

    pretraining: str
    object: str
    n_train: int

    def _chosen(self) -> list[Chosen]:
        return [Chosen(mode="finetuned", pretraining=self.pretraining)]

    def check(self, lines: Sequence[Line]) -> Verdict:
        """Judge by the records of the line that was fine-tuned."""
        line = line_of(lines, self._chosen()[0])
        records = with_attention(line.at(self.n_train).records)
        if not records:
            raise DataError(f"{line.name}: its records hold no attention.")
        return self.look(records)

    @abstractmethod
    def look(self, records: Sequence[Record]) -> Verdict:
        """Return the verdict of records that hold attention."""


class MostAttention(_AttentionClaim):
    """Of all kinds, `object` receives most attention in the `stage` (source, start, end).

    At the end decided by `sigma` errors of the difference to the most, or the second most attended,
    paired by seed. Before, all runs have one and the same network, whose twins are not known: the
    claim stays open.
    """

    kind: Literal["most_attention"] = "most_attention"
    stage: Literal["source", "start", "end"] = "source"
    sigma: float = Field(2.0, ge=0)

    def look(self, records: Sequence[Record]) -> Verdict:
        """See `_AttentionClaim.look`."""
        table = {kind: mean for kind, (mean, _) in mean_received(records, self.stage).items()}
        if self.object not in table or len(table) < 2:
            raise DataError(f"there are no objects '{self.object}' beside others in these events.")
        rival = max((kind for kind in table if kind != self.object), key=table.__getitem__)
        numbers = ", ".join(f"{kind} {value:.3f}" for kind, value in table.items())
        if self.stage != "end":
            return Verdict(OPEN, f"{numbers}, one pre-training, whose spread is unknown")
        lead = _lead([received(record, self.stage) for record in records], self.object, rival)
        return Verdict(decided(lead, self.sigma), numbers)


def _lead(tables: Sequence[Mapping[str, float]], kind: str, rival: str) -> Estimate:
    """How much more attention one kind receives than another, over seeds."""
    leads = [table[kind] - table[rival] for table in tables if kind in table and rival in table]
    spread = statistics.stdev(leads) if len(leads) > 1 else 0.0
    error = spread / math.sqrt(max(len(leads), 1))
    return Estimate(statistics.fmean(leads) if leads else 0.0, ((error, len(leads) - 1),))


class AttentionRises(_AttentionClaim):
    """Tuning raises the attention that `object` receives, by more than `sigma` errors."""

    kind: Literal["attention_rises"] = "attention_rises"
    sigma: float = Field(2.0, ge=0)

    def look(self, records: Sequence[Record]) -> Verdict:
        """See `_AttentionClaim.look`."""
        tables = [mean_received(records, stage) for stage in ("start", "end")]
        for table in tables:
            if self.object not in table:
                raise DataError(f"no attention on '{self.object}', but on {', '.join(table)}.")
        (before, _), (after, spread) = (table[self.object] for table in tables)
        numbers = f"{before:.3f} before, {after:.3f} (seeds: {spread:.3f}) after"
        error = spread / math.sqrt(len(records))
        rise = Estimate(after - before, ((error, len(records) - 1),))
        return Verdict(decided(rise, self.sigma), numbers)


def _shown(found: Estimate) -> str:
    return str(found) if found.known else f"{found.value:.4g} ± ?"


def _reduction(lines: Sequence[Line], chosen: Chosen, n_train: int) -> Estimate:
    line = line_of(lines, chosen)
    scratch = scratch_of(line, lines)
    found = error_reduction(line, scratch)
    if n_train in found:
        return found[n_train]
    if any(one.n_train == n_train for one in paired_difference(line, scratch)):
        metric, value = line.metric, scratch.at(n_train).measurement
        raise DataError(
            f"1 - {metric} of {scratch.name} leaves nothing to remove at {n_train} labelled "
            f"events, where {metric} is {value}."
        )
    raise DataError(f"{line.name}: has no size {n_train} in common with scratch.")
