"""A Dask cluster as an executor: `distributed` gives the calls of a dead worker to others."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from transferline.errors import ConfigError
from transferline.executors.visit import MUST_AGREE, ClusterError, Visit
from transferline.files import read_json
from transferline.provenance import package_versions

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CONNECT_SECONDS = 15
_COMPARED = (*MUST_AGREE, "torch", "numpy", "awkward", "uproot", "scikit-learn")


class ClusterWarning(UserWarning):
    """The cluster works, but not as well as it could or not quite like this machine."""


@contextlib.contextmanager
def cluster(address: str, shared: Sequence[Path]) -> Iterator[ClusterExecutor]:
    """Yield an executor on the cluster of a scheduler; see `transferline.executors.executor`.

    Raises:
        ConfigError: no `distributed`, no answer, or workers that do not fit.
    """
    secret = uuid.uuid4().hex
    with (
        contextlib.closing(_connect(address)) as client,
        _quiet(),  # after the import of distributed, which sets levels
        _tokens(shared, secret) as tokens,
    ):
        visit = Visit(secret, str(Path.cwd()), tokens, tuple(package_versions(_COMPARED).items()))
        _meet_workers(client, address, visit)
        yield ClusterExecutor(client, visit)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client from logging tracebacks of what the user is told in one sentence."""
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _connect(address: str) -> Any:
    try:
        import distributed  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ConfigError("--dask needs: pip install 'transferline[dask]'") from error
    client: Any = distributed.Client
    found = _address_in(Path(address)) if Path(address).is_file() else address
    # distributed hangs over an address that it cannot read.
    if not re.search(r"[^:/]:[0-9]+$", found):
        raise ConfigError(
            f"--dask {address}: is neither an address (tcp://HOST:PORT) nor a scheduler file."
        )
    try:
        return client(found, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--dask {address}: no scheduler answers ({error}). Is `dask scheduler` running there, "
            "and can this machine reach it?"
        ) from error


def _address_in(scheduler_file: Path) -> str:
    content = read_json(scheduler_file)
    return str(content.get("address", "")) if isinstance(content, dict) else ""


@contextlib.contextmanager
def _tokens(shared: Sequence[Path], secret: str) -> Iterator[tuple[str, ...]]:
    """Leave a file in every directory that workers must see, as long as the block runs."""
    tokens = [folder.resolve() / f".transferline-{secret[:12]}.token" for folder in shared]
    try:
        for token in tokens:
            token.parent.mkdir(parents=True, exist_ok=True)
            token.write_text(secret, encoding="utf-8")
        yield tuple(str(token) for token in tokens)
    finally:
        for token in tokens:
            token.unlink(missing_ok=True)


def _meet_workers(client: Any, address: str, visit: Visit) -> None:
    """Check the workers that are there; those that come later check themselves."""
    threads: Mapping[str, int] = client.nthreads()
    if not threads:
        sys.stderr.write(f"waiting: the Dask cluster at {address} has no worker yet\n")
    if max(threads.values(), default=1) > 1:
        warnings.warn(
            "workers of the Dask cluster have several threads, of which one will work: start "
            "them with --nthreads 1, as many as there are cores.",
            ClusterWarning,
            stacklevel=5,
        )
    for worker, answer in client.run(visit.check, on_error="return").items():
        if isinstance(answer, ClusterError):
            raise answer
        if isinstance(answer, Exception) and not isinstance(answer, OSError):  # one that just left
            raise ClusterError(
                f"the Dask worker {worker} cannot load transferline ({answer}). Give the workers "
                "the environment of this process."
            )
        if isinstance(answer, dict) and answer:
            listed = ", ".join(f"{name} {version}" for name, version in answer.items())
            warnings.warn(
                f"the Dask worker {worker} has other versions ({listed}): results may differ in "
                "the last digits.",
                ClusterWarning,
                stacklevel=5,
            )


class ClusterExecutor(Executor):
    """Runs calls on the workers of a cluster; those of a worker that dies are done by others.

    Dask gives a call up when its workers died `distributed.scheduler.allowed-failures` + 1 times.
    """

    def __init__(self, client: Any, visit: Visit) -> None:
        self._client, self._visit = client, visit
        self._tasks: dict[Future[Any], Any] = {}

    @property
    def size(self) -> int:
        """The present number of workers, at least 1."""
        return max(1, len(self._client.nthreads()))

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Schedule a call."""
        name = getattr(getattr(fn, "func", fn), "__name__", "call")  # what a dashboard shows
        # A name of its own: Dask would give equal calls one result, and not do the second.
        key = f"{name}-{uuid.uuid4().hex}"
        future: Future[_T] = Future()
        task = self._client.submit(self._visit, fn, args, kwargs, key=key)
        self._tasks[future] = task
        task.add_done_callback(lambda task: self._finish(future, task))
        return future

    def _finish(self, future: Future[Any], task: Any) -> None:
        self._tasks.pop(future, None)
        if task.cancelled():  # by us, or because the scheduler is gone
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(task.result())
        except BaseException as error:  # whatever it is, it belongs to the future
            future.set_exception(error)

    def cancel(self, futures: Sequence[Future[Any]]) -> None:
        """Cancel all these calls in one message; running ones stop at their next batch."""
        # In one step each: a call may end meanwhile, of which another thread hears.
        found = (self._tasks.pop(future, None) for future in futures)
        self._client.cancel([task for task in found if task is not None])
