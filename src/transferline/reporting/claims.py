"""Claims about a study, spelled in YAML beside it, judged by its Records and by nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from transferline.config import Recipe, one_of
from transferline.errors import DataError, TransferlineError
from transferline.evaluation.comparison import (
    Difference,
    beyond_share,
    common_seeds,
    gap_closed,
    paired_difference,
)
from transferline.evaluation.estimate import Estimate
from transferline.evaluation.learning_curve import Line, Point, learning_curve, scratch_for
from transferline.evaluation.metrics import smaller_is_better
from transferline.evaluation.records import Record
from transferline.evaluation.training_cap import unfinished
from transferline.registry import Registry
from transferline.reporting.ablation_table import Ablation
from transferline.reporting.p_value import p_text

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be decided"

CLAIMS: Registry[Claim] = Registry(
    "claims",
    beats_scratch="transferline.reporting.claims:BeatsScratch",
    better_than="transferline.reporting.claims:BetterThan",
    closes_gap="transferline.reporting.claims:ClosesGap",
    not_below="transferline.reporting.level_claims:NotBelow",
    reduces_error="transferline.reporting.transfer_claims:ReducesError",
    probe_rises="transferline.reporting.analysis_claims:ProbeRises",
    matters_less="transferline.reporting.analysis_claims:MattersLess",
    ratio_of="transferline.reporting.analysis_claims:RatioOf",
    agrees_with="transferline.reporting.transfer_claims:AgreesWith",
    has_value="transferline.reporting.transfer_claims:HasValue",
    gains_in_order="transferline.reporting.transfer_claims:GainsInOrder",
    most_attention="transferline.reporting.transfer_claims:MostAttention",
    attention_rises="transferline.reporting.transfer_claims:AttentionRises",
)


class Verdict(NamedTuple):
    """Whether a claim holds, and the numbers that say so."""

    outcome: str
    numbers: str


class Chosen(Recipe):
    """One line of the learning curve: a mode and, where there are several, a pre-training."""

    mode: str
    pretraining: str | None = None

    def means(self, one: Line | Record) -> bool:
        """Tell whether a line, or the line of a Record, is meant."""
        return one.mode == self.mode and self.pretraining in (None, one.pretraining)


class Claim(Recipe, ABC):
    """A sentence and what in the Records decides it.

    Attributes:
        kind: name in the table `CLAIMS`.
        text: the sentence.
        task: as in the Records.
        tasks: several of them, in place of one; each gets a verdict of its own.
        metric: larger is better where the claim is `one_sided`.
    """

    one_sided: ClassVar[bool] = False
    """Whether more of the metric speaks for the claim: of a limit it would say the opposite."""

    kind: str
    text: str
    task: str = ""
    tasks: tuple[str, ...] = ()
    metric: str = "auc"

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        if bool(self.task) == bool(self.tasks):
            raise ValueError("needs either `task`, or `tasks` with one or more of them.")
        return self

    @model_validator(mode="after")
    def _check_metric(self) -> Self:
        if self.one_sided and smaller_is_better(self.metric):
            raise ValueError(
                f"metric: less of '{self.metric}' is better, and a claim '{self.kind}' takes more "
                "of its metric for the better: it would say the opposite."
            )
        return self

    def each(self) -> list[Self]:
        """Return it once for every one of its `tasks`."""
        alone = [self.model_copy(update={"task": task, "tasks": ()}) for task in self.tasks]
        return alone or [self]

    @abstractmethod
    def judge(self, records: Sequence[Record]) -> Verdict:
        """Return the verdict; records that do not suffice leave the claim open."""


class LineClaim(Claim):
    """A claim about the learning curve of one task."""

    @abstractmethod
    def check(self, lines: Sequence[Line]) -> Verdict:
        """Judge the lines of the task's learning curve.

        Raises:
            TransferlineError: they do not suffice.
        """

    def judge(self, records: Sequence[Record]) -> Verdict:
        """See `Claim.judge`."""
        try:
            found = [r for r in records_of(records, self.task) if self.metric in r.metrics]
            if not found:
                raise DataError(f"no Record of the task '{self.task}' has {self.metric}.")
            return self.check(self._lines(found))
        except TransferlineError as error:
            return Verdict(OPEN, str(error))

    def _lines(self, records: Sequence[Record]) -> list[Line]:
        """Return the lines of the task; where one of them has no mean, those that are named."""
        try:
            return learning_curve(records, self.metric)
        except TransferlineError as error:
            sizes = {v for name, v in self if name in ("n_train", "n_low", "n_high")}
            sized = [record for record in records if record.n_train in sizes or not sizes]
            named = [r for r in sized if any(line.means(r) for line in self._chosen())]
            if not named:
                raise error
            against = {record.extra.get("scratch") for record in named}  # None: any may be meant
            scratch = [
                record
                for record in sized
                if record.mode == "scratch" and ({None, record.pretraining} & against)
            ]
            both = {record.key(): record for record in (*named, *scratch)}
            return learning_curve(both.values(), self.metric)

    def _chosen(self) -> list[Chosen]:
        """Return the lines that the claim names."""
        return [value for _, value in self if isinstance(value, Chosen)]


def records_of(records: Sequence[Record], task: str) -> list[Record]:
    """Return the Records of one task.

    Raises:
        DataError: there are none.
    """
    found = [record for record in records if record.task == task]
    if not found:
        raise DataError(f"no Records of the task '{task}'.")
    return found


class BeatsScratch(LineClaim):
    """A line is better than scratch at `n_train` by more than `sigma` paired errors.

    Of errors made with few seeds it takes more, as Student's t says (`Estimate`). Worse by as much
    it is not better; between the two, and with a single seed, whose spread is unknown, nothing is
    decided. Nor is it where the loser was still improving when its steps ended.
    """

    one_sided: ClassVar[bool] = True
    kind: Literal["beats_scratch"] = "beats_scratch"
    line: Chosen
    n_train: int
    sigma: float = Field(2.0, ge=0)

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        line = line_of(lines, self.line)
        return _compare(line, scratch_of(line, lines), self.n_train, self.sigma)


class BetterThan(LineClaim):
    """A line is better than another at `n_train` by more than `sigma` paired errors.

    See `BeatsScratch`. Errors are of the runs: of two pre-trainings there is one each, and another
    start of either would give other numbers.
    """

    one_sided: ClassVar[bool] = True
    kind: Literal["better_than"] = "better_than"
    line: Chosen
    other: Chosen
    n_train: int
    sigma: float = Field(2.0, ge=0)

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        line, other = line_of(lines, self.line), line_of(lines, self.other)
        found = _compare(line, other, self.n_train, self.sigma)
        if "none" in (line.pretraining, other.pretraining) or "scratch" in (line.mode, other.mode):
            return found
        if line.pretraining == other.pretraining:
            return found
        return found._replace(numbers=f"{found.numbers}, one pre-training each")


class ClosesGap(LineClaim):
    """A line at `n_low` closes at least `share` of scratch's gap from `n_low` to `n_high`.

    Decided where what is gained is `sigma` errors away from `share` times the gap, the gap's error
    included, and all of it was made with several seeds. That it does may be scratch's fault, of
    which either end was still improving; that it does not, the line's own: such a claim stays open.
    More than all of the gap would turn round whose fault it may be, so that no more can be claimed.
    """

    one_sided: ClassVar[bool] = True
    kind: Literal["closes_gap"] = "closes_gap"
    line: Chosen
    n_low: int
    n_high: int
    share: float = Field(gt=0, le=1)
    sigma: float = Field(2.0, ge=0)

    def check(self, lines: Sequence[Line]) -> Verdict:
        """See `LineClaim.check`."""
        line = line_of(lines, self.line)
        scratch = scratch_of(line, lines)
        found = gap_closed(line, scratch, self.n_low, self.n_high)
        low, high = line.at(self.n_low), scratch.at(self.n_high)
        start = scratch.at(self.n_low)
        for point in (low, start, high):
            if len(point.values) < 2:
                return Verdict(OPEN, f"{found} of the gap, one seed at {point.n_train:,}")
        excess = beyond_share(low, start, high, self.share)
        numbers = f"{found} of the gap, {p_text(excess.p_value())}"
        verdict = Verdict(decided(excess, self.sigma), numbers)
        for against in (high, start):  # a low start makes the gap, too
            verdict = doubted(verdict, Side(line.name, low), Side(scratch.name, against))
        return verdict


class Published(Recipe):
    """Values of a publication, which a results page lays beside those of a task.

    Attributes:
        name: of the model, and how much it was trained on.
        source: where the values stand.
        task: as in the Records.
        metrics: name in the Records -> value.
    """

    name: str
    source: str
    task: str
    metrics: dict[str, float] = Field(min_length=1)


class Claims(Recipe):
    """The claims of a study: `transferline report --markdown FILE RECORDS --claims YAML`.

    Attributes:
        claims: in the order of the page; there may be none beside `notes`.
        published: values of publications.
        ablations: tables of choices.
        notes: sentences at the head of the page: what was found wrong after the runs, say.
        names: pre-training -> what its name stands for.
    """

    claims: list[one_of(CLAIMS)] = Field(default_factory=list)  # type: ignore[valid-type]
    published: tuple[Published, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    notes: tuple[str, ...] = ()
    names: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.claims or self.notes):
            raise ValueError("claims: required, unless there are notes.")
        return self


def line_of(lines: Sequence[Line], chosen: Chosen) -> Line:
    """Return the one line that is meant.

    Raises:
        DataError: there is none, or more than one.
    """
    found = [line for line in lines if chosen.means(line)]
    if not found and chosen.pretraining is not None:
        raise DataError(f"no Records of '{chosen.pretraining}' in mode '{chosen.mode}'.")
    if len(found) != 1:
        names = ", ".join(line.name for line in lines)
        raise DataError(f"{len(found)} lines are in mode '{chosen.mode}', not one: {names}.")
    return found[0]


def scratch_of(line: Line, lines: Sequence[Line]) -> Line:
    """Return the scratch line that belongs to a line.

    Raises:
        DataError: there is none.
    """
    scratch = scratch_for(line, lines)
    if scratch is None:
        raise DataError(f"there is no scratch line to compare {line.name} with.")
    return scratch


def decided(found: Estimate, sigma: float, null: float = 0.0) -> str:
    """Return what a number above `null` means: nothing where chance would do, see `Estimate`."""
    if not found.departs(sigma, null):
        return OPEN
    return HOLDS if found.value > null else FAILS


def met(found: Estimate, sigma: float, null: float = 0.0) -> str:
    """Return whether a number is `null` within `sigma` errors.

    That a few seeds lie farther away is not yet a contradiction: see `Estimate`.
    """
    if found.within(sigma, null):
        return HOLDS
    return FAILS if found.departs(sigma, null) else OPEN


def _compare(line: Line, other: Line, n_train: int, sigma: float) -> Verdict:
    found = difference_at(line, other, n_train)
    verdict = Verdict(decided(found.estimate, sigma), numbers_of(found))
    return doubted(verdict, *sides(line, other, n_train))


class Side(NamedTuple):
    """The runs of a line that a claim compares."""

    name: str
    point: Point

    @property
    def unfinished(self) -> bool:
        """Whether they were still improving when their steps ended."""
        return unfinished(self.point.records)


def sides(line: Line, other: Line, n_train: int) -> tuple[Side, Side]:
    """Return both sides of a comparison at one size: the runs of the seeds that both have."""
    one, two = common_seeds(line.at(n_train), other.at(n_train))
    return Side(line.name, one), Side(other.name, two)


def doubted(verdict: Verdict, side: Side, against: Side) -> Verdict:
    """Leave open what a longer training of the loser may turn round."""
    loser = against if verdict.outcome == HOLDS else side
    return verdict if verdict.outcome == OPEN or not loser.unfinished else in_doubt(verdict, loser)


def in_doubt(verdict: Verdict, side: Side) -> Verdict:
    """Leave a claim open because of runs that were too short."""
    doubt = f"{side.name} was still improving when its steps ended"
    return Verdict(OPEN, f"{verdict.numbers}; {doubt}")


def difference_at(line: Line, other: Line, n_train: int) -> Difference:
    """Return the paired difference at one size.

    Raises:
        DataError: the lines share no seed there.
    """
    for found in paired_difference(line, other):
        if found.n_train == n_train:
            return found
    raise DataError(f"{line.name} and {other.name} share no seed at {n_train} labelled events.")


def numbers_of(found: Difference) -> str:
    """Say a difference; one seed has no spread, so that its error is too small."""
    seeds = len(found.seeds)
    if seeds < 2:
        return f"{found.measurement}, {found.significance:.1f} σ, one seed, whose spread is unknown"
    chance = p_text(found.estimate.p_value())
    return f"{found.measurement}, {found.significance:.1f} σ, {seeds} seeds, {chance}"
