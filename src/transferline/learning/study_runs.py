"""The runs of a study: which there are, what each is called, and how one is executed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from transferline.errors import ConfigError, DataError
from transferline.evaluation.records import TRANSFERRED, Record, run_key
from transferline.executors import one_at_a_time
from transferline.learning.adaptation import StaleError, transfer
from transferline.learning.baselines import Trees
from transferline.learning.modes import Mode, adapts
from transferline.learning.network_run import Adaptation
from transferline.learning.run_digest import at_size, run_digest
from transferline.learning.shared_tables import embedding_table, engineered_table
from transferline.learning.study_config import StudyConfig
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import fitted
from transferline.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Run:
    """One cell of the grid. Everything in it can be sent to another process."""

    study: str
    task: Task
    mode: Mode
    pretraining: str
    checkpoint: Path | None
    n_train: int
    seed: int
    how: Adaptation | Trees
    config: str
    scratch: str | None = None
    keep_checkpoint: bool = False
    allow_overlap: bool = False

    @property
    def key(self) -> str:
        """The name of the run's directory; equals the key of its Record."""
        return run_key(
            study=self.study,
            task=self.task.name,
            mode=self.mode,
            pretraining=self.pretraining,
            n_train=self.n_train,
            seed=self.seed,
            config=self.config,
        )

    @property
    def title(self) -> str:
        """For people."""
        variant = f" {self.pretraining}" if self.pretraining != "none" else ""
        return f"{self.task.name}: {self.mode}{variant}, n = {self.n_train}, seed {self.seed}"

    def examples(self) -> int:
        """Events passed through training at most, but for trees that grow on; see `examples`."""
        n_fit = fitted(self.n_train, self.task.select_share)
        return self.how.examples(n_fit)


def plan(
    config: StudyConfig, task: Task, data: TaskData, checkpoints: Mapping[str, Path]
) -> list[Run]:
    """Return all runs, small ones first.

    Trees and scratch runs have nothing of the pre-trained weights. Scratch is run once per
    architecture, Features and settings, and named after the first variant that has them; where
    all variants share these, it is the only one and needs no name.
    """
    scratch = _scratch_lines(config, task, data, checkpoints)
    cells = _shared(_cells(config, task, data, checkpoints, scratch))
    users = [_users(cell, names, scratch) for cell, names in cells]
    return [
        replace(cell, n_train=n_train, seed=seed, config=at_size(cell.config, task, n_train))
        for n_train in config.grid.sizes(task.name)
        for seed in config.grid.seeds_at(n_train)
        for (cell, _), names in zip(cells, users, strict=True)
        if names and config.wants(task.name, cell.mode, names, n_train, seed)
    ]


def _shared(cells: Iterable[Run]) -> list[tuple[Run, list[str]]]:
    """Return each run once, with the variants that it is the same run for."""
    found: dict[tuple[Mode, str], tuple[Run, list[str]]] = {}
    for cell in cells:
        found.setdefault((cell.mode, cell.config), (cell, []))[1].append(cell.pretraining)
    return list(found.values())


def _users(cell: Run, names: list[str], scratch: Mapping[str, str]) -> list[str]:
    """Return the variants that a run is done for: several may be compared with one scratch."""
    if cell.mode == "scratch":
        return [name for name, line in scratch.items() if line == cell.pretraining]
    return names


def _cells(
    config: StudyConfig,
    task: Task,
    data: TaskData,
    checkpoints: Mapping[str, Path],
    scratch: Mapping[str, str],
) -> Iterator[Run]:
    """Yield one run of every mode and, where it matters, every variant."""
    # A head may need what other pre-trainings do not have, such as a classifier of two classes.
    used = {
        name: path
        for name, path in checkpoints.items()
        if task.name in (config.pretrain[name].only.tasks or (task.name,))
    }
    # Those of another task may be what these are compared with.
    compared = {config.pretrain[name].only.scratch or name for name in used}
    lines = {name: path for name, path in checkpoints.items() if name in compared}
    for mode in config.grid.modes:
        variants = lines if mode == "scratch" else used
        for variant, path in variants.items() if mode != "trees" else [("none", None)]:
            how = config.how(mode, variant)
            assert how is not None  # StudyConfig checks it
            checkpoint = None if path is None else Checkpoint.load(path)
            if mode == "fixed" and checkpoint is not None and not adapts(checkpoint):
                continue
            yield Run(
                study=config.name,
                task=task,
                mode=mode,
                pretraining=scratch[variant] if mode == "scratch" else variant,
                checkpoint=path,
                n_train=0,
                seed=0,
                how=how,
                config=run_digest(checkpoint, task, data, mode, how),
                scratch=scratch.get(variant) if mode in TRANSFERRED else None,
                keep_checkpoint=config.keep_checkpoints,
                allow_overlap=config.allow_overlap,
            )


