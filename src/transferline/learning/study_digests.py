"""What the parts of a study were made from, noted down before they are made."""

from __future__ import annotations

from pathlib import Path

from transferline.errors import DataError
from transferline.files import read_json, write_json
from transferline.learning.training_place import TRAINING, is_begun
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
        DataError: the directory holds one of other settings or data, or the state of its training.
    """
    file, place = out / _DIGESTS, out / name
    known = _noted(out)
    # What failed before its first step left a directory, and nothing that could be lost.
    made = (place / CONFIG).exists() or is_begun(place)
    if made and known.get(name, digest) != digest:
        raise DataError(
            f"{place}: was made with other settings or data. Remove that directory to make "
            "it anew, or give the study another --out."
        )
    write_json(file, {**known, name: digest})
    # With the directory of its training beside it, it was killed before all was in place.
    return (place / CONFIG).exists() and not (place / TRAINING).exists()
