"""The one way this package compiles: numba, machine code kept in TRANSFERLINE_CACHE."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, partial
from inspect import getsourcefile
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import numba

from transferline.runtime import cache_directory

Function = TypeVar("Function", bound=Callable[..., Any])

_config: Any = numba.config


@overload
def compiled(function: Function) -> Function: ...
@overload
def compiled(**options: Any) -> Callable[[Function], Function]: ...
def compiled(function: Any = None, **options: Any) -> Any:
    """Compile a function with numba in nopython mode at its first call, for one thread.

    The machine code is kept in `TRANSFERLINE_CACHE/compiled`, as the package's own directory
    may be read-only; `NUMBA_CACHE_DIR` moves it. Where nothing can be written, every process
    compiles anew.

    Args:
        function: what to compile. Of other compiled functions it may call those of its own
            directory, whose changes are noticed.
        options: of `numba.njit`, as in `@compiled(nogil=True)`.
    """
    if function is None:
        return partial(_compile, options=options)
    return _compile(function, options)


def _compile(function: Function, options: dict[str, Any]) -> Function:
    users, _config.CACHE_DIR = _config.CACHE_DIR, _place(function)
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # numba found no place that it may write to
        return cast(Function, numba.njit(**options)(function))
    finally:
        _config.CACHE_DIR = users


def _place(function: Callable[..., Any]) -> str:
    folder = Path(getsourcefile(function) or __file__).parent
    users: str = _config.CACHE_DIR
    return str((Path(users) if users else cache_directory() / "compiled") / _digest(folder))


@cache
def _digest(folder: Path) -> str:
    """Hash of the sources in one directory.

    numba notices a change of a function's own file, not of the functions that it calls.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
