"""Where Sherpa is: an environment variable, an installed wheel, or a directory of the cache.

Sherpa is the wheel `sherpa-mc` for Linux (x86_64, glibc 2.34 or later). Its program needs no
Python, so a wheel made for another version of Python serves as well, unpacked by itself.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transferline.errors import ConfigError, DataError, shortened
from transferline.files import atomic_directory
from transferline.runtime import cache_directory

VERSION = "3.0.3b2"
PACKAGE = "sherpa-mc"
VARIABLE = "TRANSFERLINE_SHERPA"
_PROGRAM = Path("bin") / "Sherpa"
_PARTS = {
    "library": Path("lib64") / "SHERPA-MC",
    "include": Path("include") / "SHERPA-MC",
    "share": Path("share") / "SHERPA-MC",
}


@dataclass(frozen=True)
class Installation:
    """An unpacked wheel: the directory with `bin`, `lib64`, `include`, `share`; its version."""

    root: Path
    version: str

    @property
    def program(self) -> Path:
        """The executable."""
        return self.root / _PROGRAM

    @property
    def include(self) -> Path:
        """Directory of the C++ headers."""
        return self.root / _PARTS["include"]

    def environment(self, *libraries: Path) -> dict[str, str]:
        """Return the environment in which Sherpa runs; `libraries` are searched as well."""
        paths = [str(self.root / _PARTS["library"]), *map(str, libraries)]
        return os.environ | {
            "SHERPA_LIBRARY_PATH": paths[0],
            "SHERPA_SHARE_PATH": str(self.root / _PARTS["share"]),
            "SHERPA_INCLUDE_PATH": str(self.include),
            "LD_LIBRARY_PATH": ":".join(paths),
            "OMP_NUM_THREADS": "1",
        }


def cached_root() -> Path:
    """Directory into which `install` unpacks the wheel."""
    return cache_directory() / f"sherpa-{VERSION}"


def find() -> Installation:
    """Return the Sherpa to use: `TRANSFERLINE_SHERPA`, else the installed wheel, else the cache.

    Raises:
        ConfigError: there is none; says how to get it.
        DataError: the directory that the variable names, or the cached one, is not whole.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return _at(Path(named))
    installed = _installed_root()
    if installed is not None:
        return _at(installed)
    if cached_root().exists():
        return _at(cached_root())
    raise ConfigError(
        "Sherpa is not here. Get it with `transferline generate install-sherpa` (any Python), or "
        'with pip install "transferline[sherpa]" (Python 3.12 or later); or name the directory '
        f"of an unpacked wheel `{PACKAGE}` in {VARIABLE}."
    )


def _installed_root() -> Path | None:
    try:
        found = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(found.locate_file("")))


def _at(root: Path) -> Installation:
    missing = [part for part in (_PROGRAM, *_PARTS.values()) if not (root / part).exists()]
    if missing:
        raise DataError(f"{root}: is no unpacked wheel of {PACKAGE}, it has no {missing[0]}.")
    program = root / _PROGRAM
    if not os.access(program, os.X_OK):
        # Some installers lose the permission.
        program.chmod(program.stat().st_mode | 0o111)
    names = importlib.metadata.distributions(name=PACKAGE, path=[str(root)])
    return Installation(root.absolute(), next((found.version for found in names), "unknown"))


def install(run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run) -> Path:
    """Download the wheel with pip and unpack it in the cache; return the directory.

    What is there already is kept. `run` is called like `subprocess.run`.

    Raises:
        ConfigError: not Linux on x86_64, or pip failed; says why.
    """
    target = cached_root()
    if target.exists():
        return _at(target).root
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ConfigError(f"{PACKAGE} has wheels for Linux on x86_64 only.")
    # No --no-index, no address: pip's own configuration says from where.
    with atomic_directory(target) as unpacked:
        done = run(_command(unpacked), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
            raise ConfigError(f"pip could not install {PACKAGE}: {shortened(reason[0], 300)}")
    return _at(target).root


def _command(target: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(target), "--python-version", "3.12", "--only-binary=:all:"),
        *("--no-deps", f"{PACKAGE}=={VERSION}"),
    ]
