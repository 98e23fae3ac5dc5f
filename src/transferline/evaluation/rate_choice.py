"""Whether a network took the lowest or the highest of the learning rates that it could choose from.

If most runs of a line did, the range ended too early on that side, and the number may be too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from transferline.evaluation.records import Record

End = Literal["lowest", "highest"]
_MOST = 0.75


def end_taken(record: Record) -> End | None:
    """Return the end of the tried rates that was best; None if one between was, or none tried."""
    found: dict[str, Any] = dict(record.extra)
    tried = sorted({row["lr"] for row in found.get("grid") or [] if "lr" in row})
    if len(tried) < 2:
        return None
    if found.get("lr") == tried[0]:
        return "lowest"
    return "highest" if found.get("lr") == tried[-1] else None


def mostly_taken(records: Sequence[Record]) -> tuple[End, int] | None:
    """Return the end that at least three quarters of two or more runs took, and how many did."""
    taken = [end_taken(record) for record in records]
    ends: tuple[End, End] = ("lowest", "highest")
    for end in ends:
        if len(taken) > 1 and taken.count(end) >= _MOST * len(taken):
            return end, taken.count(end)
    return None
