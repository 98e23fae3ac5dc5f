"""The pre-trainings of a study: each made once, or copied from where it stands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

import torch

from transferline.data.readers.shards import ShardSet
from transferline.errors import DataError
from transferline.executors import InlineExecutor, cancel, one_at_a_time, result_of
from transferline.files import atomic_directory, json_hash, remove_leavings, wait_for_files
from transferline.learning.ingredients import hashes, ingredients_of
from transferline.learning.pretraining import PretrainConfig, pretrain, protocol
from transferline.learning.study_config import StudyConfig, Variant
from transferline.learning.study_digests import is_current, is_noted
from transferline.models.checkpoint import Checkpoint
from transferline.models.shipped import resolve_checkpoint
from transferline.models.stored import CONFIG
from transferline.progress import progress

_POLL_SECONDS = 5.0


def prepare_checkpoints(
    config: StudyConfig,
    places: Mapping[str, Path],
    out: Path,
    workers: Executor,
    tokenizers: Mapping[str, Path],
) -> dict[str, Path]:
    """Return the checkpoint directory of every variant, below `out`, making what is missing.

    An interrupted pre-training goes on where it stopped. One that is finished counts only if
    its settings and data are still those of the study. Variants that differ only in how the
    pre-training is adapted share it: it is made for the first of them, and copied.

    Raises:
        DataError: a directory holds the checkpoint of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    digests = {
        name: _digest(variant, places, tokenizers) for name, variant in config.pretrain.items()
    }
    whole = {name: _chained(digests, name, one) for name, one in config.pretrain.items()}
    _check_copied_in(config, places, out)
    missing = [name for name, digest in whole.items() if not is_current(out, name, digest)]
    _check_copies(config, missing, out)
    first: dict[str, str] = {}
    for name in (*(name for name in whole if name not in missing), *missing):
        first.setdefault(whole[name], name)
    made: dict[str, PretrainConfig] = {}
    copied: dict[str, str] = {}
    for name in missing:
        variant, twin = config.pretrain[name], first[whole[name]]
        if variant.checkpoint is not None:
            Checkpoint.load(resolve_checkpoint(variant.checkpoint)).save(out / name)
        elif twin != name:
            copied[name] = twin
        else:
            made[name] = _with(variant.config(places), tokenizers, out)
    for goes_on in (False, True):  # those that begin with the weights of others come last
        part = {name: how for name, how in made.items() if (how.start is not None) == goes_on}
        _run_all(part, out, workers)
        for name, twin in copied.items():
            if (config.pretrain[name].start is not None) == goes_on:
                _copy(out / twin, out / name)
    return {name: out / name for name in config.pretrain}


def _check_copied_in(config: StudyConfig, places: Mapping[str, Path], out: Path) -> None:
    """See that pre-trainings of which nothing is noted have the settings of the study.

    Where their data, tokenizers and beginnings stand may differ; what these are is not asked.
    """
    for name, variant in config.pretrain.items():
        made = out / name / CONFIG
        if variant.checkpoint is not None or is_noted(out, name) or not made.exists():
            continue
        told = Checkpoint.load(out / name).provenance.get("config") or {}
        if _settings(told) != _settings(variant.config(places).to_dict()):
            raise DataError(
                f"{out / name}: was made with other settings. Remove that directory to make it "
                "anew, or give the study another --out."
            )


PLACES = ("data", "start", "tokenizer", "device")
"""Keys of a pre-training that name something of one machine."""


def _settings(value: Any) -> Any:
    """Return a configuration as JSON without the places that it names, and that it ran at."""
    if isinstance(value, dict):
        named = {"classes": sorted(value["classes"])} if value.get("classes") else {}
        begun = {"start": value["start"] is not None} if "start" in value else {}
        rest = {k: _settings(v) for k, v in value.items() if k not in (*PLACES, "classes")}
        return rest | named | begun
    if isinstance(value, (list, tuple)):
        return [_settings(v) for v in value]
    return value


def _check_copies(config: StudyConfig, missing: Sequence[str], out: Path) -> None:
    """Equal weights are not one network: see that copies of checkpoints have their recipes."""
    for name, variant in config.pretrain.items():
        if variant.checkpoint is None or name in missing:
            continue
        wanted = Checkpoint.load(resolve_checkpoint(variant.checkpoint)).recipe
        if Checkpoint.load(out / name).recipe != wanted:
            raise DataError(
                f"{out / name}: is a copy of another network than {variant.checkpoint} is now. "
                "Remove that directory to copy it anew, or give the study another --out."
            )


def _copy(made: Path, target: Path) -> None:
    wait_for_files([made / CONFIG])  # another machine may have made it
    remove_leavings(target)
    with atomic_directory(target) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        Checkpoint.load(folder)


def _with(
    config: PretrainConfig, tokenizers: Mapping[str, Path], out: Path | None = None
) -> PretrainConfig:
    """Put directories in the place of the names of the study's tokenizers and of the start."""
    update: dict[str, Any] = {"objective": config.objective.located(tokenizers)}
    if config.start is not None and out is not None:
        update["start"] = str(out / config.start)
    return config.model_copy(update=update)


def _chained(digests: Mapping[str, str], name: str, variant: Variant) -> str:
    """What a pre-training is made of, that of its start included."""
    own = digests[name]
    return own if variant.start is None else json_hash([own, digests[variant.start]])


def _digest(variant: Variant, places: Mapping[str, Path], tokenizers: Mapping[str, Path]) -> str:
    if variant.checkpoint is not None:
        return Checkpoint.load(resolve_checkpoint(variant.checkpoint)).backbone_hash()
    data = ShardSet([places[name] for name in variant.samples]).content_hash
    plain = variant.config({name: Path(name) for name in variant.samples})
    plain = plain.model_copy(update={"start": None})  # what it is counts, not its name
    made_of, made_with = plain.to_dict(), hashes(ingredients_of(_with(plain, tokenizers).objective))
    rest = {"made_with": made_with} if made_with else {}
    return json_hash({**made_of, "protocol": protocol(plain.objective), "data": data, **rest})


def _run_all(made: Mapping[str, PretrainConfig], out: Path, workers: Executor) -> None:
    if isinstance(workers, InlineExecutor):
        for name, config in made.items():
            pretrain(config, out / name, resume=True, label=f"pre-train {name}")
        return
    futures = [workers.submit(_pretrain, config, out / name) for name, config in made.items()]
    try:
        if futures:
            _watch(futures, made, out)
    finally:
        cancel(workers, futures)


@one_at_a_time
def _pretrain(config: PretrainConfig, out: Path) -> None:
    torch.set_num_threads(1)
    pretrain(config, out, resume=True, label=None)


def _watch(futures: Sequence[Future[None]], made: Mapping[str, PretrainConfig], out: Path) -> None:
    """Show the progress of trainings in other processes, read from their logs."""
    total = sum(config.optim.steps for config in made.values())
    seen = sum(_step(out / name, config) for name, config in made.items())
    with progress(total, f"pre-train {', '.join(made)}", done=seen) as ticker:
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                result_of(future)
            now = sum(_step(out / name, config) for name, config in made.items())
            if now > seen:
                ticker.advance(now - seen)
                seen = now


def _step(folder: Path, config: PretrainConfig) -> int:
    if (folder / CONFIG).exists():
        return config.optim.steps
    log = folder / "training" / "metrics.jsonl"
    if not log.exists():
        return 0
    lines = log.read_text(encoding="utf-8").splitlines()
    try:
        return int(json.loads(lines[-1])["step"]) if lines else 0
    except ValueError:  # the last line is being written just now
        return 0
