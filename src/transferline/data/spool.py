"""Columns of unknown length that wait on disk, not in memory, until they are whole."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from transferline.files import naming


class Spool:
    """Named columns, appended to piece by piece and read back as one array each.

    They lie in files of `directory` that have no name, so that even a killed process leaves
    nothing there. Arrays are views of these files: pages the system can drop, not memory of the
    process.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, IO[bytes]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files; arrays that are still in use stay readable."""
        with naming(self._directory):
            self._open.close()

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Append to a column."""
        if name not in self._files:
            file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115  closed by _open
            self._files[name] = self._open.enter_context(file)
        with naming(self._directory):
            self._files[name].write(np.ascontiguousarray(values).data)

    def column(self, name: str, dtype: Any) -> NDArray[Any]:
        """Return a whole column, `[n]`; changes of it stay in its file."""
        file = self._files.get(name)
        if file is None or not file.tell():
            return np.empty(0, dtype)  # an empty file cannot be mapped
        with naming(self._directory):
            file.flush()
        return np.asarray(np.memmap(file, dtype, "r+"))
