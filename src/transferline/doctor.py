"""What this installation is and can do: the block that every bug report needs."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch

from transferline.learning.optim import Optim
from transferline.models.shipped import shipped_checkpoints
from transferline.provenance import commit
from transferline.runtime import keep_freed_memory
from transferline.samples import cache_directory

Facts = dict[str, str]


def examine() -> dict[str, Facts]:
    """Return title -> name -> fact, for people and for `--json`."""
    core, extras = _requirements()
    return {
        "transferline": _package(),
        "machine": _machine(),
        "packages": {name: _version(name) for name in core},
        "extras": {extra: _extra(extra, names) for extra, names in extras.items()},
    }


def _package() -> Facts:
    cache = cache_directory()
    return {
        "version": _version("transferline"),
        "commit": commit() or "installed without sources",
        "checkpoints": ", ".join(shipped_checkpoints()) or "none shipped",
        "cache": f"{cache} ({_size(cache)}; TRANSFERLINE_CACHE moves it)",
    }


def _machine() -> Facts:
    device = Optim(steps=1).torch_device()
    bfloat16 = Optim(steps=1).bfloat16(device)
    return {
        "python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"),
        "processor": f"{torch.backends.cpu.get_cpu_capability()}",
        "torch threads": f"{torch.get_num_threads()} "
        f"(OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'unset')})",
        "training device": device.type,
        "bfloat16": "native, used by default" if bfloat16 else "not native: float32 is used",
        "allocator": "keeps freed memory" if keep_freed_memory() else "default of the system",
    }


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Return the names of required packages, and those of every extra."""
    core: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in requires("transferline") or ():
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        (extras.setdefault(extra[1], []) if extra else core).append(name)
    return core, extras


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _extra(extra: str, names: list[str]) -> str:
    found = {name: _version(name) for name in names}
    if "missing" in found.values():
        return f"not installed: pip install 'transferline[{extra}]'"
    return ", ".join(f"{name} {number}" for name, number in found.items())


def _size(folder: Path) -> str:
    if not folder.is_dir():
        return "not there yet"
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f"{total / 1e6:.0f} MB"
