"""The ledger of input files: one row for every file that was named, used or not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from transferline.data.card import DataCard, named_reason
from transferline.data.layouts.shard_directory import FILES
from transferline.data.parts import Ledger
from transferline.data.readers.base import Source
from transferline.data.readers.status import FileStatus
from transferline.data.survey import DAMAGED, UNREACHABLE, Failure, Look, Survey
from transferline.errors import DataError
from transferline.files import write_text

USED, SKIPPED = "used", "skipped"


@dataclass(frozen=True)
class FileRow:
    """One line of `files.jsonl`.

    What is random or belongs to one run (`seconds`, `retries`) stands here and not in the card:
    equal input gives equal cards.

    Attributes:
        path: as the user named it; a URL without its query.
        status: `used`, `skipped` (named by a skip list), or as `Failure` has it, `damaged` or
            `unreachable`.
        reason: of a file that is not used.
        format, entries, count, sum_weight, sum_weight2: as `Source` has them; of a file that is
            not used they count nowhere.
        passed: events in the shards.
        bytes, mtime_ns, etag: what tells the file from a changed one.
        seconds: spent on it, by all processes.
        retries: attempts that a server made necessary.
    """

    path: str
    status: str
    reason: str = ""
    format: str = ""
    entries: int | None = None
    count: int | None = None
    sum_weight: float | None = None
    sum_weight2: float | None = None
    passed: int = 0
    bytes: int | None = None
    mtime_ns: int | None = None
    etag: str | None = None
    seconds: float = 0.0
    retries: int = 0

    @property
    def stamp(self) -> list[Any]:
        """What `FileStatus.stamp` told when the file was read."""
        told = [self.bytes, self.mtime_ns]
        return told if self.etag is None else [*told, self.etag]

    @classmethod
    def of(cls, row: Mapping[str, Any], **more: Any) -> Self:
        """Make a row of `Source.to_dict()` and the rest."""
        names = {field.name for field in fields(cls)}
        told = {key: value for key, value in row.items() if key in names}
        return cls(**{**told, "bytes": row.get("size"), **more})


def file_rows(
    survey: Survey,
    failures: Sequence[Failure],
    left_out: Mapping[str, str],
    ledgers: Sequence[Ledger],
) -> list[FileRow]:
    """Return one row per file of the survey, in order, and then those of the skip list.

    Args:
        survey: the first pass.
        failures: of it, and those that were found when the files were read through.
        left_out: path -> reason.
        ledgers: the units of the files that are used.
    """
    done: dict[str, list[Ledger]] = defaultdict(list)
    for ledger in ledgers:
        done[ledger.unit["path"]].append(ledger)
    broken = {failure.path: failure for failure in failures}
    rows = [_row(path, x, done[path], broken.get(path)) for path, x in survey.looks.items()]
    return rows + [FileRow(path, SKIPPED, reason) for path, reason in left_out.items()]


def _row(path: str, look: Look, ledgers: Sequence[Ledger], failure: Failure | None) -> FileRow:
    known = look.found.to_dict() if isinstance(look.found, Source) else _known(look.status)
    return FileRow.of(
        {**known, "path": path},
        status=failure.status if failure else USED,
        reason=failure.reason if failure else "",
        passed=sum(ledger.rows for ledger in ledgers),
        seconds=round(look.seconds + sum(ledger.seconds for ledger in ledgers), 3),
        retries=look.retries + sum(ledger.retries for ledger in ledgers),
    )


def _known(status: FileStatus | None) -> dict[str, Any]:
    return {} if status is None else asdict(status)


def usable_again(
    rows: Iterable[FileRow], stamps: Mapping[str, Sequence[Any] | None]
) -> list[FileRow]:
    """Return the files that were left out and may be had now.

    Those are files that were out of reach, and damaged ones that have changed since.

    Args:
        rows: the ledger of finished shards.
        stamps: stored name -> `FileStatus.stamp` of files that are there now, else None.
    """
    there = {name: list(stamp) for name, stamp in stamps.items() if stamp is not None}
    return [row for row in rows if row.path in there and _may_be_back(row, there[row.path])]


def _may_be_back(row: FileRow, stamp: list[Any]) -> bool:
    changed = row.bytes is not None and row.stamp != stamp
    return row.status == UNREACHABLE or (row.status == DAMAGED and changed)


def write_ledger(directory: Path, rows: Iterable[FileRow]) -> None:
    """Write `files.jsonl` atomically."""
    write_text(directory / FILES, "".join(json.dumps(asdict(row)) + "\n" for row in rows))


def read_ledger(directory: Path, card: DataCard) -> list[FileRow]:
    """Return the rows; of shards without a ledger, what their card tells.

    Raises:
        DataError: the ledger is damaged.
    """
    path = directory / FILES
    if not path.exists():
        rows = [FileRow.of(row, status=USED) for row in card.files]
        return rows + [FileRow(p, DAMAGED, reason) for p, reason in card.skipped.items()]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [FileRow(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: is damaged ({error}). Prepare {directory} again.") from error


def render(rows: Sequence[FileRow], limit: int = 20) -> str:
    """Return a table of the files; those that were not used come first and are all shown.

    Args:
        rows: the ledger.
        limit: number of used files to show.
    """
    counts = Counter(row.status for row in rows)
    total = sum(row.bytes or 0 for row in rows if row.status == USED)
    used = [row for row in rows if row.status == USED]
    lines = [
        f"files: {', '.join(f'{n:,} {status}' for status, n in counts.items())}; {_size(total)}, "
        f"{sum(row.seconds for row in rows):.1f} s, {sum(row.retries for row in rows)} retries"
    ]
    if used:
        lines.append(f"{'entries':>12} {'passed':>10} {'sum of weights':>15} {'size':>9}  file")
        lines += [_line(row) for row in used[:limit]]
    if len(used) > limit:
        lines.append(f"... and {len(used) - limit:,} more, all in {FILES}")
    lines += [f"{row.status}: {named_reason(row.path, row.reason)}" for row in rows if row.reason]
    return "\n".join(lines)


def _line(row: FileRow) -> str:
    weight = "unknown" if row.sum_weight is None else f"{row.sum_weight:.8g}"
    size = "unknown" if row.bytes is None else _size(row.bytes)
    return f"{row.entries:>12,} {row.passed:>10,} {weight:>15} {size:>9}  {row.path}"


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.4g} TB"
