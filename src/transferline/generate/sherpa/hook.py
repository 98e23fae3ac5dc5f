"""The user hook that hands over events: compiled once against the headers of the wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from transferline.errors import ConfigError, shortened
from transferline.files import atomic_path
from transferline.generate.sherpa.installation import Installation
from transferline.runtime import cache_directory

NAME = "TransferlineRecord"
"""How the run card names the hook, and the library that holds it."""

_SOURCE = "record_hook.cpp"
_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared")


def source() -> str:
    """Return the C++ source of the hook."""
    return (resources.files("transferline.generate.sherpa") / _SOURCE).read_text("utf-8")


def compiled_hook(installation: Installation) -> Path:
    """Return the compiled library; it is kept in the cache by hash of source and version.

    Raises:
        ConfigError: there is no C++ compiler, or it failed; says what to install.
    """
    made_of = "\0".join((source(), installation.version, *_FLAGS))
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    library = cache_directory() / "sherpa-hook" / digest / f"lib{NAME}.so"
    if not library.is_file():
        _compile(installation, library)
    return library


def _compiler() -> str:
    name = os.environ.get("CXX") or "g++"
    found = shutil.which(name)
    if found is None:
        raise ConfigError(
            f"Sherpa's events are read through a small library that is compiled once, and there "
            f"is no compiler '{name}'. Install g++ (Debian and Ubuntu: g++; Fedora: gcc-c++; "
            "conda: gxx), or name another in CXX."
        )
    return found


def _compile(installation: Installation, library: Path) -> None:
    command = [_compiler(), *_FLAGS, f"-I{installation.include}", "-x", "c++", "-"]
    with atomic_path(library) as temporary:
        done = subprocess.run(
            [*command, "-o", str(temporary)],
            input=source(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no reason"]
            raise ConfigError(
                f"{command[0]} could not compile Sherpa's hook against {installation.include}: "
                f"{shortened(lines[0], 300)}"
            )
