"""What tells a file from a changed one, and noticing that it changed while it was read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from transferline.data.readers.addresses import is_url, public_name
from transferline.data.readers.patience import UnreachableError
from transferline.errors import DataError


@dataclass(frozen=True)
class FileStatus:
    """What tells a file from a changed one.

    Attributes:
        size: bytes.
        mtime_ns: time of the last change, None if the server does not tell.
        etag: the server's name of this content, None if it gives none.
    """

    size: int
    mtime_ns: int | None = None
    etag: str | None = None

    @property
    def stamp(self) -> list[Any]:
        """What differs when the file is another one."""
        told = [self.size, self.mtime_ns]
        return told if self.etag is None else [*told, self.etag]


class ChangedFileError(UnreachableError):
    """A file is not the one any more that was looked at before: that one cannot be had."""

    @classmethod
    def of(cls, path: str) -> Self:
        """Say it of a file; not `__init__`, to which another process gives the whole text."""
        return cls(
            f"{public_name(path)}: changed while it was being read. Repeat the command when "
            "nothing writes to it any more."
        )


_expected: ContextVar[tuple[str, FileStatus | None]] = ContextVar("expected", default=("", None))


def expected_status(path: str) -> FileStatus | None:
    """Return what the enclosing `unchanged` says about a remote file, None if nothing."""
    watched, then = _expected.get()
    return then if path == watched else None


def local_status(path: str) -> FileStatus | None:
    """Return size and time of a file on disk; None for all else, such as a directory or a URL."""
    if is_url(path):
        return None
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # of what is not there, the reader has more to say
        return None
    is_file = stat.S_ISREG(status.st_mode)
    return FileStatus(status.st_size, status.st_mtime_ns) if is_file else None


@contextmanager
def unchanged(path: str, then: FileStatus | None) -> Iterator[None]:
    """Make sure that the block reads the file that had the status `then`; None: any file.

    A local file is compared before and after the block, a remote one when `open_remote` opens it.

    Raises:
        ChangedFileError: it is another one. This replaces other errors about the file: one that
            is half written looks damaged.
    """
    token = _expected.set((path, then))
    try:
        _compare(path, then)
        yield
        _compare(path, then)
    except ChangedFileError:
        raise
    except DataError as error:
        _compare(path, then, error)
        raise
    finally:
        _expected.reset(token)


def _compare(path: str, then: FileStatus | None, cause: DataError | None = None) -> None:
    if then is not None and not is_url(path) and local_status(path) != then:
        raise ChangedFileError.of(path) from cause
