"""Whether a network was still improving when its steps ended, or best when first looked at.

The former number says how long was trained, not what the labels tell, and a gain over it may be
time alone. The latter says when the first validation was: there may be better weights before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transferline.evaluation.learning_curve import Point
from transferline.evaluation.records import Record

_LATE = 0.95  # of the steps: a best validation beyond is one at the end


def at_cap(record: Record) -> bool:
    """Tell whether a run used all its steps and was best at the end of them.

    A Record without `extra.cap` is older than that; where one of several learning rates was best
    in its trial, the training in full came after it and was worse, so that it is not at its cap.
    Where the last weights are kept whatever they are worth (`extra.keep`), or nothing validated,
    no step is the best: the last one is what was left.
    """
    found: dict[str, Any] = dict(record.extra)
    if found.get("keep") == "last" or not _validated(found):
        return False
    steps, best = found.get("steps"), found.get("best_step")
    if not steps or best is None or found.get("stopped") != "finished":
        return False
    if "cap" in found:
        return bool(steps >= found["cap"] and best >= _LATE * steps)
    tried = found.get("grid") or []
    from_trial = len(tried) > 1 and any(row.get("steps") == steps for row in tried)
    return bool(best >= _LATE * steps and not from_trial)


def _validated(found: Mapping[str, Any]) -> bool:
    """Tell whether anything chose the weights; of a Record that does not say, something did."""
    losses = found.get("losses")
    valid = losses.get("valid") if isinstance(losses, dict) else None
    unseen = isinstance(valid, list) and all(loss is None for loss in valid)
    return not (unseen or found.get("n_select") == 0)


def best_at_once(record: Record) -> bool:
    """Tell whether a run was best at the first of several validations."""
    losses: Any = record.extra.get("losses")
    steps = losses.get("step", []) if isinstance(losses, dict) else []
    best: Any = record.extra.get("best_step")
    return best is not None and len(steps) > 1 and bool(best <= steps[0])


def runs_best_at_once(point: Point) -> int:
    """Return how many runs of a point were."""
    return sum(best_at_once(record) for record in point.records)


def runs_at_cap(point: Point) -> int:
    """Return how many runs of a point were."""
    return sum(at_cap(record) for record in point.records)


def unfinished(records: Sequence[Record]) -> bool:
    """Tell whether at least half of some runs were."""
    return 2 * sum(map(at_cap, records)) >= len(records)
