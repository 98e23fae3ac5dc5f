"""Directories that work writes to, and what is left there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from transferline.doctor.look import Looks, TroubleError
from transferline.runtime import cache_directory

_LEAST_FREE = 1e9


def looks() -> Looks:
    """Return the looks of this section."""
    return {
        "cache": lambda: f"{_place(cache_directory())}; TRANSFERLINE_CACHE moves it",
        "temporary files": lambda: f"{_place(Path(tempfile.gettempdir()))}; TMPDIR moves it",
        "working directory": lambda: _room(Path.cwd()),
    }


def _place(folder: Path) -> str:
    """Size and room of a directory that must be writable, or that can be made."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        raise TroubleError(f"{folder}: cannot be written to ({error.strerror})") from error
    size = f"{_size(folder) / 1e6:.0f} MB, " if folder == cache_directory() else ""
    there = size if folder.is_dir() else "not there yet, "
    return f"{folder}: {there}{_room(existing)}"


def _room(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        raise TroubleError(f"{folder}: {free / 1e6:.0f} MB free, which generated samples will fill")
    return f"{free / 1e9:.1f} GB free"


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
