"""Executors on this machine: this process itself, and a pool of processes with one thread each."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, util
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from transferline.executors import preload
from transferline.runtime import keep_freed_memory, leave_with_parent
from transferline.stopping import Flag, stop_always_when

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
_LONGEST = 100  # bytes of the name of a socket
_GRACE = 5.0  # seconds to reach the end of a batch before SIGTERM


class InlineExecutor(Executor):
    """Runs everything in this process, at once."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call the function and return its finished future; only interrupts pass through."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class ProcessPool(ProcessPoolExecutor):
    """Processes of one thread each, since several processes use several cores better.

    They start when there is work for them, leave Ctrl-C to this process, and end with it.
    """

    def __init__(self, jobs: int) -> None:
        context = _context()
        self.size = jobs
        self._copied = context.get_start_method() == "forkserver"
        self._stop = context.Event()
        self._started: set[BaseProcess] = set()
        start = (self._stop, {**_THREADS, **os.environ})
        super().__init__(jobs, mp_context=context, initializer=_start, initargs=start)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Schedule a call; a process may start for it."""
        with _worker_start.telling(_told() if self._copied else {}):
            before = set(multiprocessing.active_children())
            future = super().submit(fn, *args, **kwargs)
            self._started |= set(multiprocessing.active_children()) - before
        return future

    def stop(self) -> None:
        """Cancel what has not begun; ask the rest to stop at its next batch, then insist."""
        self._stop.set()
        insist = threading.Timer(_GRACE, self._terminate)
        insist.start()
        self.shutdown(wait=True, cancel_futures=True)
        insist.cancel()

    def _terminate(self) -> None:
        for process in self._started:
            process.terminate()  # a training saves its state even now

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        if kind is not None:
            self.stop()
        return super().__exit__(kind, error, trace)


def _context() -> BaseContext:
    """Return how processes start.

    A forked copy of a process with running threads may deadlock. On Linux, processes are copies
    of one that has imported what this one has, runs nothing, and is started but once: torch and
    what surrounds it take several seconds to import. Elsewhere, and where somebody else's such
    process is there or its socket finds no place, every process starts clean.
    """
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    running = _server()
    socket = Path(util.get_temp_dir(), "listener-" + 8 * "x")
    if running != _worker_start.server or len(os.fsencode(socket)) > _LONGEST:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload.__name__])
    return context


def _start(stop: Flag, environment: dict[str, str]) -> None:
    """Prepare a worker process.

    It ends with the one that started it: an orphan would work on, beside the workers of the
    command that is repeated. Its environment is that of its pool, not of the first pool.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    stop_always_when(stop)
    keep_freed_memory()
    leave_with_parent()


class _WorkerStart:
    """While it tells them, processes that start get one thread and do not import the user's script.

    Else a script without `if __name__ == "__main__":` would run itself again in every worker,
    which needs nothing of it. Variables of the environment that the user set stand.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.server: int | None = None

    @contextmanager
    def telling(self, more: dict[str, str]) -> Iterator[None]:
        """Start processes while entered; with `more` in their environment."""
        with self._lock:
            main: dict[str, Any] = sys.modules["__main__"].__dict__
            kept: dict[str, Any] = {
                key: main.pop(key) for key in ("__file__", "__spec__") if key in main
            }
            main["__spec__"] = None
            told = {**_THREADS, **more}
            added = {key: text for key, text in told.items() if key not in os.environ}
            os.environ.update(added)
            try:
                yield
            finally:
                main.update(kept)
                for key in added:
                    os.environ.pop(key, None)
                if more:
                    self.server = _server()


def _server() -> int | None:
    """Return the number of the process that others are copied from, if it has started."""
    found: int | None = getattr(forkserver._forkserver, "_forkserver_pid", None)
    return found


def _told() -> dict[str, str]:
    """What the process that is copied must know: where from and what to import, and not from here.

    Python puts the current directory first, where a file may have the name of any module.
    """
    ours = __name__.partition(".")[0]
    modules = [name for name in sorted(sys.modules) if name.partition(".")[0] == ours]
    told = json.dumps({"path": sys.path, "modules": modules})
    return {"PYTHONSAFEPATH": "1", preload.VARIABLE: told}


_worker_start = _WorkerStart()
