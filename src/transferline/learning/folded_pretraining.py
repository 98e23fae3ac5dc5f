"""pretrain_folds(): K backbones, number k pre-trained without the events of fold k."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from transferline.data.folds import Fold
from transferline.errors import ConfigError
from transferline.learning.distributed import joined
from transferline.learning.folds import FOLDS, FoldSet, every_fold
from transferline.learning.ingredients import hashes, ingredients_of, seen_by
from transferline.learning.pretraining import PretrainConfig, pretrain, protocol
from transferline.learning.training_place import TRAINING
from transferline.models.checkpoint import Checkpoint
from transferline.models.seen import Level, by_origin
from transferline.models.stored import CONFIG
from transferline.provenance import run_facts


def pretrain_folds(
    config: PretrainConfig,
    folds: int,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    label: str | None = "pre-train",
) -> Path:
    """Pre-train one backbone per fold into `out/fold-<k>`; return `out`.

    Neither weights nor validation nor the constants of Features of backbone k see an event of
    fold k. Finished folds are kept when the call is repeated; `resume` goes on inside the one
    that was interrupted, `overwrite` begins it anew.

    Raises:
        ConfigError: `out` holds folds of other settings or data, fewer than two are wanted, or they
            should begin with weights, or take a tokenizer, that have seen every fold.
        DataError, NumericalError, StopRequestedError: see `pretrain`.
    """
    if config.start is not None:
        raise ConfigError(
            f"start: {config.start} may have seen the events that a fold leaves out. Pre-train "
            "folds without it."
        )
    if (out / CONFIG).exists() or (out / TRAINING).exists():
        raise ConfigError(f"{out}: holds a pre-training without folds. Choose another --out.")
    parts = every_fold(folds)
    _check_tokenizers(config)
    with joined() as world:
        data = [card.content_hash for card in config.data.open().cards]
        todo = [fold for fold in parts if not _is_finished(config, fold, data, out)]
        world.wait()  # all have looked before the first one writes
        for fold in todo:
            title = f"{label}, {fold}" if label else None
            pretrain(
                config,
                out / fold.name,
                resume=resume,
                overwrite=overwrite,
                fold=fold,
                label=title,
            )
        if world.main:
            facts = {"config": config.to_dict(), "data": data, **run_facts()}
            FoldSet.of(out, folds, [fold.name for fold in parts], facts).write(out)
        world.wait()
    return out


def _check_tokenizers(config: PretrainConfig) -> None:
    """Refuse tokenizers that were made from the events that folds leave out."""
    made = ingredients_of(config.objective)
    if not made:
        return
    shards = config.data.open()
    for name, item in made.items():
        seen = seen_by({name: item})
        known = 0
        for _, origin, rows in by_origin(shards, np.arange(len(shards))):
            level = seen.level("pretraining", np.asarray(shards.hash)[rows], origin)
            known += int((level == Level.YES).sum())
        if known:
            raise ConfigError(
                f"objective.{name}: {item.place} was made from {known} of these events, and so of "
                "every fold. Take a tokenizer of other events."
            )


def _is_finished(config: PretrainConfig, fold: Fold, data: list[str], out: Path) -> bool:
    known = FoldSet.read(out)
    if known is not None and known.n != fold.of:
        raise ConfigError(f"{out}: holds {known.n} folds, not {fold.of}. Choose another --out.")
    place = out / fold.name
    if not (place / CONFIG).exists() or (place / TRAINING).exists():
        return False
    made = Checkpoint.load(place).provenance
    contents = [item.get("content_hash") for item in made.get("data", [])]
    tokenizers = {name: item.get("sha256") for name, item in made.get("ingredients", {}).items()}
    found = (
        made.get("protocol"),
        made.get("config_sha256"),
        made.get("fold"),
        contents,
        tokenizers,
    )
    wanted = hashes(ingredients_of(config.objective))
    if found != (protocol(config.objective), config.digest(), asdict(fold), data, wanted):
        raise ConfigError(
            f"{place}: was made with other settings or data. Choose another --out, or remove "
            f"{out / FOLDS} and the folds to make them anew."
        )
    return True