def _scratch_lines(
    config: StudyConfig, task: Task, data: TaskData, checkpoints: Mapping[str, Path]
) -> dict[str, str]:
    """Variant -> name of the scratch runs that it is to be compared with."""
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for name, path in checkpoints.items():
        if config.pretrain[name].only.scratch is None:
            how = config.how("scratch", name) or Trees()
            digest = run_digest(Checkpoint.load(path), task, data, "scratch", how)
            found[name] = first.setdefault(digest, name)
    found = {name: found[_compared(config, checkpoints, name)] for name in checkpoints}
    return found if len(first) > 1 else dict.fromkeys(found, "none")


def _compared(config: StudyConfig, checkpoints: Mapping[str, Path], name: str) -> str:
    """The variant with whose scratch runs this one is compared.

    Raises:
        ConfigError: it is another network, has other inputs or another recipe.
    """
    other = config.pretrain[name].only.scratch or name
    pair = (name, other)
    recipes = [Checkpoint.load(checkpoints[one]).recipe for one in pair]
    if recipes[0] != recipes[1] or config.how("scratch", name) != config.how("scratch", other):
        raise ConfigError(
            f"pretrain.{name}.only.scratch: '{other}' has another network, other inputs or other "
            "settings from scratch, so its runs are no comparison."
        )
    return other


def small_first(plans: Sequence[Sequence[Run]]) -> list[Run]:
    """Lay the runs of several tasks together: sizes rise, seeds within a size, tasks in turns."""
    runs = [run for plan in plans for run in plan]
    return sorted(runs, key=lambda run: (run.n_train, run.seed))


@one_at_a_time
def execute(run: Run, out: Path, tables: Path, threads: int | None, label: str | None) -> str:
    """Do one run in the directory `out` and return its Record as JSON."""
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        record = _transferred(run, out, tables, label)
    except StaleError:  # a process that lives longer than the files that it has read
        _checkpoint.cache_clear()
        _loaded.clear()
        try:
            record = _transferred(run, out, tables, label)
        except StaleError as error:
            raise DataError(f"{error} Start the study again, and its workers anew.") from error
    return record.model_dump_json(exclude_none=True)


def _transferred(run: Run, out: Path, tables: Path, label: str | None) -> Record:
    record: Record = transfer(
        _checkpoint(run.checkpoint) if run.checkpoint else None,
        run.task,
        run.mode,
        n_train=run.n_train,
        seed=run.seed,
        how=run.how,
        out=out,
        data=_data(run.task),
        tables=tables,
        keep_checkpoint=run.keep_checkpoint,
        allow_overlap=run.allow_overlap,
        study=run.study,
        pretraining=run.pretraining,
        scratch=run.scratch,
        expected=run.config,
        label=label,
    )
    return record


@one_at_a_time
def fill_table(run: Run, tables: Path, threads: int | None) -> None:
    """Compute the numbers of all events that runs like this one share."""
    if threads is not None:
        torch.set_num_threads(threads)
    data = _data(run.task)
    if run.mode == "trees":
        engineered_table(run.task.engineered, data, tables)(data.test[:1])
    elif isinstance(run.how, Adaptation) and run.checkpoint is not None:
        embedding_table(_checkpoint(run.checkpoint), data, run.how, tables)(data.test[:1])


@lru_cache(maxsize=8)
def _checkpoint(path: Path) -> Checkpoint:
    return Checkpoint.load(path)


_loaded: dict[str, TaskData] = {}


def _data(task: Task) -> TaskData:
    """Open the shards once per process."""
    key = task.digest()
    if key not in _loaded:
        _loaded[key] = task.load()
    return _loaded[key]
