"""study(): samples, pre-trainings and the grid of transfers, resumable at any moment."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferline.data.layouts.shards import CARD
from transferline.errors import TransferlineError
from transferline.evaluation import records
from transferline.evaluation.records import Record
from transferline.files import write_json
from transferline.learning.executors import (
    InlineExecutor,
    executor,
    sigterm_as_interrupt,
    stop_workers,
)
from transferline.learning.study_budget import budget_lines, training_seconds
from transferline.learning.study_config import StudyConfig
from transferline.learning.study_pretraining import prepare_checkpoints
from transferline.learning.study_runs import Run, execute, fill_table, plan
from transferline.learning.tasks.base import TaskData
from transferline.learning.training import StopRequestedError
from transferline.models.checkpoint import Checkpoint
from transferline.progress import Ticker, progress
from transferline.provenance import run_facts
from transferline.samples import cache_directory, materialise

RECORDS = "records.jsonl"
_SHOWN = 20  # failures named in the closing error; each was named when it happened


class StudyIncompleteError(TransferlineError):
    """Some runs failed; the others are recorded."""


def study(
    config: StudyConfig,
    out: Path,
    *,
    jobs: int = 1,
    pool: Executor | None = None,
    dask: str | None = None,
    cache: Path | None = None,
) -> Path:
    """Do everything of a study that is not done yet and return its directory.

    `out` receives `study.json`, `samples.json`, `pretrain/<variant>/`, `runs/<key>/` and
    `records.jsonl`, one line per finished run. A run is skipped if its Record is there: its key
    holds the hashes of data, weights and settings, so a change of any of them is another run.

    Args:
        config: the study.
        out: its directory.
        jobs: processes, of one thread each.
        pool: any executor that sees the same files, in place of `jobs` processes.
        dask: address of a Dask scheduler, in place of `jobs` processes.
        cache: where samples are kept; `TRANSFERLINE_CACHE` unless given.

    Raises:
        StudyIncompleteError: runs failed; names them. The others are finished and recorded.
        StopRequestedError: SIGTERM or Ctrl-C; finished runs are recorded.
        ConfigError, DataError, NumericalError: samples or pre-trainings cannot be made.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "study.json", _description(config))
    places = _samples(config, out, cache or cache_directory(), jobs)
    task = config.task.located({name: places[name] for name in config.task.samples()})
    data = task.load()
    with sigterm_as_interrupt(), _given_or_new(pool, jobs, dask) as workers:
        site = _Site(out, workers, None if isinstance(workers, InlineExecutor) else 1)
        try:
            checkpoints = prepare_checkpoints(config, places, out / "pretrain", workers)
            runs = plan(config, task, data, checkpoints)
            todo = _unfinished(runs, out / RECORDS)
            _announce(config, runs, todo, data, jobs)
            site.fill_tables(todo)
            failures = site.grid(todo)
        except (KeyboardInterrupt, StopRequestedError) as error:
            stop_workers()
            raise _stopped(out) from error
    if failures:
        lines = [f"  {key}: {text}" for key, text in failures.items()][:_SHOWN]
        raise StudyIncompleteError(
            f"{len(failures)} of {len(todo)} runs failed:\n" + "\n".join(lines) + "\n"
            "The others are recorded; the same command tries only these again."
        )
    return out


def _given_or_new(pool: Executor | None, jobs: int, dask: str | None) -> Any:
    return executor(jobs, dask) if pool is None else nullcontext(pool)


def _stopped(out: Path) -> StopRequestedError:
    done = len(records.read(out / RECORDS)) if (out / RECORDS).exists() else 0
    return StopRequestedError(
        f"stopped; {done} finished runs are recorded in {out / RECORDS}. "
        "The same command goes on from there."
    )


def _description(config: StudyConfig) -> dict[str, Any]:
    return {
        "name": config.name,
        "title": config.title,
        "scale": config.scale,
        "config_sha256": config.digest(),
        "config": config.to_dict(),
        **run_facts(),
    }


