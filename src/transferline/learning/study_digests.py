"""What the parts of a study were made from, noted down before they are made."""

from __future__ import annotations

from pathlib import Path

from transferline.errors import DataError
from transferline.files import read_json, write_json
from transferline.learning.training_place import TRAINING
from transferline.models.stored import CONFIG

_DIGESTS = "digests.json"


def is_noted(out: Path, name: str) -> bool:
    """Whether it is noted what `out / name` was made from; not of one that somebody copied in.

    Raises:
        DataError: the notes are damaged.
    """
    return name in _noted(out)


def _noted(out: Path) -> dict[str, str]:
    file = out / _DIGESTS
    known = read_json(file) if file.exists() else {}
    if not isinstance(known, dict):
        raise DataError(f"{file}: is damaged. Remove it, and the checkpoints beside it.")
    return known


def is_current(out: Path, name: str, digest: str) -> bool:
    """Whether the checkpoint `out / name` is finished; notes down what it is made from.

    Raises:
        DataError: the directory holds one of other settings or data.
    """
    file = out / _DIGESTS
    known = _noted(out)
    if name in known and known[name] != digest and (out / name).exists():
        raise DataError(
            f"{out / name}: was made with other settings or data. Remove that directory to make "
            "it anew, or give the study another --out."
        )
    write_json(file, {**known, name: digest})
    # With the directory of its training beside it, it was killed before all was in place.
    return (out / name / CONFIG).exists() and not (out / name / TRAINING).exists()
