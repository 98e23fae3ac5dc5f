"""Remote bytes for uproot: near ranges joined, several requests at a time."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from uproot.source.chunk import Chunk, Source
from uproot.source.coalesce import CoalesceConfig, coalesce_requests
from uproot.source.futures import TrivialFuture

from transferline.data.readers.remote import RemoteFile

_CONNECTIONS = 6  # per file, as browsers do: more is held to be impolite


class RemoteSource(Source):  # type: ignore[misc]  # uproot has no types
    """An open `RemoteFile` in the place where uproot expects its own sources."""

    def __init__(self, name: str, *, remote: RemoteFile, **_options: Any) -> None:
        super().__init__()
        self._file_path, self.remote = name, remote
        self._executor = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="remote")
        self._closed = False

    def chunk(self, start: int, stop: int) -> Chunk:
        """Return one range; uproot's first one may reach beyond a short file."""
        data = self.remote.read(start, min(stop, self.num_bytes))
        return Chunk(self, start, stop, TrivialFuture(data))

    def chunks(
        self, ranges: list[tuple[int, int]], notifications: queue.Queue[Chunk]
    ) -> list[Chunk]:
        """Ask for several ranges; each is put into `notifications` when it is there."""
        config = CoalesceConfig(max_request_ranges=self.remote.ranges_per_request)
        chunks: list[Chunk] = coalesce_requests(
            ranges, self._submit, self, notifications, config=config
        )
        return chunks

    def _submit(self, ranges: list[tuple[int, int]]) -> Any:
        return self._executor.submit(self.remote.read_many, ranges)

    @property
    def num_bytes(self) -> int:
        """The size of the file."""
        return self.remote.status.size

    @property
    def closed(self) -> bool:
        """Tell whether the file is closed."""
        return self._closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._closed = True
        self.remote.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
