"""Opening ROOT files so that every kind of damage gets one clear error naming the file."""

from __future__ import annotations

import difflib
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uproot

from transferline.data.readers.base import file_status
from transferline.errors import DataError, TransferlineError

PROVENANCE_KEY = "transferline"


@contextmanager
def open_root(path: str) -> Iterator[Any]:
    """Yield an open uproot file.

    Raises:
        DataError: the file is missing, empty, not ROOT, truncated, or fails while it is read.
    """
    size, _ = file_status(path)
    if size is not None:
        _check_header(path, size)
    try:
        with uproot.open(path) as file:
            yield file
    except TransferlineError:
        raise
    except Exception as error:  # uproot raises many kinds on damage: all mean "cannot be read"
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise DataError(
            f"{path}: cannot be read, it is damaged or unreachable "
            f"({type(error).__name__}: {first[:160]})."
        ) from error


def _check_header(path: str, size: int) -> None:
    """Compare the file's length with the end of file that its own header states (fEND)."""
    with Path(path).open("rb") as handle:
        head = handle.read(24)
    if head[:4] != b"root":
        raise DataError(f"{path}: is not a ROOT file (it does not begin with 'root').")
    if len(head) < 24:
        raise DataError(f"{path}: is truncated ({size} bytes, not even a whole header).")
    (version,) = struct.unpack(">i", head[4:8])
    (end,) = (
        struct.unpack(">q", head[12:20])
        if version >= 1_000_000
        else struct.unpack(">i", head[12:16])
    )
    if size < end:
        raise DataError(
            f"{path}: is truncated, {size} of {end} bytes are there. Copy or generate it again."
        )


def open_tree(file: Any, path: str, name: str) -> Any:
    """Return the tree `name`; raises DataError that lists the trees the file has instead."""
    classes = file.classnames(cycle=False)
    kind = classes.get(name, "")
    if kind != "TTree" and "RNTuple" not in kind:
        raise DataError(f"{path}: has no tree '{name}'; it holds {describe_keys(classes)}.")
    return file[name]


def describe_keys(classes: dict[str, str]) -> str:
    """Return "'name' (class), ..." of the objects in a file."""
    rows = [f"'{name}' ({kind})" for name, kind in classes.items()]
    return ", ".join(rows[:8]) + (" ..." if len(rows) > 8 else "") if rows else "nothing"


def missing_branches(
    path: str, lacking: Sequence[tuple[Sequence[str], str]], branches: Iterable[str]
) -> str:
    """Return the text of the error about required branches that are not there.

    Args:
        path: the file.
        lacking: names that one branch can have, and what it is needed for.
        branches: those that the file has; the nearest are suggested.
    """
    known = list(branches)
    rows = []
    for names, what in lacking:
        near = [match for name in names for match in difflib.get_close_matches(name, known, 3, 0.5)]
        hint = f" Nearest: {', '.join(dict.fromkeys(near))}." if near else ""
        rows.append(f"no branch {' or '.join(names)} ({what}).{hint}")
    return f"{path}: tree 'Events' has " + "\n  ".join(rows)


def read_provenance(file: Any, path: str) -> dict[str, Any] | None:
    """Return the JSON object that our writers leave in the file, or None."""
    if PROVENANCE_KEY not in file.keys(cycle=False):
        return None
    try:
        value = json.loads(str(file[PROVENANCE_KEY]))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: its '{PROVENANCE_KEY}' string is no JSON ({error}).") from error
    return value if isinstance(value, dict) else None
