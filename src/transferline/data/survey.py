"""The first pass over the input: every file is opened once, and all problems come at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transferline.data.garbage import collected
from transferline.data.readers.addresses import is_url, public_names
from transferline.data.readers.base import Columns, Reader, Source, first_rows
from transferline.data.readers.patience import UnreachableError, counted_traffic
from transferline.data.readers.remote import status_of
from transferline.data.readers.status import FileStatus, local_status, unchanged
from transferline.errors import DataError, TransferlineError

DAMAGED, UNREACHABLE = "damaged", "unreachable"
_PARALLEL = 8  # files that are asked for at a time


@dataclass(frozen=True)
class Failure:
    """A file that turned out to be damaged or out of reach.

    Attributes:
        path: as it is stored.
        reason: the message of the error.
        status: `damaged`, or `unreachable`: it could not be had, or changed while it was read;
            the next attempt may succeed.
    """

    path: str
    reason: str
    status: str

    @classmethod
    def of(cls, path: str, error: DataError) -> Failure:
        """Say what an error means for its file."""
        status = UNREACHABLE if isinstance(error, UnreachableError) else DAMAGED
        return cls(path, str(error), status)


@dataclass(frozen=True)
class Look:
    """What one opening of a file found, and what it cost.

    Attributes:
        found: the description of the file, or what is wrong with it.
        seconds, retries: the cost.
        status: of the file as it was then, None if it is not known.
    """

    found: Source | Failure
    seconds: float
    retries: int
    status: FileStatus | None = None


@dataclass(frozen=True)
class Survey:
    """What the first pass found.

    Attributes:
        sources: usable files, in order, under the names they are stored by.
        addresses: stored name -> path or URL to open.
        failures: the others.
        looks: stored name -> what looking at the file took.
    """

    sources: list[Source]
    addresses: dict[str, str]
    failures: list[Failure]
    looks: dict[str, Look]

    @classmethod
    def of(cls, paths: Sequence[str], looks: Sequence[Look]) -> Survey:
        """Sort the looks at `paths`.

        Raises:
            DataError: collision data and simulation are mixed.
        """
        names = public_names(paths)
        named = {names[path]: look for path, look in zip(paths, looks, strict=True)}
        found = [replace(look.found, path=name) for name, look in named.items()]
        sources = [one for one in found if isinstance(one, Source)]
        _check_kinds(sources)
        failures = [one for one in found if isinstance(one, Failure)]
        return cls(sources, {names[path]: path for path in paths}, failures, named)

    def requiring_any(self, branches: Sequence[str], selection: str) -> Survey:
        """Count files that have none of `branches` as damaged: none of their events can pass."""
        blind = [s for s in self.sources if branches and set(branches) <= set(s.missing)]
        names = ", ".join(branches)
        reason = f"has none of the triggers of the selection '{selection}' ({names})."
        failures = [Failure(s.path, f"{s.path}: {reason}", DAMAGED) for s in blind]
        kept = [s for s in self.sources if s not in blind]
        return replace(self, sources=kept, failures=[*self.failures, *failures])

    def check(self, *, skip_bad: bool) -> None:
        """Raise one error that names all files that cannot be used.

        Raises:
            DataError: there are some (without `skip_bad`), or no usable file is left.
        """
        reasons = [failure.reason for failure in self.failures]
        if reasons and not skip_bad:
            raise DataError(_refusal(reasons, len(self.looks)))
        if not self.sources:
            raise nothing_usable(reasons)


def look(path: str, reader: Reader, columns: Columns) -> Look:
    """Open a file once; what is wrong with it is returned, not raised."""
    start = time.monotonic()
    status = local_status(path)  # before it is opened: what changes later shall be noticed
    with counted_traffic() as traffic, collected():
        found = _source(path, reader, columns, status)
        if is_url(path):
            status = _remote_status(path, reader, found)
    return Look(found, time.monotonic() - start, traffic.retries, status)


def _source(
    path: str, reader: Reader, columns: Columns, status: FileStatus | None
) -> Source | Failure:
    try:
        with unchanged(path, status):
            return reader.source(path, columns)
    except DataError as error:
        return Failure.of(path, error)


def _remote_status(path: str, reader: Reader, found: Source | Failure) -> FileStatus | None:
    if isinstance(found, Source):
        return None if found.size is None else FileStatus(found.size, found.mtime_ns, found.etag)
    try:
        return status_of(path, reader.patience) if found.status == DAMAGED else None
    except TransferlineError:  # we only tell what is wrong with the file already
        return None


def file_stamps(reader: Reader) -> dict[str, list[Any] | None]:
    """Return what tells the files of a reader from changed ones, without opening them.

    Returns:
        Stored name -> size, time of the last change, and the server's tag if it gives one; None
        for a file that cannot be had and that `skip_bad` leaves out.

    Raises:
        DataError: files cannot be had.
    """
    names = public_names(reader.paths())
    with ThreadPoolExecutor(_PARALLEL) as threads:
        found = list(threads.map(partial(_status, reader=reader), names))
    reasons = [str(one) for one in found if isinstance(one, UnreachableError)]
    if reasons and not reader.skip_bad:
        raise DataError(_refusal(reasons, len(names)))
    return {
        name: None if isinstance(one, UnreachableError) else one.stamp
        for name, one in zip(names.values(), found, strict=True)
    }


def _status(path: str, reader: Reader) -> FileStatus | UnreachableError:
    try:
        return status_of(path, reader.patience)
    except UnreachableError as error:
        return error


def nothing_usable(reasons: Sequence[str]) -> DataError:
    """Return the error about an input of which nothing is left."""
    return DataError("no usable file is left:\n  " + first_rows(reasons))


def _refusal(reasons: Sequence[str], n_files: int) -> str:
    if len(reasons) == 1:
        return f"{reasons[0]}\n--skip-bad (`skip_bad: true`) leaves such files out."
    return (
        f"{len(reasons)} of {n_files} files cannot be used:\n  {first_rows(reasons)}\n"
        "--skip-bad (`skip_bad: true`) leaves them out; files.jsonl then names them all."
    )


def _check_kinds(sources: Sequence[Source]) -> None:
    kinds: Mapping[bool, str] = {s.is_simulation: s.path for s in sources}
    if len(kinds) > 1:
        raise DataError(
            f"{kinds[True]} is simulation and {kinds[False]} collision data: "
            "prepare them as two samples."
        )
