"""study(): samples, pre-trainings and the grid of transfers, resumable at any moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferline.data.layouts.shards import CARD
from transferline.errors import ConfigError, DataError, TransferlineError, shortened
from transferline.evaluation import records
from transferline.evaluation.records import TRANSFERRED, Record
from transferline.executors import (
    ClusterError,
    InlineExecutor,
    WorkersLostError,
    each,
    given_or_new,
    result_of,
    size_of,
)
from transferline.files import alone_in, read_json, write_json
from transferline.learning.independence import check_test_events
from transferline.learning.kept_model import CHECKPOINT
from transferline.learning.study_budget import budget_lines, memory_lines
from transferline.learning.study_config import StudyConfig
from transferline.learning.study_pretraining import prepare_checkpoints
from transferline.learning.study_records import RECORDS, keep_current
from transferline.learning.study_renaming import rename_scratch
from transferline.learning.study_runs import Run, execute, fill_table, plan, small_first
from transferline.learning.study_tokenizers import prepare_tokenizers
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import SELECTING
from transferline.learning.training import StopRequestedError
from transferline.models.checkpoint import Checkpoint
from transferline.progress import Ticker, progress, say
from transferline.provenance import run_facts
from transferline.runtime import cache_directory
from transferline.samples import materialise, require_generator
from transferline.stopping import signal_of, sigterm_as_interrupt

__all__ = ["RECORDS", "StudyIncompleteError", "study"]

_SHOWN = 20  # failures named in the closing error; each was named when it happened


class StudyIncompleteError(TransferlineError):
    """Some runs failed; the others are recorded."""

    exit_code = 3


def study(
    config: StudyConfig,
    out: Path,
    *,
    jobs: int = 1,
    executor: Executor | None = None,
    cache: Path | None = None,
    tasks: Sequence[str] = (),
) -> Path:
    """Do everything of a study that is not done yet and return its directory.

    `out` receives `study.json`, `samples.json`, `tokenizers/<name>/`, `pretrain/<variant>/`,
    `runs/<key>/` and
    `records.jsonl`, one line per finished run. A run is skipped if its Record is there: its key
    holds the hashes of data, weights and settings, so a change of any of them is another run.
    Records of runs that are none of this study any more move to `records.superseded.jsonl`, and
    come back with the settings that they belong to.

    Args:
        config: the study.
        out: its directory.
        jobs: processes, of one thread each.
        executor: does the work in place of `jobs` processes, best one of
            `transferline.executors`; it must see `out` and `cache`.
        cache: where samples are kept; `TRANSFERLINE_CACHE` unless given.
        tasks: names of those to do now; Records of the others are left alone. All unless given.

    Raises:
        StudyIncompleteError: runs failed; names them. The others are finished and recorded.
        StopRequestedError: SIGTERM or Ctrl-C; finished runs are recorded.
        WorkersLostError: the processes that did the work are gone; finished runs are recorded.
        ConfigError: another process works in `out`.
        ConfigError, DataError, NumericalError: samples or pre-trainings cannot be made.
    """
    place, cache = out.absolute(), (cache or cache_directory()).absolute()
    chosen = config.only(tasks) if tasks else config
    others = {task.name for task in config.questions()} - {t.name for t in chosen.questions()}
    _check_owner(place / "study.json", config.name)
    place.mkdir(parents=True, exist_ok=True)
    with sigterm_as_interrupt(), alone_in(place), given_or_new(executor, jobs) as pool:
        write_json(place / "study.json", _description(config))
        try:
            failures, n_todo = _run(chosen, place, cache, pool, others)
        except (KeyboardInterrupt, StopRequestedError) as error:
            raise _stopped(out, error) from error
    if failures:
        lines = [f"  {key}: {text}" for key, text in failures.items()][:_SHOWN]
        raise StudyIncompleteError(
            f"{len(failures)} of {n_todo} runs failed:\n" + "\n".join(lines) + "\n"
            "The others are recorded; the same command tries only these again."
        )
    return out


def _check_owner(file: Path, name: str) -> None:
    """Records of two studies in one file would be reported as one."""
    try:
        found = read_json(file) if file.exists() else None
    except DataError:
        return  # it is written anew from the configuration
    owner = found.get("name", name) if isinstance(found, dict) else name
    if owner != name:
        raise ConfigError(
            f"{file.parent}: holds the study '{shortened(owner)}', not '{name}'. Choose another "
            "--out."
        )


def _run(
    config: StudyConfig, out: Path, cache: Path, pool: Executor, others: Collection[str]
) -> tuple[dict[str, str], int]:
    """Do what is not done yet; return the failures by key, and how many runs there were to do."""
    for name in config.used():
        require_generator(config.samples[name], cache)
    places: dict[str, Path] = {}
    questions = []
    for task in config.questions():  # too few events of one are told before others are made
        places |= _made(config, [n for n in task.samples() if n not in places], cache, pool)
        questions.append(_question(config, task, places))
    places |= _made(config, [n for n in config.unlabelled() if n not in places], cache, pool)
    _list_samples(config, out, places)
    tokenizers = prepare_tokenizers(config, places, out / "tokenizers", pool)
    checkpoints = prepare_checkpoints(config, places, out / "pretrain", pool, tokenizers)
    for question in questions:
        _check_overlap(config, question, checkpoints)
    runs = small_first([plan(config, q.task, q.data, checkpoints) for q in questions])
    rename_scratch(out, runs)
    done = keep_current(out, {run.key: run.scratch for run in runs}, others)
    todo = [run for run in runs if run.key not in done or _lacks_model(run, out)]
    _announce(config, runs, todo, questions, size_of(pool))
    site = _Site(out, pool, None if isinstance(pool, InlineExecutor) else 1)
    site.fill_tables(todo)
    failures = site.grid(todo)
    if done & {run.key for run in todo}:  # the Records of runs that were done again stand twice
        keep_current(out, {run.key: run.scratch for run in runs}, others)
    return failures, len(todo)


def _lacks_model(run: Run, out: Path) -> bool:
    """Tell whether a finished run is to be done again for its model (`keep_checkpoints`)."""
    kept = out / "runs" / run.key / CHECKPOINT
    return run.keep_checkpoint and run.mode != "trees" and not kept.exists()


@dataclass(frozen=True)
class _Question:
    """A task with its events."""

    task: Task
    data: TaskData


def _question(config: StudyConfig, task: Task, places: Mapping[str, Path]) -> _Question:
    """Open a task's events, and see that they suffice for all sizes before anything is trained."""
    located = task.located({name: places[name] for name in task.samples()})
    data = located.load()
    data.shards.verify()
    sizes = [
        n
        for n in config.grid.sizes(task.name)
        if any(config.wants(task.name, mode, (), n, 0) for mode in config.grid.modes)
    ]
    for n_train in sizes[-1:]:
        located.labelled(data, n_train, seed=0)
    return _Question(located, data)


