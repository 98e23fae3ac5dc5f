"""Writing that is either whole or absent: temporary name beside the target, fsync, rename.

Also reading JSON, so that every kind of damage gets one clear error.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError

from transferline.errors import ConfigError, DataError, OutputError, shortened

if sys.platform != "win32":
    import fcntl


def _temporary(target: Path) -> Path:
    # Random: threads share a process number, and so do machines that share a file system.
    # Keep the suffix: writers such as matplotlib choose the format by it.
    return target.with_name(f".{target.stem}.{_random()}.partial{target.suffix}")


def _random() -> str:
    return uuid.uuid4().hex[:16]


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


_UMASK = _umask()  # read once: reading sets it, and another thread may be making a file then


def _open_to_all(path: Path) -> None:
    """Give a file the permissions that `open` gives; some writers make private files."""
    path.chmod(0o666 & ~_UMASK)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(target: Path, temporary: Path | None = None) -> Iterator[None]:
    """Name the file that is being written where the system does not: a full disk tells no name.

    Raises:
        OutputError: in place of an OSError that names no file, or the temporary one.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and error.filename != str(temporary):
            raise
        raise OutputError(f"{target}: cannot be written ({error.strerror or error}).") from error
    except SafetensorError as error:  # what safetensors makes of the errors of the system
        raise OutputError(f"{target}: cannot be written ({shortened(error)}).") from error


LOCK = ".lock"
"""Name of the file by which a directory is held."""


@contextmanager
def alone_in(directory: Path, *, wait: bool = False, tidy: bool = False) -> Iterator[None]:
    """Hold a directory against other processes that ask in this way, on systems with `flock`.

    The lock ends with the process, however it ends.

    Args:
        directory: which is made if it is not there.
        wait: for a process that holds it, in place of an error, and say so.
        tidy: remove the file of the lock at the end.

    Raises:
        ConfigError: another process holds it.
    """
    while True:
        directory.mkdir(parents=True, exist_ok=True)  # who held it may have removed it
        with (directory / LOCK).open("w") as handle:
            with suppress(OSError):  # what file systems without locks answer
                _lock(handle, directory, wait)
            if _is_there(handle, directory / LOCK):
                try:
                    yield
                finally:
                    if tidy:
                        with suppress(OSError):
                            (directory / LOCK).unlink(missing_ok=True)
                return


def _is_there(handle: IO[str], path: Path) -> bool:
    """Whether a file is still the one at `path`: who held it may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except OSError:
        return False


def _lock(handle: IO[str], directory: Path, wait: bool) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if wait:
            sys.stderr.write(f"{directory}: another process works there; waiting for it.\n")
            fcntl.flock(handle, fcntl.LOCK_EX)
            return
        raise ConfigError(
            f"{directory}: another process works there. Wait for it, or choose another --out."
        ) from error


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary file path; on success it is fsynced and renamed to `target`.

    If the block raises, the temporary file is removed and `target` is left as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        with naming(target, temporary):
            yield temporary
            _open_to_all(temporary)
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory; on success it replaces the directory `target`.

    Where the system can exchange two names at once (Linux), `target` is there at every moment.
    A link to a directory stays one.

    Raises:
        OutputError: `target` is a file, or cannot be written.
    """
    target = resolved(target)
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is no directory, and in the way. Remove it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    temporary.mkdir()
    try:
        with naming(target):
            yield temporary
            for file in sorted(temporary.rglob("*")):
                _sync(file)
            if not target.exists():
                temporary.replace(target)
            elif _exchanged(temporary, target):
                shutil.rmtree(temporary)  # the old one
            else:
                old = target.with_name(f".{target.name}.{_random()}.old")
                target.replace(old)
                temporary.replace(target)
                shutil.rmtree(old)
            _sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where system or file system cannot (renameat2(2))."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # not in every C library
    at_working_directory, exchange = -100, 2
    return (
        rename is not None
        and rename(
            at_working_directory,
            os.fsencode(one),
            at_working_directory,
            os.fsencode(other),
            exchange,
        )
        == 0
    )


def remove_leavings(target: Path) -> None:
    """Remove what killed processes left of `atomic_directory(target)`.

    For those alone who know that nobody else writes it now.
    """
    target = resolved(target)
    for left in target.parent.glob(f".{target.name}.*"):
        if left.suffix in (".partial", ".old"):
            shutil.rmtree(left, ignore_errors=True)


def resolved(path: Path | str) -> Path:
    """Return the absolute path without symbolic links.

    Other than `Path.resolve` before Python 3.13, it leaves a link to itself as it stands: opening
    it fails with an error that names it.
    """
    return Path(os.path.realpath(path))


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target` atomically."""
    with atomic_path(target) as temporary:
        # A file name may hold bytes that are no text.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented JSON to `target` atomically."""
    write_text(target, json.dumps(value, indent=2, sort_keys=False) + "\n")


def read_json(path: Path, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Return the value in a JSON file.

    Args:
        path: the file.
        pairs: makes the value of an object from its keys and values; a dict, unless given.

    Raises:
        DataError: it cannot be read or is not JSON.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is damaged, it is not UTF-8 text.") from error
    return parse_json(text, str(path), pairs)


def may_be_json_of(file: Path, *keys: str) -> bool:
    """Tell whether a file is ours, if damaged: absent, and another program's with its name, is not.

    Args:
        file: of JSON.
        keys: that ours has.
    """
    if not file.exists():
        return False
    try:
        found = read_json(file)
    except DataError:
        return True
    return isinstance(found, dict) and found.keys() >= set(keys)


def parse_json(
    text: str | bytes, where: str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return the value of a JSON text; `pairs` as in `read_json`.

    Raises:
        DataError: it is not JSON, or is nested thousands of levels deep; begins with `where`.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is damaged, it is not JSON ({shortened(error)}).") from error


def wait_for_files(paths: Iterable[Path], seconds: float = 90.0) -> None:
    """Return once all `paths` are there, which other machines have written.

    A network file system may show a new file only after a minute. Reading the directory makes
    it look again.

    Raises:
        DataError: a file is not there after `seconds`.
    """
    deadline = time.monotonic() + seconds
    for path in paths:
        while not path.exists():
            if time.monotonic() > deadline:
                raise DataError(
                    f"{path}: was written by another process, which this one cannot see. Do all "
                    "machines share this file system, under the same path?"
                )
            os.listdir(path.parent)  # noqa: PTH208  read for its effect
            time.sleep(0.2)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as a hexadecimal string."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def json_hash(value: Any) -> str:
    """Return the SHA-256 of a JSON value, independent of the order of keys.

    >>> json_hash({"a": 1, "b": 2}) == json_hash({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
