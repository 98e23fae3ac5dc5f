"""Les Houches event files (hep-ph/0609017): how many events one holds, and its path for Pythia."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from transferline.errors import DataError

_TO_UNWEIGHT = (1, 2)  # IDWTUP, also with a minus: signed weights


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]  # GzipFile reads like IO[bytes]
    return path.open("rb")


def _count(path: Path) -> tuple[bool, int, int, int | None]:
    """Return whether it is LHE, how many events begin and end, and the strategy of weights."""
    begun = ended = 0
    known = False
    strategy: int | None = None
    with _open(path) as lines:
        for line in lines:
            if line.lstrip().startswith(b"<init"):
                strategy = _strategy(next(lines, b""))
            known = known or line.lstrip().startswith(b"<LesHouchesEvents")
            begun += line.lstrip().startswith((b"<event>", b"<event "))
            ended += line.lstrip().startswith(b"</event>")
    return known, begun, ended, strategy


def _strategy(line: bytes) -> int | None:
    """IDWTUP, the ninth number of the run; None of what is none."""
    try:
        return int(line.split()[8])
    except (IndexError, ValueError):
        return None


def count_events(path: Path) -> int:
    """Return the number of events in an LHE file, plain or gzipped.

    Raises DataError if the file is missing or damaged, is not LHE, or ends within an event; or if
    its events still have to be unweighted: Pythia would read several for one that it makes, and
    blocks of events, each of which begins at its own place in the file, would share some.
    """
    if not path.is_file():
        raise DataError(f"LHE file {path} does not exist.")
    try:
        known, begun, ended, strategy = _count(path)
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
    if strategy is not None and abs(strategy) in _TO_UNWEIGHT:
        raise DataError(
            f"LHE file {path}: its events are weighted (IDWTUP = {strategy}), for Pythia to throw "
            "some away. Unweight it with the program that wrote it, or let that write IDWTUP = "
            "3 or -4, which keep every event with its weight."
        )
    return begun


_PLAIN = re.compile(r"[\w./+,:@%~-]+")


@contextmanager
def plain_path(path: Path | None) -> Iterator[Path | None]:
    """Give a path that Pythia's settings can hold, which exists until Pythia has opened it.

    A setting ends at white space, and some signs mean something else there: then it is a link.

    >>> with plain_path(Path("/data/dy.lhe")) as path:
    ...     str(path)
    '/data/dy.lhe'
    """
    if path is None or _PLAIN.fullmatch(str(path)):
        yield path
        return
    with TemporaryDirectory(prefix="transferline-lhe-") as folder:
        # Pythia goes by the ending.
        link = Path(folder) / ("events.lhe.gz" if path.suffix == ".gz" else "events.lhe")
        link.symlink_to(path.resolve())
        yield link
