"""Where a result comes from: versions, commit, host-independent facts of a run."""

from __future__ import annotations

import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("transferline", "torch", "numpy", "awkward", "uproot", "scikit-learn", "pythia8mc")


def package_versions(names: tuple[str, ...] = _PACKAGES) -> dict[str, str]:
    """Return the versions of the installed packages among `names`."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str:
    """Return the Git commit of the source tree this package runs from, `+` if it was changed.

    An installed package has no source tree: the empty string.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changed else "")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(("git", *words), cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run_facts() -> dict[str, Any]:
    """Return versions, commit, command and time, for a checkpoint or a Record."""
    return {
        "versions": {"python": platform.python_version(), **package_versions()},
        "commit": commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *map(_without_keys, sys.argv[1:])]),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _without_keys(word: str) -> str:
    """Remove user and query from URLs: provenance is published, and signed links open files.

    >>> _without_keys("files=https://me:secret@host/a.root?key=1")
    'files=https://host/a.root'
    """
    return re.sub(r"://[^/@\s]*@", "://", re.sub(r"(://[^?\s]*)\?\S*", r"\1", word))
