"""Les Houches event files (hep-ph/0609017): how many events a file holds."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO

from transferline.errors import DataError


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]  # GzipFile reads like IO[bytes]
    return path.open("rb")


def _count(path: Path) -> tuple[bool, int, int]:
    """Return whether it is LHE, and how many events begin and end."""
    begun = ended = 0
    known = False
    with _open(path) as lines:
        for line in lines:
            known = known or line.lstrip().startswith(b"<LesHouchesEvents")
            begun += line.lstrip().startswith((b"<event>", b"<event "))
            ended += line.lstrip().startswith(b"</event>")
    return known, begun, ended


def count_events(path: Path) -> int:
    """Return the number of events in an LHE file, plain or gzipped.

    Raises DataError if the file is missing or damaged, is not LHE, or ends within an event.
    """
    if not path.is_file():
        raise DataError(f"LHE file {path} does not exist.")
    try:
        known, begun, ended = _count(path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"LHE file {path} cannot be read, it is damaged ({error}). Copy it again."
        ) from error
    if not known:
        raise DataError(f"{path} is not an LHE file: it has no <LesHouchesEvents> element.")
    if begun != ended or begun == 0:
        raise DataError(
            f"LHE file {path} is empty or truncated: {begun} events begin, {ended} end."
        )
    return begun
