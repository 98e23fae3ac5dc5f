"""Files on web servers, read by ranges of bytes that are checked one by one."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import wait
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import IO, Any, TypeVar

import aiohttp
import yarl
from fsspec.asyn import get_loop, sync

from transferline.data.readers.patience import (
    GLANCE_S,
    Patience,
    TemporaryError,
    UnreachableError,
)
from transferline.data.readers.remote import RemoteFile
from transferline.data.readers.status import FileStatus
from transferline.stopping import check_stop, stop_requested

T = TypeVar("T")

_HEAD = 1024  # bytes that the first request asks for: the file's header, and uproot's first read
_PIECE = 1 << 16
_ADVICE = {
    401: "log in: the address needs a key or a token",
    403: "access is refused: has a signed link expired, or does it need a token?",
    404: "there is no such file: check the address",
    410: "the file was removed: check the address",
}
_BUSY = (408, 425, 429)


class WholeDownloadWarning(UserWarning):
    """A server cannot send parts of a file, so whole files are downloaded."""


class WebFile(RemoteFile):
    """One file behind `http://` or `https://`.

    Every answer is compared with what was asked for: the range, its length, and that the file is
    still the one that was opened. A server without ranges gets one request for the whole file,
    kept in a temporary file while this object is open.
    """

    def __init__(self, path: str, patience: Patience) -> None:
        """Ask for the first bytes, which tells size, time and tag too.

        Raises:
            UnreachableError: refused, not there, or no answer after all retries.
        """
        super().__init__(path, patience)
        self._whole: IO[bytes] | None = None
        self._head = b""
        self._has_ranges = True
        self._download_lock = threading.Lock()
        # A signed link must arrive letter by letter as it was signed.
        self._url = yarl.URL(path, encoded="?" in path)
        self._loop = get_loop()
        self._session = self._run(self._start_session)
        try:
            self._persist(lambda: self._run(self._probe))
        except BaseException:
            self.close()
            raise

    def fetch(self, start: int, stop: int, into: bytearray) -> None:
        """Append one range; see `RemoteFile.fetch`."""
        if stop <= len(self._head):
            into += self._head[start:stop]
        elif self._has_ranges:
            self._run(self._fetch, start, stop, into)
        else:
            whole = self._downloaded()
            into += os.pread(whole.fileno(), stop - start, start)

    def _release(self) -> None:
        sync(self._loop, self._session.close)
        if self._whole is not None:
            self._whole.close()

    def _run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine in fsspec's thread; give up if nobody waits for it any more."""
        future = asyncio.run_coroutine_threadsafe(function(*args), self._loop)
        while not wait([future], GLANCE_S).done:
            if stop_requested():
                future.cancel()
                check_stop()
            if self._stopped.is_set():
                # A request in flight does not always notice that its session was closed.
                future.cancel()
                raise TemporaryError("the file was closed")
        return future.result()

    async def _start_session(self) -> aiohttp.ClientSession:
        silence = self.patience.timeout_s
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=silence, sock_read=silence)
        # Compressed on the way, ranges would count other bytes than those of the file.
        return aiohttp.ClientSession(
            timeout=timeout,
            trust_env=True,
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        )

    @asynccontextmanager
    async def _get(self, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield an answer with a good status; all failures become one of two kinds."""
        try:
            async with self._session.get(self._url, headers=headers) as answer:
                self._check_status(answer)
                yield answer
        except (aiohttp.InvalidURL, aiohttp.TooManyRedirects) as error:
            raise self._lasting(f"the address does not work, {type(error).__name__}") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise self._lasting("the server's certificate is not trusted") from error
        except TimeoutError as error:
            text = f"no answer within {self.patience.timeout_s:g} s"
            raise TemporaryError(text) from error
        except (aiohttp.ClientError, OSError) as error:
            # Their texts repeat the address with its query: the kind must do.
            raise TemporaryError(f"connection lost, {type(error).__name__}") from error

    def _check_status(self, answer: aiohttp.ClientResponse) -> None:
        status = answer.status
        if status in (200, 206):
            return
        text = f"HTTP {status} {answer.reason or ''}".strip()
        if status >= 500 or status in _BUSY:
            raise TemporaryError(text, _retry_after(answer))
        if status == 416:
            raise self._lasting(f"{text}, the file is empty or became shorter")
        raise self._lasting(f"{text}, {_ADVICE.get(status, 'check the address')}")

    def _lasting(self, reason: str) -> UnreachableError:
        text = f"{self.name}: cannot be read: {reason}. To leave it out, --skip it."
        return UnreachableError(text)

    async def _probe(self) -> None:
        async with self._get(Range=f"bytes=0-{_HEAD - 1}") as answer:
            self._has_ranges = answer.status == 206
            if self._has_ranges:
                _, _, size = self._range_of(answer)
                self._head = await answer.read()
                if len(self._head) != min(_HEAD, size):
                    raise TemporaryError(f"{len(self._head)} of {min(_HEAD, size)} bytes came")
                self.status = _status(answer, size)
            elif answer.content_length is None:
                raise self._lasting("the server sends neither ranges nor a length; copy the file")
            else:
                self.status = _status(answer, answer.content_length)

    async def _fetch(self, start: int, stop: int, into: bytearray) -> None:
        async with self._get(Range=f"bytes={start}-{stop - 1}") as answer:
            if answer.status != 206:
                raise TemporaryError("the server sent the whole file instead of a range")
            first, _, size = self._range_of(answer)
            self._check_unchanged(_status(answer, size))
            if first != start:
                raise TemporaryError(f"the server sent byte {first} instead of byte {start}")
            room = stop - start
            async for piece in answer.content.iter_chunked(_PIECE):
                into += piece[:room]
                room = max(room - len(piece), 0)

    def _range_of(self, answer: aiohttp.ClientResponse) -> tuple[int, int, int]:
        text = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", text.strip())
        if found is None:
            raise self._lasting(f"the server answers a range by Content-Range '{text}'")
        first, last, size = map(int, found.groups())
        return first, last, size

    def is_still(self, then: FileStatus) -> bool:
        """Tell whether `then` may have been said of this content."""
        return _is_same(then, self.status)

    def _check_unchanged(self, now: FileStatus) -> None:
        if not _is_same(self.status, now):
            raise self._lasting("the file changed on the server while it was read: start again")

    def _downloaded(self) -> IO[bytes]:
        with self._download_lock:
            if self._whole is None:
                warnings.warn(
                    f"{self.name.split('/')[2]} sends no ranges of bytes: its files are "
                    "downloaded as a whole whenever they are opened. Copy them first.",
                    WholeDownloadWarning,
                    stacklevel=2,
                )
                self._whole = self._download_all()
            return self._whole

    def _download_all(self) -> IO[bytes]:
        target = tempfile.TemporaryFile()  # noqa: SIM115  close() closes it
        try:
            self._persist(lambda: self._run(self._download, target))
        except BaseException:
            target.close()
            raise
        return target

    async def _download(self, target: IO[bytes]) -> None:
        target.seek(0)
        target.truncate()
        async with self._get() as answer:
            async for piece in answer.content.iter_chunked(_PIECE):
                target.write(piece)
        target.flush()
        if target.tell() != self.status.size:
            raise TemporaryError(f"{target.tell()} of {self.status.size} bytes came")


def _is_same(then: FileStatus, now: FileStatus) -> bool:
    # Mirrors give different tags to equal files: the times must differ as well.
    told = [
        before == after
        for before, after in ((then.etag, now.etag), (then.mtime_ns, now.mtime_ns))
        if before is not None and after is not None
    ]
    return now.size == then.size and (not told or any(told))


def _status(answer: aiohttp.ClientResponse, size: int) -> FileStatus:
    return FileStatus(size, _last_modified(answer), answer.headers.get("ETag"))


def _last_modified(answer: aiohttp.ClientResponse) -> int | None:
    try:
        changed = parsedate_to_datetime(answer.headers["Last-Modified"])
    except (KeyError, ValueError):
        return None
    return int(changed.timestamp()) * 10**9


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None  # the other form, a date, is rare
