"""Claims that one line is level with another: nowhere below it, or by too little to matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from transferline.errors import DataError
from transferline.evaluation.comparison import Difference, paired_difference
from transferline.evaluation.learning_curve import Line
from transferline.reporting.claims import (
    FAILS,
    HOLDS,
    OPEN,
    Chosen,
    LineClaim,
    Verdict,
    decided,
    doubted,
    line_of,
    numbers_of,
    scratch_of,
    sides,
)


class NotBelow(LineClaim):
    """A line is at no size of either below another, or by less than `margin`.

    It holds where `sigma` paired errors exclude a deficit of `margin`: a wide error bar is below
    nothing, but does not know it. It does not where they exclude that there is none. A size whose
    loser was still improving decides nothing, see `BeatsScratch`; one that either line lacks leaves
    open what holds at the others. The numbers are those where it fares worst, of what decides.

    Attributes:
        other: its scratch unless given.
        margin: what counts as level, in units of a metric between zero and one.
        largest: sizes beyond it are not asked about; all are unless given.
    """

    one_sided: ClassVar[bool] = True
    kind: Literal["not_below"] = "not_below"
    line: Chosen
    other: Chosen | None = None
    sigma: float = Field(2.0, ge=0)
    margin: float = Field(0.005, gt=0)
    largest: int | None = Field(None, gt=0)

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        line = line_of(lines, self.line)
        other = line_of(lines, self.other) if self.other else scratch_of(line, lines)
        found = [d for d in paired_difference(line, other) if self._asks(d.n_train)]
        if not found:
            raise DataError(f"{line.name} and {other.name} have no size and seed in common.")
        sizes = {n for n in (*line.n_train, *other.n_train) if self._asks(n)}
        known = [difference for difference in found if len(difference.seeds) > 1]
        worst = _worst(known or found)
        judged = {d.n_train: self._at(d, line, other) for d in known}
        outcome, shown = (HOLDS if len(known) == len(sizes) else OPEN), worst
        for decisive in (OPEN, FAILS):  # of one size, it is that of all
            if so := [d for d in known if judged[d.n_train].outcome == decisive]:
                outcome, shown = decisive, _worst(so)
        numbers = judged.get(shown.n_train, Verdict(OPEN, numbers_of(shown))).numbers
        which = "worst" if shown is worst else "decisive"
        of_all = f"{which} of {len(found)} sizes, at {shown.n_train:,}: {numbers}"
        both = sizes & set(line.n_train) & set(other.n_train)
        seedless = both - {difference.n_train for difference in found}
        for why, where in (("not both", sizes - both), ("no common seed", seedless)):
            if where:
                of_all += f"; {why} at {', '.join(f'{n:,}' for n in sorted(where))}"
        return Verdict(outcome, of_all)

    def _asks(self, n: int) -> bool:
        return n <= (self.largest or n)

    def _at(self, found: Difference, line: Line, other: Line) -> Verdict:
        """Judge one size, made with several seeds."""
        outcome = decided(found.estimate, self.sigma, -self.margin)
        if outcome == OPEN and decided(found.estimate, self.sigma) == FAILS:
            outcome = FAILS
        return doubted(Verdict(outcome, numbers_of(found)), *sides(line, other, found.n_train))


def _worst(found: Sequence[Difference]) -> Difference:
    return min(found, key=lambda difference: difference.significance)
