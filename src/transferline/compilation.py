"""The one way this package compiles: numba, machine code kept in TRANSFERLINE_CACHE."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from inspect import getsourcefile
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import numba
from llvmlite import binding as llvm
from numba.core.caching import FunctionCache

from transferline.runtime import cache_directory

Function = TypeVar("Function", bound=Callable[..., Any])

_config: Any = numba.config
_X86 = ("x86_64", "AMD64")


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


@cache
def has_fused_multiply_add() -> bool:
    """Whether the processor multiplies and adds at once, as kernels written by lanes count on.

    Without, each of their steps calls a function of the C library: they are right, and slower
    than torch by far. Every 64-bit ARM processor does.
    """
    _, features = _processor()
    return "+fma" in features.split(",") or platform.machine() not in _X86


def _compile(function: Function, options: dict[str, Any]) -> Function:
    dispatcher: Any = numba.njit(**options)(function)
    users, place = _config.CACHE_DIR, _place(function)
    _config.CACHE_DIR = place
    try:
        kept = _Kept(function)
    except RuntimeError:  # numba found no place that it may write to
        return cast(Function, dispatcher)
    finally:
        _config.CACHE_DIR = users
    # Where it may not write to ours it takes others, in which nothing tells that sources changed.
    if Path(place) in Path(kept.cache_path).parents:
        dispatcher._cache = kept  # as its own `enable_caching` does
    return cast(Function, dispatcher)


class _Kept(FunctionCache):  # type: ignore[misc]  # numba is untyped
    """Machine code on disk, without which everything works: no trouble with it stops a run."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept, or None; what cannot be read is thrown away."""
        try:
            return super().load_overload(sig, target_context)
        except OSError:
            return None
        except Exception:
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, unless the disk is full."""
        with suppress(OSError):
            super().save_overload(sig, data)


def _place(function: Callable[..., Any]) -> str:
    """One directory for each state of the sources, processor and version of the compiler.

    numba writes the list of what a directory holds and the code itself one after the other: two
    processors that start at once in a shared one would take each other's.
    """
    folder = Path(getsourcefile(function) or __file__).parent
    users: str = _config.CACHE_DIR
    below = f"{_digest(folder)}-{_maker()}"
    return str((Path(users) if users else cache_directory() / "compiled") / below)


@cache
def _maker() -> str:
    text = "\n".join((numba.__version__, *_processor()))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _processor() -> tuple[str, str]:
    """Name and features of the processor that is compiled for, as numba chooses them."""
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM knows none of this one
        features = ""
    name = _config.CPU_NAME or llvm.get_host_cpu_name()
    given: str | None = _config.CPU_FEATURES
    return str(name), features if given is None else given


@cache
def _digest(folder: Path) -> str:
    """Hash of the sources in one directory.

    numba notices a change of a function's own file, not of the functions that it calls.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
