"""Whether a network took the lowest or the highest of the learning rates it could choose from.

If three quarters of the runs of a line did, the range ended too early on that side, and the number
may be too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from transferline.evaluation.records import Record

End = Literal["lowest", "highest"]
_MOST = 0.75


def end_taken(record: Record) -> End | None:
    """Return the end of the tried rates that was best; None if one between was, or none tried."""
    tried = _tried(record)
    if len(tried) < 2:
        return None
    chosen = dict(record.extra).get("lr")
    if chosen == tried[0]:
        return "lowest"
    return "highest" if chosen == tried[-1] else None


def _tried(record: Record) -> list[float]:
    found: dict[str, Any] = dict(record.extra)
    return sorted({row["lr"] for row in found.get("grid") or [] if "lr" in row})


def mostly_taken(records: Sequence[Record]) -> tuple[End, int, int] | None:
    """Return the end that at least three quarters of the runs with a choice took, if there is one.

    Returns:
        The end, how many took it, and of how many; at least two.
    """
    taken = [end_taken(record) for record in records if len(_tried(record)) > 1]
    ends: tuple[End, End] = ("lowest", "highest")
    for end in ends:
        if len(taken) > 1 and taken.count(end) >= _MOST * len(taken):
            return end, taken.count(end), len(taken)
    return None
