"""Claims about a study, judged by its Records and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from transferline.errors import DataError, TransferlineError
from transferline.evaluation.comparison import gap_closed, paired_difference
from transferline.evaluation.learning_curve import Line, learning_curve, scratch_for
from transferline.evaluation.records import Record

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be decided"


class Verdict(NamedTuple):
    """Whether a claim holds, and the numbers that say so."""

    outcome: str
    numbers: str


@dataclass(frozen=True)
class Claim:
    """A sentence and the function of the Records that judges it."""

    text: str
    check: Callable[[Sequence[Record]], tuple[str, str]]

    def judge(self, records: Sequence[Record]) -> Verdict:
        """Return the verdict; records that do not suffice leave the claim open."""
        try:
            return Verdict(*self.check(records))
        except TransferlineError as error:
            return Verdict(OPEN, str(error))


def beats_scratch(
    text: str,
    *,
    task: str,
    mode: str,
    n_train: int,
    pretraining: str | None = None,
    metric: str = "auc",
    sigma: float = 2.0,
) -> Claim:
    """Claim that a mode is better than scratch at `n_train` by more than `sigma` errors."""

    def check(records: Sequence[Record]) -> Verdict:
        line, scratch = _pair(records, task, mode, pretraining, metric)
        for found in paired_difference(line, scratch):
            if found.n_train == n_train:
                numbers = (
                    f"{found.measurement}, {found.significance:.1f} σ, {len(found.seeds)} seeds"
                )
                return Verdict(HOLDS if found.significance > sigma else FAILS, numbers)
        raise DataError(f"{line.name} and scratch share no seed at {n_train} labelled events.")

    return Claim(text, check)


def closes_gap(
    text: str,
    *,
    task: str,
    mode: str,
    n_low: int,
    n_high: int,
    share: float,
    pretraining: str | None = None,
    metric: str = "auc",
) -> Claim:
    """Claim that a mode at `n_low` closes at least `share` of scratch's gap up to `n_high`."""

    def check(records: Sequence[Record]) -> Verdict:
        line, scratch = _pair(records, task, mode, pretraining, metric)
        found = gap_closed(line, scratch, n_low, n_high)
        return Verdict(HOLDS if found.value >= share else FAILS, f"{found} of the gap")

    return Claim(text, check)


def _pair(
    records: Sequence[Record], task: str, mode: str, pretraining: str | None, metric: str
) -> tuple[Line, Line]:
    lines = learning_curve([record for record in records if record.task == task], metric)
    chosen = [
        line for line in lines if line.mode == mode and pretraining in (None, line.pretraining)
    ]
    if len(chosen) != 1:
        names = ", ".join(line.name for line in lines)
        raise DataError(
            f"task '{task}' has {len(chosen)} lines in mode '{mode}', not one: {names}."
        )
    scratch = scratch_for(chosen[0], lines)
    if scratch is None:
        raise DataError(f"task '{task}' has no scratch line to compare {chosen[0].name} with.")
    return chosen[0], scratch
