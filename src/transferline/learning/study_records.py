"""Which Records of a study's directory belong to its present settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from transferline.evaluation import records
from transferline.evaluation.records import Record

RECORDS = "records.jsonl"
SUPERSEDED = "records.superseded.jsonl"


def keep_current(
    out: Path, wanted: Mapping[str, str | None], others: Collection[str] = ()
) -> set[str]:
    """Sort the Records below `out`; return the keys of those that are wanted and there.

    `records.jsonl` keeps the Records whose keys are `wanted`, each once, and those of the tasks
    `others`; the rest moves to `records.superseded.jsonl`, from where they come back once they are
    wanted again. `wanted` also says with which scratch line each is to be compared: that depends on
    the other settings of the study, so a Record of earlier days may name another one.

    Raises:
        DataError: a file cannot be read, or a line is not a Record.
    """
    current, old = _read(out / RECORDS), _read(out / SUPERSEDED)
    found = {record.key(): record for record in (*old, *current)}
    ordered = dict.fromkeys(record.key() for record in (*current, *old))
    left_alone = {record.key() for record in current if record.task in others}
    kept = [
        _comparing(found[key], wanted.get(key))
        for key in ordered
        if key in wanted or key in left_alone
    ]
    rest = [found[key] for key in ordered if key not in wanted and key not in left_alone]
    # What is added comes first: a kill in between leaves a Record twice, not never.
    for file, before, now in sorted(
        ((out / RECORDS, current, kept), (out / SUPERSEDED, old, rest)),
        key=lambda change: len(change[2]) < len(change[1]),
    ):
        if now != before:
            records.write(file, now)
    return {record.key() for record in kept}


def _comparing(record: Record, scratch: str | None) -> Record:
    if scratch is None or record.extra.get("scratch") == scratch:
        return record
    return record.model_copy(update={"extra": {**record.extra, "scratch": scratch}})


def _read(file: Path) -> list[Record]:
    return records.read(file) if file.exists() else []
