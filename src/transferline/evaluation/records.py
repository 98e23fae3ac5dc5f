"""Records: one JSON line per finished run, the only source of every number that is reported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from transferline.errors import DataError, shortened
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.json_lines import append_line, read_lines
from transferline.evaluation.measurement import Measurement
from transferline.files import json_hash, write_text

_SHOWN = 5  # problems of one line that are told at once
_FROZEN = ConfigDict(
    extra="forbid", frozen=True, protected_namespaces=(), ser_json_inf_nan="strings"
)


_Name = Annotated[str, Field(max_length=300)]


class Hashes(BaseModel):
    """What a run was made from, as SHA-256.

    `loaded`, `start` and `end` are those of the backbone, buffers included: as read from the
    checkpoint, before the first step and after the last. `weights_start` and `weights_end` leave
    the buffers out. Runs without a backbone have none.
    """

    model_config = _FROZEN

    loaded: str | None = None
    start: str | None = None
    end: str | None = None
    weights_start: str | None = None
    weights_end: str | None = None
    config: str
    data: str | None = None
    checkpoint: str | None = None


class Cost(BaseModel):
    """What a run cost; `examples_seen` counts repetitions."""

    model_config = _FROZEN

    examples_seen: int = Field(ge=0)
    cpu_seconds: float = Field(ge=0)
    wall_seconds: float = Field(ge=0)
    steps: int = Field(ge=0)


class Record(BaseModel):
    """One finished run of a study.

    Args:
        study: name of the study.
        task: name of the downstream question.
        mode: "scratch", "frozen", "fixed", "finetuned", "trees", or another name.
        pretraining: name of the pre-training variant, or "none".
        objective: the objective of the pre-training, or "none".
        backbone: the architecture, or "none".
        n_train: labelled training events, both classes together.
        seed: draws the training subset and the weights.
        metrics: name -> value and its error from the finite test set.
        extra: what else was found, such as the learning rate chosen and the validation grid.
        hashes: see `Hashes`.
        commit: of the source tree.
        version: of the package.
        time: when the run ended, ISO 8601.
        cost: see `Cost`.
        replicas: bootstrap replicas on the test set, so that modes compare in pairs.

    Raises:
        ValidationError: a field is unknown or missing, or the backbone hashes contradict the mode
            (frozen: all three equal; fixed: start = loaded, weights equal; finetuned: start =
            loaded; scratch: start differs).
    """

    model_config = _FROZEN

    study: _Name
    task: _Name
    mode: _Name
    pretraining: _Name
    objective: _Name
    backbone: _Name
    n_train: int = Field(gt=0, le=10**15)
    seed: int = Field(ge=-(2**63), lt=2**63)
    metrics: dict[str, Measurement]
    extra: dict[str, JsonValue] = {}
    hashes: Hashes
    commit: str
    version: str
    time: str
    cost: Cost
    replicas: Replicas | None = None

    @model_validator(mode="after")
    def _check_hashes(self) -> Self:
        if (problem := _contradiction(self.mode, self.hashes)) is not None:
            raise ValueError(f"{problem}, which a run in mode '{self.mode}' cannot have")
        return self

    def key(self) -> str:
        """Return the identity of the run; see `run_key`."""
        return run_key(
            study=self.study,
            task=self.task,
            mode=self.mode,
            pretraining=self.pretraining,
            n_train=self.n_train,
            seed=self.seed,
            config=self.hashes.config,
        )

    def headline(self) -> str:
        """Return the area under the curve, or the first of what the task measures, in words."""
        name = "auc" if "auc" in self.metrics else next(iter(self.metrics), "")
        return f"{name.replace('auc', 'AUC')} {self.metrics[name]}" if name else "done"


TRANSFERRED = ("frozen", "fixed", "finetuned")
"""Modes whose runs begin with the weights of a pre-training."""


def _contradiction(mode: str, hashes: Hashes) -> str | None:
    loaded, start, end = hashes.loaded, hashes.start, hashes.end
    if mode in TRANSFERRED and loaded is None:
        return "the hash of the loaded backbone is absent"
    if mode in TRANSFERRED and start != loaded:
        return "the backbone at the start is not the one that was loaded"
    if mode == "frozen" and end != start:
        return "the backbone at the end is not the one at the start"
    if mode == "fixed" and (
        hashes.weights_end is None or hashes.weights_end != hashes.weights_start
    ):
        return "the weights of the backbone at the end are not those at the start"
    if mode == "scratch" and start is not None and start == loaded:
        return "the backbone at the start is the one of the checkpoint"
    return None


def run_key(
    *, study: str, task: str, mode: str, pretraining: str, n_train: int, seed: int, config: str
) -> str:
    """Return a name that two runs share exactly if they are the same run; fit for a directory.

    It reads well and ends in eight digits of a hash over all arguments, the hash of the resolved
    config among them.

    >>> run_key(study="s", task="ttH(bb)", mode="scratch", pretraining="none", n_train=300,
    ...         seed=1, config="c0ffee")
    's.ttH-bb.scratch.none.300.1.0ed1c4bb'
    """
    parts = [study, task, mode, pretraining, n_train, seed]
    readable = ".".join(re.sub(r"[^A-Za-z0-9_+-]+", "-", str(part)).strip("-") for part in parts)
    return f"{readable}.{json_hash([*parts, config])[:8]}"


def append(path: Path | str, record: Record) -> None:
    """Add a record to a JSONL file, safe against other writers and an earlier crash.

    Raises:
        DataError: the file cannot be written.
    """
    append_line(Path(path), record.model_dump_json(exclude_none=True), complete=_is_record)


def write(path: Path | str, records: Iterable[Record]) -> None:
    """Replace a JSONL file by one that holds these records, in their order."""
    lines = [record.model_dump_json(exclude_none=True) + "\n" for record in records]
    write_text(Path(path), "".join(lines))


def read(paths: Path | str | Iterable[Path | str]) -> list[Record]:
    """Return the records of one or several JSONL files, in their order.

    A half-written last line, as a killed writer leaves it, is dropped with a warning.

    Raises:
        DataError: a file cannot be read, or a line is not a record; names `file:line`.
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    return [
        _parse(text, f"{file}:{number}")
        for file in files
        for number, text in read_lines(Path(file), complete=_is_record)
    ]


def _parse(text: str, place: str) -> Record:
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = "; ".join(_describe(item) for item in found[:_SHOWN])
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(f"{place}: is not a record: {problems}{more}.") from error


def _describe(item: Any) -> str:
    where = ".".join(shortened(step, 60) for step in item["loc"])
    text = shortened(item["msg"], 300)
    return f"{where}: {text}" if where else text


def _is_record(text: str) -> bool:
    try:
        Record.model_validate_json(text)
    except ValidationError:
        return False
    return True
