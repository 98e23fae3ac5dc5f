"""Calls on any executor: in order of completion, cancelled on failure, with errors that help."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from transferline.errors import TransferlineError

_P = ParamSpec("_P")
_T = TypeVar("_T")

_RESUME = "What is finished is kept: the same command goes on from there."


class WorkersLostError(TransferlineError):
    """The processes that did the work are gone, and no others take their place."""

    exit_code = 3


class CallLostError(TransferlineError):
    """One call was given up, because workers died again and again while they did it."""

    exit_code = 3


def each(
    pool: Executor,
    function: Callable[..., _T],
    calls: Sequence[tuple[Any, ...]],
    done: Callable[[int, Future[_T]], None],
) -> None:
    """Call `function(*calls[i])` for every i; `done(i, future)` runs here as each one ends.

    If `done` raises, as `result_of` does, calls that have not begun are cancelled.

    Raises:
        WorkersLostError: the pool broke before it had taken all calls.
    """
    waiting: dict[Future[_T], int] = {}
    try:
        for i, arguments in enumerate(calls):
            future = pool.submit(function, *arguments)
            if future.done():
                done(i, future)
            else:
                waiting[future] = i
        for future in as_completed(waiting):
            done(waiting.pop(future), future)
    except BrokenExecutor as error:
        raise _lost(error) from error
    finally:
        cancel(pool, list(waiting))


def cancel(pool: Executor, futures: Sequence[Future[Any]]) -> None:
    """Cancel calls that have not begun; on our clusters running ones too, and all at once."""
    at_once = getattr(pool, "cancel", None)
    unfinished = [future for future in futures if not future.done()]
    if unfinished and at_once is not None:
        at_once(unfinished)
    for future in unfinished:
        future.cancel()


def result_of(future: Future[_T]) -> _T:
    """Return the result of a finished call, or raise what it raised.

    Raises:
        WorkersLostError: the processes that did the work are gone.
        CallLostError: workers died again and again while they did this call.
    """
    try:
        return future.result()
    except (BrokenExecutor, CancelledError) as error:
        raise _lost(error) from error
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # of `distributed`, which may not be installed
            raise CallLostError(
                "a call was given up: the workers that did it died one after the other (out of "
                f"memory? taken away by the batch system? see their logs). {_RESUME}"
            ) from error
        raise


def _lost(error: Exception) -> WorkersLostError:
    if isinstance(error, CancelledError):
        return WorkersLostError(f"the Dask scheduler has gone away. {_RESUME}")
    return WorkersLostError(
        f"a worker process died (killed? out of memory? fewer --jobs need less). {_RESUME}"
    )


TURN = threading.RLock()
"""Held by the thread of this process whose turn it is; see `one_at_a_time`."""


def one_at_a_time(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let the threads of one process take turns in `function`.

    Trainings set torch's random state, which the whole process shares: side by side they would
    give other numbers.
    """

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with TURN:
            return function(*args, **kwargs)

    return call