def _samples(config: StudyConfig, out: Path, cache: Path, jobs: int) -> dict[str, Path]:
    """Make the samples that are used, and list them for the report."""
    used = dict.fromkeys((*config.task.samples(), *config.unlabelled()))
    places = {name: materialise(config.samples[name], cache, jobs=jobs) for name in used}
    rows = [
        {
            "name": name,
            "label": config.samples[name].label or name,
            "shards": str(place),
            "card": json.loads((place / CARD).read_text(encoding="utf-8")),
        }
        for name, place in places.items()
    ]
    write_json(out / "samples.json", rows)
    return places


def _unfinished(runs: Sequence[Run], file: Path) -> list[Run]:
    done = {record.key() for record in records.read(file)} if file.exists() else set()
    return [run for run in runs if run.key not in done]


def _announce(
    config: StudyConfig, runs: Sequence[Run], todo: Sequence[Run], data: TaskData, jobs: int
) -> None:
    """Print the event-pass budget before anything of the grid starts."""
    say(
        f"{config.title}: {len(data.pool)} events to draw from, {len(data.test)} test events; "
        f"{len(runs) - len(todo)} of {len(runs)} runs are finished."
    )
    say(
        f"n_train counts all classes together and includes the {config.task.select_share:.0%} "
        "that select (early stopping, learning rate, tree settings) instead of fitting."
    )
    if not todo:
        return
    networks = [run for run in todo if run.mode in ("scratch", "finetuned") and run.checkpoint]
    per_pass = 0.0
    if networks and networks[0].checkpoint is not None:
        per_pass = training_seconds(Checkpoint.load(networks[0].checkpoint), networks[0], data)
    lines, hours = budget_lines(todo, data, per_pass, jobs)
    for line in lines:
        say(line)
    if config.budget is not None and hours > config.budget:
        say(f"warning: the study's budget is {config.budget} CPU hours.")


def say(line: str) -> None:
    """Print one line for people on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@dataclass
class _Site:
    """Executes the runs of one study."""

    out: Path
    workers: Executor
    threads: int | None
    failures: dict[str, str] = field(default_factory=dict)

    def fill_tables(self, todo: Sequence[Run]) -> None:
        """Compute once what several runs would otherwise each compute for themselves."""
        first = {(run.mode, run.checkpoint): run for run in todo if run.mode in ("frozen", "trees")}
        futures = [
            self.workers.submit(fill_table, run, self.out / "tables", self.threads)
            for run in first.values()
        ]
        for future in futures:
            future.result()

    def grid(self, todo: Sequence[Run]) -> dict[str, str]:
        """Do the runs and append their Records as they finish; return the failures by key."""
        thousands = sum(_weight(run) for run in todo)
        with progress(thousands, "grid, 1000 event passes") as ticker:
            waiting: dict[Future[str], Run] = {}
            for run in todo:
                where = self.out / "runs" / run.key
                future = self.workers.submit(
                    execute, run, where, self.out / "tables", self.threads, None
                )
                waiting[future] = run
                if future.done():
                    self._finish(waiting.pop(future), future, ticker)
            while waiting:
                done, _ = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    self._finish(waiting.pop(future), future, ticker)
        return self.failures

    def _finish(self, run: Run, future: Future[str], ticker: Ticker) -> None:
        try:
            record = Record.model_validate_json(future.result())
        except StopRequestedError:
            raise
        except Exception as error:  # one run's failure, of whatever kind, is not the study's
            self.failures[run.key] = f"{type(error).__name__}: {error}"
            say(f"failed: {run.key}: {self.failures[run.key]}")
        else:
            records.append(self.out / RECORDS, record)
            ticker.note(f"{run.title}: AUC {record.metrics['auc']}")
        ticker.advance(_weight(run))


def _weight(run: Run) -> int:
    """Share of the progress bar. A tree's pass over an event costs little."""
    return 1 + run.examples() // (20_000 if run.mode in ("trees", "frozen") else 1000)
