"""Find the trained models behind what the user names, and their classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transferline.data.folds import Fold
from transferline.errors import ConfigError, DataError
from transferline.learning.folds import FOLDS, FoldSet
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHead
from transferline.models.shipped import resolve_checkpoint


def trained_checkpoint(place: Path | str) -> Checkpoint:
    """Load the model of a run (`DIR/checkpoint`) or of a checkpoint directory; it has a head.

    Raises:
        ConfigError: the checkpoint is a backbone without a head: it answers no question yet; or
            the head is one of events of jets, which have no scores here; or the run has one
            model per fold.
        DataError: it is missing or damaged.
    """
    return _with_head(Checkpoint.load(checkpoint_directory(place)), place)


def checkpoint_directory(place: Path | str) -> Path:
    """Return the directory of the checkpoint that a run holds, or that `place` itself is.

    Raises:
        ConfigError: the run holds several, one per fold, or none.
    """
    directory = resolve_checkpoint(place)
    if (directory / FOLDS).exists():
        raise ConfigError(f"{place}: holds one model per fold; name one, {place}/fold-0.")
    if (directory / "fold-0").is_dir():
        raise ConfigError(f"{place}: its folds are not finished. Repeat the command that makes it.")
    inner = directory / "checkpoint"
    if inner.is_dir():
        return inner
    if (directory / "record.json").exists():
        raise ConfigError(f"{place}: keeps no network: boosted trees are measured, not kept.")
    return directory


@dataclass(frozen=True)
class TrainedModels:
    """One model, or one for the events of each fold.

    Attributes:
        checkpoints: in the order of the folds.
        folds: empty for one model.
        names: where each came from.
    """

    checkpoints: list[Checkpoint]
    folds: list[Fold]
    names: list[str]


def trained_models(place: Path | str, *, need_folds: bool = False) -> TrainedModels:
    """Load the model of a run, or those of all folds where it has folds.

    Raises:
        ConfigError: a model has no head, or one of events of jets; or there are no folds where
            they are needed.
        DataError: one is missing, damaged, or not the one of its fold; or selections differ.
    """
    directory = resolve_checkpoint(place)
    known = FoldSet.read(directory)
    if known is None:
        if need_folds:
            raise ConfigError(
                f"{place}: has no folds ({FOLDS} is missing). Train them: "
                "transferline transfer CHECKPOINT task.yaml ... --folds 5 --out RUN"
            )
        return TrainedModels([trained_checkpoint(place)], [], [str(place)])
    found = [_with_head(checkpoint, place) for checkpoint in known.load(directory)]
    names = [f"{place}/{name}" for name in known.models]
    for name, checkpoint in zip(names, found, strict=True):
        if checkpoint.selection != found[0].selection or checkpoint.recipe != found[0].recipe:
            raise DataError(f"{name}: has another selection or architecture than {names[0]}.")
    return TrainedModels(found, known.folds, names)


def _with_head(checkpoint: Checkpoint, place: Path | str) -> Checkpoint:
    if checkpoint.recipe.head is None:
        raise ConfigError(
            f"{place}: is a backbone without a head. Train it on a task first: "
            f"transferline transfer {place} task.yaml --mode finetuned --n-train 1000 --out RUN"
        )
    if isinstance(checkpoint.recipe.head, EventHead):
        raise ConfigError(
            f"{place}: its head takes events of jets of constituents, and scores are given to "
            "single events or single jets. Its backbone can be exported, the embedding of each "
            f"jet: transferline export onnx {place} --embedding --events SHARDS -o FILE.onnx"
        )
    return checkpoint


def signal_class(checkpoint: Checkpoint) -> int:
    """Return which of two outputs `score` is the probability of: the one that is no background.

    Where the task names no class as background it is the second.
    """
    background = checkpoint.provenance.get("task", {}).get("background")
    return 0 if class_names(checkpoint)[1:] == [background] else 1


def class_names(checkpoint: Checkpoint) -> list[str]:
    """Return the names of the model's outputs; numbers where the checkpoint tells none."""
    n = checkpoint.recipe.n_outputs or 0
    names: list[str] = checkpoint.provenance.get("classes") or []
    return names if len(names) == n else [str(i) for i in range(n)]