def _stopped(out: Path, why: KeyboardInterrupt | StopRequestedError) -> StopRequestedError:
    done = len(records.read(out / RECORDS)) if (out / RECORDS).exists() else 0
    return StopRequestedError(
        f"stopped; {done} finished runs are recorded in {out / RECORDS}. "
        "The same command goes on from there.",
        why.signal_number if isinstance(why, StopRequestedError) else signal_of(why),
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


def _made(
    config: StudyConfig, names: Iterable[str], cache: Path, pool: Executor
) -> dict[str, Path]:
    return {
        name: materialise(config.samples[name], cache, executor=pool).absolute() for name in names
    }


def _list_samples(config: StudyConfig, out: Path, places: Mapping[str, Path]) -> None:
    """List the samples that are used, for the report."""
    rows = {
        name: {
            "name": name,
            "label": config.samples[name].label or name,
            "shards": str(place),
            "card": read_json(place / CARD),
        }
        for name, place in places.items()
    }
    # Those of tasks that are not done now stay on the list.
    write_json(out / "samples.json", list({**_listed(config, out), **rows}.values()))


def _listed(config: StudyConfig, out: Path) -> dict[str, Any]:
    """Samples of the study that an earlier call has listed; a damaged list is written anew."""
    try:
        found = read_json(out / "samples.json") if (out / "samples.json").exists() else []
    except DataError:
        return {}
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    return {row["name"]: row for row in rows if row.get("name") in config.samples}


def _check_overlap(
    config: StudyConfig, question: _Question, checkpoints: Mapping[str, Path]
) -> None:
    """Ask before the grid starts, and once, what every run will ask again."""
    if not set(TRANSFERRED) & set(config.grid.modes):
        return
    for name, place in checkpoints.items():
        if question.task.name not in (config.pretrain[name].only.tasks or (question.task.name,)):
            continue
        checkpoint, allow = Checkpoint.load(place), config.allow_overlap
        found = check_test_events(checkpoint, question.task, question.data, allow=allow)
        say(f"test events and the pre-training '{name}': {found['verdict']}.")


def _announce(
    config: StudyConfig,
    runs: Sequence[Run],
    todo: Sequence[Run],
    questions: Sequence[_Question],
    jobs: int,
) -> None:
    """Print the event-pass budget before anything of the grid starts."""
    say(f"{config.title}: {len(runs) - len(todo)} of {len(runs)} runs are finished.")
    for task, events in ((question.task, question.data) for question in questions):
        say(
            f"{task.name}: {len(events.pool)} events to draw from, {len(events.test)} test events. "
            f"n_train counts all classes together and includes the {task.select_share:.0%} "
            f"(at most {SELECTING:,}) that select (early stopping, learning rate, tree settings) "
            "instead of fitting."
        )
    if not todo:
        return
    data = {question.task.name: question.data for question in questions}
    lines, hours = budget_lines(todo, data, jobs)
    for line in [*lines, *memory_lines(todo, data)]:
        say(line)
    if config.budget is not None and hours > config.budget:
        say(f"warning: the study's budget is {config.budget} CPU hours.")


@dataclass
class _Site:
    """Executes the runs of one study."""

    out: Path
    pool: Executor
    threads: int | None
    failures: dict[str, str] = field(default_factory=dict)

    def fill_tables(self, todo: Sequence[Run]) -> None:
        """Compute once what several runs would otherwise each compute for themselves."""
        first = {
            (run.task.name, run.mode, run.checkpoint): run
            for run in todo
            if run.mode in ("frozen", "trees")
        }
        calls = [(run, self.out / "tables", self.threads) for run in first.values()]
        each(self.pool, fill_table, calls, lambda i, future: _told(calls[i][0], future))

    def grid(self, todo: Sequence[Run]) -> dict[str, str]:
        """Do the runs and append their Records as they finish; return the failures by key."""
        runs, tables = self.out / "runs", self.out / "tables"
        calls = [(run, runs / run.key, tables, self.threads, None) for run in todo]
        thousands = sum(_weight(run) for run in todo)
        with progress(thousands, "grid, 1000 event passes") as ticker:
            each(self.pool, execute, calls, lambda i, future: self._finish(todo[i], future, ticker))
        return self.failures

    def _finish(self, run: Run, future: Future[str], ticker: Ticker) -> None:
        try:
            record = Record.model_validate_json(result_of(future))
            if record.key() != run.key:
                raise DataError(
                    "its Record is that of other settings, weights or data: a worker has kept what "
                    "has been replaced since. Start the workers anew."
                )
        except (StopRequestedError, WorkersLostError, ClusterError):
            raise
        except Exception as error:  # one run's failure, of whatever kind, is not the study's
            self.failures[run.key] = f"{type(error).__name__}: {error}"
            say(f"failed: {run.key}: {self.failures[run.key]}")
        else:
            records.append(self.out / RECORDS, record)
            ticker.note(f"{run.title}: {record.headline()}")
        ticker.advance(_weight(run))


def _told(run: Run, future: Future[Any]) -> None:
    """A table that could not be made is made by the runs that need it, or they fail alone."""
    try:
        result_of(future)
    except (StopRequestedError, WorkersLostError, ClusterError):
        raise
    except Exception as error:
        say(f"no common table for {run.title}: {type(error).__name__}: {error}")


def _weight(run: Run) -> int:
    """Share of the progress bar. A tree's pass over an event costs little."""
    return 1 + run.examples() // (20_000 if run.mode in ("trees", "frozen") else 1000)
