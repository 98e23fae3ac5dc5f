"""What lies where a checkpoint is to be made: nothing that somebody trained is lost unasked."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from transferline.errors import ConfigError
from transferline.files import may_be_json_of
from transferline.models.stored import CONFIG, Stored
from transferline.progress import say

TRAINING = "training"
"""Directory of a training that is not finished, in that of its checkpoint."""

RESOLVED = "resolved.json"
"""Settings of a training, for people."""

_OF_A_TRAINING = ("state", "metrics.jsonl", "metrics.csv", RESOLVED, "bad_batch.safetensors")
_BEGINNING = (RESOLVED, "state")  # one of them is there from the start
# By a process that was killed.
_HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]+\.(partial|old)(\.\w+)?")
_REPLACED = (
    "metrics.jsonl",
    "metrics.csv",
    RESOLVED,
    "model.safetensors",
    "seen.safetensors",
    "card.md",
    "generator",
)
"""What a finished training writes beside its configuration, or clears away."""


def check_place(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to begin where something is, before anything is read.

    Raises:
        ConfigError: a training was stopped or is finished there, and neither `resume` nor
            `overwrite` was asked for; or there are files of somebody else.
    """
    _check_foreign(out)
    if resume or overwrite:
        return
    if is_begun(out):
        raise ConfigError(
            f"{out}: holds a training that was stopped. --resume goes on, --overwrite begins anew."
        )
    if (out / CONFIG).exists():
        raise ConfigError(
            f"{out}: holds a finished one. --overwrite makes it anew; or choose another --out."
        )


def _check_foreign(out: Path) -> None:
    """Names such as `training` and `metrics.csv` are everybody's: see whether they are ours."""
    training = out / TRAINING
    names = sorted(path.name for path in training.iterdir()) if training.is_dir() else []
    inside = [name for name in names if not _HALF_WRITTEN.fullmatch(name)]
    others = [name for name in inside if name not in _OF_A_TRAINING]
    if others or (inside and not set(inside) & set(_BEGINNING)):
        name = (others or inside)[0]
        raise ConfigError(f"{training}: holds other files ({name}); choose another --out.")
    if inside or may_be_json_of(out / CONFIG, "format", "model"):
        return
    for name in (CONFIG, *_REPLACED):
        if (out / name).exists():
            raise ConfigError(
                f"{out / name}: is of no checkpoint, and would be replaced; choose another --out."
            )


def is_begun(out: Path) -> bool:
    """Tell whether there is a state to resume from."""
    return (out / TRAINING / "state").exists()


def is_finished(
    out: Path, kind: type[Stored[Any]], digest: str, *, resume: bool, overwrite: bool, told: bool
) -> bool:
    """Tell whether `resume` finds exactly this training finished.

    Args:
        out: directory of the checkpoint.
        kind: what is made there.
        digest: of all that decides the training.
        resume: go on with one that was stopped.
        overwrite: replace one of other settings.
        told: say that it is finished.

    Raises:
        ConfigError: `resume` finds one of other settings or data, and `overwrite` is off.
        DataError: what is there is damaged.
    """
    if not resume or is_begun(out) or not (out / CONFIG).exists():
        return False
    if kind.is_made_of(out, digest):
        if told:
            say(f"{out}: is finished; there is nothing to resume.")
        return True
    if overwrite:
        return False
    raise ConfigError(
        f"{out}: holds one of other settings, data or version. --overwrite makes it anew; or "
        "choose another --out."
    )


def forget_training(out: Path) -> None:
    """Remove the state of a training that another one replaces."""
    shutil.rmtree(out / TRAINING, ignore_errors=True)
