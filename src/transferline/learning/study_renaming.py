"""Runs from scratch that go by another name since pre-trainings of a study came or moved."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transferline.evaluation import records
from transferline.evaluation.records import Record
from transferline.learning.study_records import RECORDS, SUPERSEDED
from transferline.learning.study_runs import Run


def rename_scratch(out: Path, runs: Iterable[Run]) -> None:
    """Give Records of scratch below `out`, and their directories, the names that `runs` have.

    A scratch line is named after the first pre-training that has its network. The name is part of
    the key of a run and of nothing that it computes: under another name it is the same run.

    Raises:
        DataError: a file cannot be read, or a line is not a Record.
    """
    wanted = {
        (run.task.name, run.n_train, run.seed, run.config): run
        for run in runs
        if run.mode == "scratch"
    }
    for file in (out / RECORDS, out / SUPERSEDED):
        before = records.read(file) if file.exists() else []
        now = [_renamed(record, wanted.get(_place(record)), out) for record in before]
        if now != before:
            records.write(file, now)


def _place(record: Record) -> tuple[str, int, int, str]:
    return record.task, record.n_train, record.seed, record.hashes.config


def _renamed(record: Record, run: Run | None, out: Path) -> Record:
    if run is None or record.mode != "scratch" or record.pretraining == run.pretraining:
        return record
    old, new = (out / "runs" / key for key in (record.key(), run.key))
    if old.exists() and not new.exists():
        old.rename(new)
    return record.model_copy(update={"pretraining": run.pretraining})
