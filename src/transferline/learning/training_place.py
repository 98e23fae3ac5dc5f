"""What lies where a checkpoint is to be made: nothing that somebody trained is lost unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transferline.errors import ConfigError
from transferline.models.stored import CONFIG, Stored
from transferline.progress import say

TRAINING = "training"
"""Directory of a training that is not finished, in that of its checkpoint."""


def is_to_train(
    out: Path, kind: type[Stored[Any]], digest: str, *, resume: bool, overwrite: bool, told: bool
) -> bool:
    """Tell whether there is something to do: not where `resume` finds this training finished.

    Args:
        out: directory of the checkpoint.
        kind: what is made there.
        digest: of all that decides the training.
        resume: go on with one that was stopped.
        overwrite: make it anew, whatever is there.
        told: say that it is finished.

    Raises:
        ConfigError: something is there, and neither was asked for; or it is of other settings.
        DataError: what is there is damaged.
    """
    if overwrite:
        return True
    begun, finished = (out / TRAINING / "state").exists(), (out / CONFIG).exists()
    if not resume and begun:
        raise ConfigError(
            f"{out}: holds a training that was stopped. --resume goes on, --overwrite begins anew."
        )
    if begun or not finished:
        return True
    if resume and kind.is_made_of(out, digest):
        if told:
            say(f"{out}: is finished; there is nothing to resume.")
        return False
    which = "one of other settings or data" if resume else "a finished one"
    raise ConfigError(f"{out}: holds {which}. --overwrite makes it anew; or choose another --out.")
