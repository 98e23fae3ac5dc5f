"""Where work runs: in this process, in processes of this machine, or on a Dask cluster.

Every piece of work is a call that puts its result in place in one step, and that gives the same
result wherever and however often it runs. So a lost worker costs time, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from transferline.errors import ConfigError
from transferline.executors.calls import (
    CallLostError,
    WorkersLostError,
    cancel,
    each,
    one_at_a_time,
    result_of,
)
from transferline.executors.processes import InlineExecutor, ProcessPool
from transferline.executors.visit import ClusterError

__all__ = [
    "CallLostError",
    "ClusterError",
    "InlineExecutor",
    "WorkersLostError",
    "cancel",
    "each",
    "executor",
    "given_or_new",
    "one_at_a_time",
    "result_of",
    "size_of",
]


@contextmanager
def executor(
    jobs: int = 1, *, dask: str | None = None, shared: Sequence[Path] = ()
) -> Iterator[Executor]:
    """Yield an executor: this process, `jobs` processes of one thread each, or a Dask cluster.

    If the block ends by an exception, calls that have not begun are cancelled, and running ones
    stop at their next batch; else it ends when all calls have.

    Args:
        jobs: processes on this machine; 1 runs everything in this one.
        dask: address of a Dask scheduler, such as `tcp://host:8786`, or its scheduler file.
        shared: directories that the workers of a cluster must see under the same path.

    Raises:
        ConfigError: `dask` and `jobs` are both given; `distributed` is not installed, nobody
            answers, or a worker has another version or does not see `shared`.
    """
    if dask is not None:
        if jobs > 1:
            raise ConfigError("--jobs and --dask exclude each other: a cluster has its own size.")
        from transferline.executors.cluster import cluster  # noqa: PLC0415  # an extra

        with cluster(dask, shared) as pool:
            yield pool
    elif jobs <= 1:
        yield InlineExecutor()
    else:
        with ProcessPool(jobs) as pool:
            yield pool


@contextmanager
def given_or_new(given: Executor | None, jobs: int) -> Iterator[Executor]:
    """Yield the user's executor, which stays open, or a new one with `jobs` processes."""
    if given is not None:
        yield given
        return
    with executor(jobs) as pool:
        yield pool


def size_of(pool: Executor) -> int:
    """Return how many processes an executor has, 1 if it does not tell."""
    return int(getattr(pool, "size", 1))
