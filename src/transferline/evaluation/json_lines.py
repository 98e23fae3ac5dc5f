"""Files of JSON lines that several processes append to, and that survive a killed writer."""

from __future__ import annotations

import errno
import fcntl
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transferline.errors import DataError

# Some cluster file systems offer no locks; the single O_APPEND write then stands alone.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def _locked(path: Path, flags: int, lock: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o644)
    try:
        try:
            fcntl.flock(descriptor, lock)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield descriptor
    finally:
        os.close(descriptor)


def append_line(path: Path, text: str, complete: Callable[[str], bool]) -> None:
    """Append one line in a single write under a lock, and fsync it.

    A rest without a line end at the end of the file is what a killed writer left: it is cut off,
    unless `complete` recognises it as whole and only the line end is missing.

    Raises:
        DataError: the file cannot be written; it is left as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as descriptor:
            _mend(path, descriptor, complete)
            _write_whole(descriptor, text.encode() + b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}).") from error


def _write_whole(descriptor: int, data: bytes) -> None:
    size = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _mend(path: Path, descriptor: int, complete: Callable[[str], bool]) -> None:
    data = _read_all(descriptor)
    start = data.rfind(b"\n") + 1
    rest = data[start:]
    if not rest:
        return
    if complete(rest.decode(errors="replace")):
        os.write(descriptor, b"\n")
        return
    warnings.warn(f"{path}: a half-written last line is cut off.", RuntimeWarning, stacklevel=4)
    os.ftruncate(descriptor, start)


def _read_all(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as handle:
        return handle.read()


def read_lines(path: Path, complete: Callable[[str], bool]) -> list[tuple[int, str]]:
    """Return `(line number, text)` of every line that is not empty.

    A last line without a line end is dropped with a warning unless `complete` recognises it.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8 text.
    """
    try:
        with _locked(path, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
            data = _read_all(descriptor)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    *whole, rest = data.split(b"\n")
    lines = [_decode(line, f"{path}:{number}") for number, line in enumerate(whole, start=1)]
    if rest and complete(rest.decode(errors="replace")):
        lines.append(rest.decode())
    elif rest:
        warnings.warn(
            f"{path}:{len(lines) + 1}: a half-written last line is dropped.",
            RuntimeWarning,
            stacklevel=3,
        )
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _decode(line: bytes, place: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: is not UTF-8 text.") from error
