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
from numba.core import serialize
from numba.core.caching import FunctionCache, IndexDataCacheFile

from transferline.files import atomic_path
from transferline.runtime import cache_directory

Function = TypeVar("Function", bound=Callable[..., Any])

_config: Any = numba.config  # numba is untyped, as are these
_cache: Any = FunctionCache
_files: Any = IndexDataCacheFile
_serialize: Any = serialize
_X86 = ("x86_64", "AMD64")
_CHECK = 32  # bytes of a SHA-256


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
    return "+fma" in _features().split(",") or platform.machine() not in _X86


def _compile(function: Function, options: dict[str, Any]) -> Function:
    dispatcher: Any = numba.njit(**options)(function)
    users, place = _config.CACHE_DIR, _place(function)
    _config.CACHE_DIR = place
    try:
        kept = _Kept(function)
    # No place that it may write to; or another numba, whose inside is none of ours.
    except (RuntimeError, AttributeError, TypeError):
        return cast(Function, dispatcher)
    finally:
        _config.CACHE_DIR = users
    # Where it may not write to ours it takes others, in which nothing tells that sources changed.
    if Path(place) in Path(kept.cache_path).parents:
        dispatcher._cache = kept  # as its own `enable_caching` does
    return cast(Function, dispatcher)


class _Kept(FunctionCache):
    """Machine code on disk, without which everything works: no trouble with it stops a run."""

    def __init__(self, function: Callable[..., Any]) -> None:
        _cache.__init__(self, function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _Files(Path(self.cache_path), self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept, or None."""
        try:
            return _cache.load_overload(self, sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, if that is possible."""
        with suppress(Exception):
            _cache.save_overload(self, sig, data)


class _Files(IndexDataCacheFile):
    """One file for each signature and processor, which tells whether it is whole and whose it is.

    numba's own numbers its files and lists them in another one, which is written first: processes
    that start at once may take each other's code, and run it whatever it is. Nor does it notice
    bytes that were lost.
    """

    def __init__(self, place: Path, base: str, stamp: object) -> None:
        _files.__init__(self, str(place), base, stamp)
        self.place, self.base, self.stamp = place, base, repr(stamp)

    def save(self, key: object, data: object) -> None:
        """Write the file of this key in one step, the checksum behind the code."""
        code = _serialize.dumps(data)
        with atomic_path(self.place / self._name(key)) as file:
            file.write_bytes(code + self._check(key, code))

    def load(self, key: object) -> Any:
        """Return what the file of this key holds; None without one, or of a damaged one."""
        try:
            found = (self.place / self._name(key)).read_bytes()
        except OSError:
            return None
        code, check = found[:-_CHECK], found[-_CHECK:]
        if check != self._check(key, code):
            return None
        return _files._load_data(self, self._name(key))  # which leaves what is behind alone

    def flush(self) -> None:
        """Remove the files of this function."""
        for file in self.place.glob(f"{self.base}.*.nbc"):
            file.unlink(missing_ok=True)

    def _name(self, key: object) -> str:
        return f"{self.base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def _check(self, key: object, code: bytes) -> bytes:
        return hashlib.sha256(f"{key!r}{self.stamp}".encode() + code).digest()


def _place(function: Callable[..., Any]) -> str:
    """One directory for each state of the sources and version of the compiler."""
    folder = Path(getsourcefile(function) or __file__).parent
    users: str = _config.CACHE_DIR
    below = f"{_digest(folder)}-{numba.__version__}"
    return str((Path(users) if users else cache_directory() / "compiled") / below)


def _features() -> str:
    """Those of the processor that is compiled for, as numba chooses them: `+avx,+fma,...`."""
    given: str | None = _config.CPU_FEATURES
    if given is not None:
        return given
    try:
        return str(llvm.get_host_cpu_features().flatten())
    except RuntimeError:  # LLVM knows none of this one
        return ""


@cache
def _digest(folder: Path) -> str:
    """Hash of the sources in one directory.

    numba notices a change of a function's own file, not of the functions that it calls.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
