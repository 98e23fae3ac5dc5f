"""What a worker of a cluster does with a call: fit in with the client first, then do it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from transferline.errors import ConfigError
from transferline.executors.calls import TURN
from transferline.provenance import package_versions
from transferline.runtime import keep_freed_memory
from transferline.stopping import stop_when

_T = TypeVar("_T")

MUST_AGREE = ("transferline", "pythia8mc", "fastjet")
"""Packages whose versions stand for the result."""

_SHARED_SECONDS = 10.0  # network file systems show a new file late


class ClusterError(ConfigError):
    """A worker of the cluster cannot do the work as this process would."""


@dataclass(frozen=True)
class Visit:
    """What a worker must know to do calls just as the client would.

    Attributes:
        secret: content of the tokens.
        folder: the client's working directory, where relative paths start.
        tokens: files that a worker must see.
        versions: the client's packages.
    """

    secret: str
    folder: str
    tokens: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]

    def __call__(
        self, function: Callable[..., _T], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> _T:
        """Do one call, on the worker."""
        from threadpoolctl import threadpool_limits  # noqa: PLC0415  # comes with scikit-learn

        with TURN:
            self.check()
            with _folder(self.folder), stop_when(_Cancelled()), threadpool_limits(1):
                return function(*args, **kwargs)

    def check(self) -> dict[str, str]:
        """Raise if this process does not fit; return packages with another version."""
        return _check(self)


@cache
def _check(visit: Visit) -> dict[str, str]:
    keep_freed_memory()
    here = f"the Dask worker on {socket.gethostname()}"
    wanted = dict(visit.versions)
    other = {
        name: found
        for name, found in package_versions(tuple(wanted)).items()
        if found != wanted[name]
    }
    for name in MUST_AGREE:
        if name in other:
            raise ClusterError(
                f"{here} has {name} {other[name]}, this process {wanted[name]}: results would "
                "not be what their provenance says. Give both the same environment."
            )
    for token in visit.tokens:
        if not _sees(Path(token), visit.secret):
            raise ClusterError(
                f"{here} does not see what this process writes to {Path(token).parent}: output "
                "and TRANSFERLINE_CACHE must be on a file system that all machines share, under "
                "the same path."
            )
    return other


def _sees(token: Path, secret: str) -> bool:
    deadline = time.monotonic() + _SHARED_SECONDS
    while True:
        with contextlib.suppress(OSError):
            return token.read_text(encoding="utf-8") == secret
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)


def _folder(path: str) -> contextlib.AbstractContextManager[None]:
    # Where the folder is not shared, absolute paths must do.
    return contextlib.chdir(path) if os.access(path, os.X_OK) else contextlib.nullcontext()


class _Cancelled:
    """Set once the client has cancelled the task of this thread, or has gone away."""

    def __init__(self) -> None:
        from distributed import get_worker  # noqa: PLC0415

        worker = get_worker()
        self._tasks, self._key = worker.state.tasks, worker.get_current_task()

    def is_set(self) -> bool:
        """Dask cannot end a thread: it only says that nobody waits for it any more."""
        task = self._tasks.get(self._key)
        return task is not None and task.state == "cancelled"
