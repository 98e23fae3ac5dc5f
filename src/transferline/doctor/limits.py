"""What a control group, as of containers and batch systems, leaves of the machine (Linux)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 2**60  # version 1 writes the largest number of pages instead of nothing


def cpu_limit(root: Path = _ROOT, own: Path = _OWN) -> float | None:
    """Return the number of cores that the control group grants, None without a limit."""
    found = []
    for folder in _folders("cpu", root, own):
        words = _read(folder / "cpu.max").split()
        if len(words) != 2:
            words = [_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        if all(word.isdecimal() for word in words):  # "max" and -1 stand for no limit
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def memory_limit(root: Path = _ROOT, own: Path = _OWN) -> int | None:
    """Return the bytes that the control group grants, None without a limit."""
    texts = [
        _read(folder / name)
        for folder in _folders("memory", root, own)
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    found = [int(text) for text in texts if text.isdecimal()]
    return min((value for value in found if value < _NO_LIMIT), default=None)


def _folders(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """Yield the directories of this process's group and of all groups above it."""
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = root
        elif controller in controllers.split(","):
            base = root / (controllers if (root / controllers).is_dir() else controller)
        else:
            continue
        inner = Path(path.lstrip("/"))
        yield base / inner
        yield from (base / parent for parent in inner.parents)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
