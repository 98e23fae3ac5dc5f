"""Where the runs of a study execute: here, in processes of this machine, or on a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from transferline.errors import ConfigError
from transferline.runtime import keep_freed_memory, leave_with_parent

_THREADS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class InlineExecutor(Executor):
    """Runs everything in this process, at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function and return its finished future; only interrupts pass through."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def executor(jobs: int, dask: str | None = None) -> Iterator[Executor]:
    """Yield an executor with `jobs` processes of one thread each, or that of a Dask cluster.

    Raises:
        ConfigError: `dask` is given and `distributed` is not installed.
    """
    if dask is not None:
        with _client(dask) as client:
            yield client.get_executor()
    elif jobs <= 1:
        yield InlineExecutor()
    else:
        with _environment(_THREADS):
            # A forked copy of a process with running threads may deadlock: start clean ones.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker)
            try:
                yield pool
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def start_worker() -> None:
    """One thread per process, since several processes use several cores better.

    The process ends with the one that started it: an orphan would train on, beside the workers
    of the study that resumes.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    leave_with_parent()


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does while the block runs (in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def stop_workers() -> None:
    """Ask the processes that this one started to save what they do and leave."""
    for process in multiprocessing.active_children():
        process.terminate()


def _client(address: str) -> Any:
    try:
        from distributed import Client  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ConfigError('--dask needs: pip install "transferline[dask]"') from error
    return Client(address)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for processes that start inside the block; the user's own ones stand."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
