"""What lies where a checkpoint is to be made: nothing that somebody trained is lost unasked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from transferline.errors import ConfigError
from transferline.models.stored import CONFIG, Stored
from transferline.progress import say

TRAINING = "training"
"""Directory of a training that is not finished, in that of its checkpoint."""


def check_place(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to begin where something is, before anything is read.

    Raises:
        ConfigError: a training was stopped or is finished there, and neither `resume` nor
            `overwrite` was asked for.
    """
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
