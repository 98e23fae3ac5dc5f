"""What a reader of a study should be warned about, found in its Records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from transferline.evaluation.learning_curve import Line, Point
from transferline.evaluation.rate_choice import mostly_taken
from transferline.evaluation.records import Record
from transferline.evaluation.training_cap import runs_at_cap, runs_best_at_once

WANTED_SEEDS = 5


def warnings_about(records: Sequence[Record], lines: Iterable[Line]) -> list[str]:
    """Return warnings in words: seeds, baselines, budgets, test sets, sources and weights."""
    found = list(lines)
    return [
        *_few_seeds(found),
        *_baselines(found),
        *still_improving(found),
        *best_when_first_seen(found),
        *rates_at_ends(found),
        *_test_sets(records),
        *_sources(records),
    ]


def _few_seeds(lines: Iterable[Line]) -> list[str]:
    few: dict[int, list[str]] = defaultdict(list)
    for line in lines:
        for point in line.points:
            if len(point.values) < WANTED_SEEDS:
                few[len(point.values)].append(f"{line.name} at {point.n_train}")
    return [
        f"{count} seed{'s' if count > 1 else ''} instead of at least {WANTED_SEEDS}: "
        f"{', '.join(places)}." + (" The spread is unknown." if count == 1 else "")
        for count, places in sorted(few.items())
    ]


def _baselines(lines: Iterable[Line]) -> list[str]:
    modes = {line.mode for line in lines}
    return [
        f"No {what}: {why}."
        for mode, what, why in (
            ("scratch", "training from scratch", "transfer is compared with nothing"),
            ("trees", "boosted trees", "a scratch network alone is a weak baseline"),
        )
        if mode not in modes
    ]


def still_improving(lines: Iterable[Line]) -> list[str]:
    """Name the networks of which a longer training may have made more, if there are any."""
    places = _places(lines, runs_at_cap)
    return [f"Still improving when their steps ended: {', '.join(places)}."] if places else []


def best_when_first_seen(lines: Iterable[Line]) -> list[str]:
    """Name the networks of which most runs were best at their first validation."""
    places = _places(lines, runs_best_at_once, least=0.5)
    if not places:
        return []
    return [
        "Best at their first validation, so that the numbers depend on when that was: "
        f"{', '.join(places)}."
    ]


def _places(
    lines: Iterable[Line], counted: Callable[[Point], int], least: float = 0.0
) -> list[str]:
    """Name the points of networks where some runs, and at least this share, are counted."""
    return [
        f"{line.name} at {point.n_train} ({number} of {len(point.records)})"
        for line in lines
        for point in line.points
        if line.mode != "trees"
        and (number := counted(point))
        and number >= least * len(point.records)
    ]


def rates_at_ends(lines: Iterable[Line]) -> list[str]:
    """Name the lines of which most runs took the lowest or highest learning rate they could."""
    places: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        records = [record for point in line.points for record in point.records]
        if taken := mostly_taken(records):
            end, number, total = taken
            places[end].append(f"{line.name} ({number} of {total})")
    if not places:
        return []
    said = "; ".join(f"the {end} was taken by {', '.join(places[end])}" for end in sorted(places))
    return [f"A wider range of learning rates may give more: of those tried {said}."]


def _test_sets(records: Iterable[Record]) -> list[str]:
    known = {record.replicas.test_set for record in records if record.replicas}
    if len(known) < 2:
        return []
    return [f"The runs were measured on {len(known)} different test sets; pairing is lost."]


def _sources(records: Sequence[Record]) -> list[str]:
    found = []
    commits = sorted({record.commit for record in records})
    if len(commits) > 1:
        found.append(f"The runs come from {len(commits)} commits: {_short(commits)}.")
    if any(commit.endswith("+") for commit in commits):
        found.append("Some runs come from a source tree with uncommitted changes (commit with +).")
    data = sorted({record.hashes.data or "unknown" for record in records})
    if len(data) > 1:
        found.append(f"The runs of one task read different data: {_short(data)}.")
    return found


def _short(names: Iterable[str]) -> str:
    return ", ".join(shortened_hash(name) or "unknown" for name in names)


def shortened_hash(name: str) -> str:
    """Return the beginning of a hash; of a commit with the `+` of uncommitted changes.

    >>> shortened_hash("0123456789abcdef+")
    '0123456789ab+'
    """
    return name[:12] + "+" * (len(name) > 12 and name.endswith("+"))
