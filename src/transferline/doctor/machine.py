"""The machine: system, processor, cores, memory, limits, and how text comes out."""

from __future__ import annotations

import locale
import os
import platform
import re
import sys
from pathlib import Path

from transferline.doctor.limits import cpu_limit, memory_limit
from transferline.doctor.look import Looks, TroubleError

_FEWEST_FILES = 256


def looks() -> Looks:
    """Return the looks of this section."""
    return {
        "system": _system,
        "python": _python,
        "processor": _processor,
        "cores": cores,
        "memory": _memory,
        "open files": _open_files,
        "text": _text,
    }


def _system() -> str:
    name = f"{platform.system()} {platform.release()} {platform.machine()}"
    libc = " ".join(platform.libc_ver())
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    return ", ".join(part for part in (name, distribution, libc.strip()) if part)


def _python() -> str:
    return f"{platform.python_version()} ({platform.python_implementation()}) in {sys.prefix}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1] if found else platform.machine()


def usable_cores() -> float:
    """Cores that this process may run on: affinity, and the share of its control group."""
    given = getattr(os, "sched_getaffinity", None)
    cores = len(given(0)) if given else os.cpu_count() or 1
    return min(cores, cpu_limit() or cores)


def cores() -> str:
    """Usable cores of how many; fewer than the machine has mean a limit."""
    return f"{usable_cores():g} usable of {os.cpu_count()}"


def _memory() -> str:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    parts = [f"{total / 1e9:.1f} GB"]
    if (free := _available()) is not None:
        parts.append(f"{free / 1e9:.1f} GB available")
    if (limit := memory_limit()) is not None and limit < total:
        parts.append(f"control group: {limit / 1e9:.1f} GB")
    if (space := _limit("RLIMIT_AS")) is not None:
        parts.append(f"ulimit -v: {space / 1e9:.1f} GB")
    return ", ".join(parts)


def _available() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"MemAvailable:\s*(\d+) kB", text)
    return int(found[1]) * 1024 if found else None


def _limit(name: str) -> int | None:
    """A soft limit of this process, None where there is none."""
    import resource  # noqa: PLC0415  not everywhere

    value = resource.getrlimit(getattr(resource, name))[0]
    return None if value == resource.RLIM_INFINITY else value


def _open_files() -> str:
    limit = _limit("RLIMIT_NOFILE")
    if limit is not None and limit < _FEWEST_FILES:
        raise TroubleError(f"{limit} at once are few for many input files: ulimit -n 4096")
    return f"{limit if limit is not None else 'no limit'} at once"


def _text() -> str:
    shown = getattr(sys.stdout, "encoding", None) or "unknown"
    names = sys.getfilesystemencoding()
    language = os.environ.get("LC_ALL") or os.environ.get("LANG") or "unset"
    fact = f"output {shown}, file names {names}, files {locale.getpreferredencoding(False)}"
    try:
        "±".encode(shown if shown != "unknown" else "utf-8")
    except (UnicodeEncodeError, LookupError) as error:
        raise TroubleError(f"{fact}: errors cannot be shown; export PYTHONUTF8=1") from error
    return f"{fact}, LANG={language}"
