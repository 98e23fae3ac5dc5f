"""Verdicts on a page: one row for each claim, and one column for each task it is made about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from transferline.evaluation.records import TRANSFERRED, Record
from transferline.reporting.claims import FAILS, HOLDS, OPEN, Claim, Verdict
from transferline.reporting.table import Table

_MANY = 10  # verdicts, of which one may well be chance
_BY_CHANCE = (
    "p is how often chance alone is as far away, with Student's t for the spread over so few "
    "seeds. Verdicts are given beyond two standard deviations, which chance reaches one time in "
    "twenty: among so many some are chance."
)
_ONE_EACH = (
    "Errors are of the runs and of the test set. A line of a pre-training has one pre-training: "
    "what another of its starts would change is in no error."
)
_SIGNS = {HOLDS: "✓", FAILS: "✗", OPEN: "?"}
_LEGEND = ", ".join(f"{sign} {outcome}" for outcome, sign in _SIGNS.items()) + "."


class _Judged(NamedTuple):
    """A claim about one task."""

    text: str
    task: str
    verdict: Verdict
    shared: bool  # whether the text may stand for other tasks, too


def verdict_tables(claims: Iterable[Claim], records: Sequence[Record]) -> str:
    """Return how the claims fare, as Markdown; empty if there are none.

    Equal texts about several tasks share a row.
    """
    judged = [
        _Judged(one.text, one.task, one.judge(records), bool(claim.tasks))
        for claim in claims
        for one in claim.each()
    ]
    if not judged:
        return ""
    times = Counter(one.text for one in judged if one.shared)
    wide = [one for one in judged if one.shared and times[one.text] > 1]
    narrow = [one for one in judged if not (one.shared and times[one.text] > 1)]
    outcomes = Counter(one.verdict.outcome for one in judged)
    counts = ", ".join(f"{one}: {outcomes[one]}" for one in (HOLDS, FAILS, OPEN))
    head = f"## Claims\n\nVerdicts ({len(judged)}): {counts}."
    if len(judged) >= _MANY:
        head += f" {_BY_CHANCE}"
    if any(record.mode in TRANSFERRED for record in records):
        head += f" {_ONE_EACH}"
    parts = [_list(narrow).markdown()] if narrow else []
    parts += [_by_task(wide).markdown()] if wide else []
    return "\n\n".join((head, "".join(parts)))


def _list(judged: Sequence[_Judged]) -> Table:
    rows = [(f"{one.text}: {one.task}" if one.shared else one.text, *one.verdict) for one in judged]
    return Table("Verdicts", ("Claim", "Verdict", "Numbers"), tuple(rows))


def _by_task(judged: Sequence[_Judged]) -> Table:
    tasks = list(dict.fromkeys(one.task for one in judged))
    rows: dict[str, list[dict[str, str]]] = {}
    for one in judged:
        of_text = rows.setdefault(one.text, [{}])
        if one.task in of_text[-1]:  # two claims in the same words
            of_text.append({})
        of_text[-1][one.task] = f"{_SIGNS[one.verdict.outcome]} {one.verdict.numbers}"
    cells = tuple(_row(text, row, tasks) for text, found in rows.items() for row in found)
    return Table("Verdicts by task", ("Claim", *tasks), cells, _LEGEND)


def _row(text: str, cells: Mapping[str, str], tasks: Sequence[str]) -> tuple[str, ...]:
    return text, *(cells.get(task, "–") for task in tasks)
