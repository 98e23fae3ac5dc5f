"""The pre-trainings of a study: each made once, or copied from where it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor, Future, wait
from pathlib import Path

import torch

from transferline.data.readers.shards import ShardSet
from transferline.errors import DataError
from transferline.files import json_hash, write_json
from transferline.learning.executors import InlineExecutor
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.study_config import StudyConfig, Variant
from transferline.models.checkpoint import Checkpoint
from transferline.models.shipped import resolve_checkpoint
from transferline.progress import progress

_DIGESTS = "digests.json"
_POLL_SECONDS = 5.0


def prepare_checkpoints(
    config: StudyConfig, places: Mapping[str, Path], out: Path, workers: Executor
) -> dict[str, Path]:
    """Return the checkpoint directory of every variant, below `out`, making what is missing.

    An interrupted pre-training goes on where it stopped. One that is finished counts only if
    its settings and data are still those of the study.

    Raises:
        DataError: a directory holds the checkpoint of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    made: dict[str, PretrainConfig] = {}
    for name, variant in config.pretrain.items():
        if _is_current(name, variant, places, out):
            continue
        if variant.checkpoint is not None:
            Checkpoint.load(resolve_checkpoint(variant.checkpoint)).save(out / name)
        else:
            made[name] = variant.config([places[sample] for sample in variant.samples])
    _run_all(made, out, workers)
    return {name: out / name for name in config.pretrain}


def _is_current(name: str, variant: Variant, places: Mapping[str, Path], out: Path) -> bool:
    """Whether the variant is finished; notes down what it is made from before it starts."""
    digest = _digest(variant, places)
    file = out / _DIGESTS
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if name in known and known[name] != digest and (out / name).exists():
        raise DataError(
            f"{out / name}: was made with other settings or data. Remove that directory to make "
            "it anew, or give the study another --out."
        )
    write_json(file, {**known, name: digest})
    return (out / name / "config.json").exists()


def _digest(variant: Variant, places: Mapping[str, Path]) -> str:
    if variant.checkpoint is not None:
        return Checkpoint.load(resolve_checkpoint(variant.checkpoint)).backbone_hash()
    data = ShardSet([places[name] for name in variant.samples]).content_hash
    return json_hash({**variant.to_dict(), "data": data})


def _run_all(made: Mapping[str, PretrainConfig], out: Path, workers: Executor) -> None:
    if isinstance(workers, InlineExecutor):
        for name, config in made.items():
            pretrain(config, out / name, resume=True, label=f"pre-train {name}")
        return
    futures = {workers.submit(_pretrain, config, out / name): name for name, config in made.items()}
    if futures:
        _watch(futures, made, out)
    for future in futures:
        future.result()


def _pretrain(config: PretrainConfig, out: Path) -> None:
    torch.set_num_threads(1)
    pretrain(config, out, resume=True, label=None)


def _watch(
    futures: Mapping[Future[None], str], made: Mapping[str, PretrainConfig], out: Path
) -> None:
    """Show the progress of trainings in other processes, read from their logs."""
    total = sum(config.optim.steps for config in made.values())
    seen = 0
    with progress(total, f"pre-train {', '.join(made)}") as ticker:
        waiting = set(futures)
        while waiting:
            _, waiting = wait(waiting, timeout=_POLL_SECONDS)
            now = sum(_step(out / name, config) for name, config in made.items())
            if now > seen:
                ticker.advance(now - seen)
                seen = now


def _step(folder: Path, config: PretrainConfig) -> int:
    if (folder / "config.json").exists():
        return config.optim.steps
    log = folder / "training" / "metrics.jsonl"
    if not log.exists():
        return 0
    lines = log.read_text(encoding="utf-8").splitlines()
    try:
        return int(json.loads(lines[-1])["step"]) if lines else 0
    except ValueError:  # the last line is being written just now
        return 0
