"""Where blocks run: in this process, in worker processes, or on the user's executor."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from transferline.generate.blocks import Flag, stop_when
from transferline.runtime import leave_with_parent

_P = ParamSpec("_P")
_T = TypeVar("_T")


class InProcess(Executor):
    """Runs a call in this process, at once."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run the call and return its finished future; exceptions pass straight through."""
        future: Future[_T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _start_worker(stop: Flag) -> None:
    """Leave Ctrl-C to the parent, which sets `stop`, and leave when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop_when(stop)
    leave_with_parent()


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep new worker processes from importing the user's script: they need nothing of it.

    Else a script without `if __name__ == "__main__":` would run itself again in every worker.
    """
    main = sys.modules["__main__"]
    hidden = {key: main.__dict__.pop(key) for key in ("__file__", "__spec__") if hasattr(main, key)}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


@contextmanager
def workers(jobs: int, executor: Executor | None) -> Iterator[Executor]:
    """Yield the user's `executor`, or one with `jobs` processes; waits for its calls at the end.

    If the block ends early, calls that have not begun are cancelled and blocks of events stop at
    their next batch.
    """
    if executor is not None:
        yield executor
        return
    if jobs <= 1:
        yield InProcess()
        return
    # Forked copies of a process with threads may deadlock: start clean ones.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start_worker, initargs=(stop,)
    )
    with _main_hidden():
        try:
            yield pool
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
