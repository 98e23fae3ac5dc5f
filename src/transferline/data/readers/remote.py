"""Bytes of remote files, by range: any protocol of fsspec; HTTP has a file of its own.

`root://` needs the extra `xrootd`; `s3://` and others need the package that fsspec names.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import url_to_fs

from transferline.data.readers.addresses import is_url, public_name, without_secrets
from transferline.data.readers.patience import (
    Patience,
    TemporaryError,
    UnreachableError,
    current_traffic,
    persistently,
)
from transferline.data.readers.status import ChangedFileError, FileStatus, expected_status
from transferline.errors import ConfigError

T = TypeVar("T")
_LASTING = (  # of XRootD, which tells all failures by one exception
    "[3010]", "[3011]", "no such file", "permission denied", "not authorized", "auth failed",
    "invalid address",
)  # fmt: skip


class RemoteFile(ABC):
    """One remote file as ranges of bytes; blocking, safe to share between threads.

    Attributes:
        name: the address without secrets.
        status: as found on opening.
        ranges_per_request: how many ranges one request can ask for.
    """

    ranges_per_request = 1

    def __init__(self, path: str, patience: Patience) -> None:
        self.path, self.name, self.patience = path, public_name(path), patience
        self.status: FileStatus
        self._traffic = current_traffic()
        self._stopped = threading.Event()

    @abstractmethod
    def fetch(self, start: int, stop: int, into: bytearray) -> None:
        """Append the bytes `start` to `stop` (excluded) to `into`: one attempt, perhaps a part.

        Raises:
            TemporaryError: what arrived is kept; asking for the rest may help.
            UnreachableError: repeating does not help.
        """

    def is_still(self, then: FileStatus) -> bool:
        """Tell whether `then` may have been said of this content.

        Size and tag decide: copies of a file on several servers have times of their own.
        """
        now = self.status
        same_tag = None in (now.etag, then.etag) or now.etag == then.etag
        return now.size == then.size and same_tag

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `start` to `stop` (excluded); what a lost connection brought is kept.

        Raises:
            UnreachableError: the server failed for good.
        """
        got = bytearray()

        def attempt() -> None:
            before = len(got)
            self.fetch(start + before, stop, got)
            if len(got) != stop - start:
                came, asked = len(got) - before, stop - start - before
                raise TemporaryError(f"{came} of {asked} bytes came")

        self._persist(attempt)
        return bytes(got)

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several ranges."""
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        """Free the connections; waiting attempts give up. Closing again does nothing."""
        # uproot closes once more when its objects are collected, which may be in any thread.
        if not self._stopped.is_set():
            self._stopped.set()
            self._release()

    def _release(self) -> None:  # noqa: B027  most have nothing to free
        """Free what the protocol holds."""

    def _persist(self, attempt: Callable[[], T]) -> T:
        return persistently(attempt, self.name, self.patience, self._traffic, self._stopped)


class FsspecFile(RemoteFile):
    """A file on any file system of fsspec but HTTP."""

    ranges_per_request = 256  # XRootD reads many ranges in one request

    def __init__(self, path: str, patience: Patience) -> None:
        """Look the file up.

        Raises:
            ConfigError: the package behind the protocol is not installed.
            UnreachableError: there is no such file, or the server does not answer.
        """
        super().__init__(path, patience)
        self._fs, self._path = _file_system(path, patience)
        self.status = self._persist(self._look)

    def _look(self) -> FileStatus:
        info = self._try(self._fs.info, self._path)
        if info.get("type") == "directory":
            raise UnreachableError(f"{self.name}: is a directory, not a file.")
        return FileStatus(int(info["size"]), _mtime_ns(info), info.get("ETag"))

    def fetch(self, start: int, stop: int, into: bytearray) -> None:
        """Append one range; see `RemoteFile.fetch`."""
        into += self._try(self._fs.cat_file, self._path, start=start, end=stop)

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several ranges with one request; those that fail are asked for again."""
        starts, stops = [low for low, _ in ranges], [high for _, high in ranges]
        paths = [self._path] * len(ranges)
        try:
            answers = self._fs.cat_ranges(paths, starts, stops, on_error="return")
        except OSError:
            answers = [b""] * len(ranges)
        return [
            bytes(answer)
            if isinstance(answer, bytes | bytearray | memoryview) and len(answer) == stop - start
            else self.read(start, stop)
            for answer, (start, stop) in zip(answers, ranges, strict=True)
        ]

    def _try(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise self._lasting(error) from error
        except (OSError, TimeoutError) as error:
            if any(sign in str(error).lower() for sign in _LASTING):
                raise self._lasting(error) from error
            raise TemporaryError(self._text(error)) from error

    def _lasting(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"{self.name}: cannot be read: {self._text(error)}. Check the address and your "
            "access; to leave it out, --skip it."
        )

    def _text(self, error: Exception) -> str:
        text = without_secrets(without_secrets(str(error), self.path), self._path)
        return f"{type(error).__name__}: {' '.join(text.split())[:160]}"


def _file_system(path: str, patience: Patience) -> tuple[Any, str]:
    name, protocol = public_name(path), path.partition("://")[0]
    is_xrootd = protocol in ("root", "roots")
    # XRootD waits for ever by default; the others have settings of their own.
    options = {"timeout": max(1, round(patience.timeout_s))} if is_xrootd else {}
    try:
        fs, inner = url_to_fs(path, **options)
    except ImportError as error:
        if is_xrootd:
            text = f'{name}: {protocol}:// needs: pip install "transferline[xrootd]"'
        else:
            text = f"{name}: {protocol}:// needs a further package ({error})."
        raise ConfigError(text) from error
    except ValueError as error:
        text = without_secrets(str(error), path)
        raise ConfigError(f"{name}: '{protocol}://' cannot be read ({text}).") from error
    return fs, inner


def _mtime_ns(info: Any) -> int | None:
    found = next((info[k] for k in ("mtime", "LastModified", "created") if info.get(k)), None)
    if isinstance(found, datetime):
        found = found.timestamp()
    return None if found is None else round(float(found) * 1e9)


def open_remote(path: str, patience: Patience) -> RemoteFile:
    """Open a URL.

    Raises:
        ConfigError: the protocol is not known, or its package is not installed.
        UnreachableError: there is no such file, or the server does not answer.
        ChangedFileError: it is not the file that the enclosing `unchanged` expects.
    """
    file = _opened(path, patience)
    expected = expected_status(path)
    if expected is not None and not file.is_still(expected):
        file.close()
        raise ChangedFileError.of(path)
    return file


def _opened(path: str, patience: Patience) -> RemoteFile:
    if path.startswith(("http://", "https://")):
        from transferline.data.readers.web import WebFile  # noqa: PLC0415

        return WebFile(path, patience)
    return FsspecFile(path, patience)


def status_of(path: str, patience: Patience) -> FileStatus:
    """Return size, time and tag of a file, local or remote.

    Raises:
        ConfigError: the protocol is not known, or its package is not installed.
        UnreachableError: there is no such file, or the server does not answer.
    """
    if is_url(path):
        with closing(open_remote(path, patience)) as file:
            return file.status
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UnreachableError(f"{path}: cannot be opened ({error.strerror}).") from error
    return FileStatus(status.st_size, status.st_mtime_ns)
