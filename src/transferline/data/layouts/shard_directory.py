"""The files of a shard directory, and how a new data set takes the place of an old one in it.

While `NAME/` holds a data set, its successor is made in `NAME/.next/`: the old one stays whole
until the new one is. Inside, not beside: `NAME` may be all that can be written to, or a volume of
its own that cannot be renamed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from transferline.data.layouts.shards import CARD
from transferline.errors import ConfigError
from transferline.files import LOCK, read_json

FILES = "files.jsonl"
CARD_PAGE = "card.md"
ORIGINS = "origins.npy"
"""Of a mixture: for every row, which line of its card's `files` it is from (see `row_origins`)."""

NEXT = ".next"

_OURS = re.compile(
    r"part-\d{5,}\.(arrow|json)|card\.(json|md)|origins\.npy|files\.jsonl"
    # What a killed process was writing.
    r"|\.(part-\d{5,}|card|origins|files)\.[0-9a-f]+\.partial\.(arrow|json|jsonl|md|npy)"
)
"""Whole names: `part-00000.snappy.parquet` of Spark and `card.tcl` of Delphes are the user's."""

_OF_NFS = ".nfs"
"""Beginning of the names that a network file system gives to open files without one."""


def check_ours(out: Path) -> None:
    """Refuse a directory with files of the user, which we must not delete.

    Raises:
        ConfigError: there are some.
    """
    for path in _all(out):
        if not _is_ours(path):
            name = path.relative_to(out)
            raise ConfigError(f"{out}: holds other files ({name}); choose a new directory.")


def _all(out: Path) -> Iterator[Path]:
    for path in out.iterdir():
        if path.name != LOCK and not path.name.startswith(_OF_NFS):
            yield from path.iterdir() if _is_next(path) else [path]


def _is_next(path: Path) -> bool:
    return path.name == NEXT and path.is_dir()


def _is_ours(path: Path) -> bool:
    return _OURS.fullmatch(path.name) is not None


def remove_ours(out: Path, but: Iterable[str] = ()) -> None:
    """Delete our files in a directory, except for those with the names `but`."""
    kept = set(but)
    for path in [path for path in out.iterdir() if path.name not in kept]:
        if _is_next(path):
            shutil.rmtree(path)
        elif _is_ours(path):
            path.unlink()


def is_replacing(out: Path) -> bool:
    """Tell whether `move_in` was interrupted: the old card is gone, the new one not yet there."""
    return (out / NEXT / CARD).exists() and not (out / CARD).exists()


def move_in(out: Path) -> None:
    """Put the whole data set in `NEXT` in the place of what `out` holds.

    The old card goes first and the new one comes last: in between, `out` is no data set, never
    a mixture of two. Killed, it can be repeated.
    """
    later = out / NEXT
    card = read_json(later / CARD)
    parts = [part["file"] for part in card["parts"]]
    names = [*parts, FILES, CARD_PAGE, *([ORIGINS] if card.get("composition") else [])]
    (out / CARD).unlink(missing_ok=True)
    remove_ours(out, but=[*names, NEXT])
    for name in [name for name in names if (later / name).exists()]:  # the others are here already
        (later / name).replace(out / name)
    (later / CARD).replace(out / CARD)
    shutil.rmtree(later)
