"""Process settings that must stand before the first large allocation or parallel loop.

Import this module before numpy and torch: it imports neither.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import stat
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # <malloc.h> of glibc


def prepare_process() -> None:
    """Make OpenMP threads wait passively and let malloc keep freed pages (Linux with glibc).

    Spinning OpenMP threads beside one other busy process slow training 3 to 25 times. glibc
    returns every block above 32 MB to the system and faults it in again at the next
    operation; keeping such blocks makes large batches up to 3 times faster, at the price of
    memory that stays with the process. A value of OMP_WAIT_POLICY that the user set stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    limit_kernel_caches()


def keep_freed_memory() -> bool:
    """Tell glibc's malloc neither to map large blocks one by one nor to trim; False elsewhere."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt")):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)


def limit_kernel_caches() -> None:
    """Let oneDNN keep 32 prepared operations instead of 1024; read at its first operation.

    One is kept for every shape that ever occurred, with its working memory. The number of real
    particles of a batch is hardly ever the same twice: a training grew by hundreds of megabytes
    and gained nothing. 32 are enough for the layers of one step. Values that the user set stand.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, "32")


def cache_directory() -> Path:
    """Return `TRANSFERLINE_CACHE`, or `~/.cache/transferline`, or a temporary one."""
    given = os.environ.get("TRANSFERLINE_CACHE")
    if given:
        return Path(given)
    try:
        return Path.home() / ".cache" / "transferline"
    except RuntimeError:  # neither HOME nor an entry for this user, as in some containers
        return _temporary_cache()


@cache
def _temporary_cache() -> Path:
    """A directory of this user in which nobody else can have put code that would be run."""
    shared = Path(tempfile.gettempdir()) / f"transferline-{os.getuid()}"
    with suppress(FileExistsError):
        shared.mkdir(mode=0o700)
    found = shared.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if ours and not found.st_mode & 0o022:
        return shared
    return Path(tempfile.mkdtemp(prefix="transferline-"))


def leave_with_parent() -> None:
    """End this worker process when the process that started it has ended, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
