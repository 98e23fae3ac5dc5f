"""Sherpa as a child process: its log, its end, and the results of integration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from transferline.errors import DataError, shortened
from transferline.files import json_hash
from transferline.generate.sherpa.hook import compiled_hook
from transferline.generate.sherpa.installation import Installation
from transferline.generate.sherpa.run_card import event_card, integration_card
from transferline.runtime import cache_directory
from transferline.stopping import check_stop

_CARD, _LOG = "Sherpa.yaml", "log.txt"
_RESULTS = ("Process", "Results.zip")
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextmanager
def _started(
    installation: Installation,
    place: Path,
    card: str,
    libraries: tuple[Path, ...] = (),
    fd: int = 0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Sherpa in the directory `place` while the block runs; it alone then holds `fd`."""
    try:
        (place / _CARD).write_text(card, encoding="utf-8")
        with (place / _LOG).open("wb") as log:
            child = subprocess.Popen(
                [installation.program, _CARD],
                cwd=place,
                env=installation.environment(*libraries) | {"TRANSFERLINE_RECORD_FD": str(fd)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(fd,) if fd else (),
            )
    finally:
        if fd:
            os.close(fd)
    try:
        yield child
    finally:
        # What it has done is in files that nobody needs, or has been read.
        child.kill()
        child.wait()


def _complaint(place: Path) -> str:
    """Return the last lines of the log that may say why Sherpa ended."""
    text = _COLOUR.sub("", (place / _LOG).read_text(encoding="utf-8", errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    blamed = [line for line in lines if re.search(r"error|fail|cannot|invalid", line, re.I)]
    return shortened(" | ".join((blamed or lines)[-3:]), 400)


def integration_place(installation: Installation, hard: str) -> Path:
    """Return the directory of the cache that belongs to the run card's first part."""
    digest = json_hash({"card": integration_card(hard), "sherpa": installation.version})
    return cache_directory() / "sherpa-integration" / digest[:16]


def integrated(installation: Installation, hard: str) -> Path:
    """Return the directory with the integration results of the run card's first part.

    They depend on nothing but card and version, are computed once (a minute for ttbb) and kept
    in the cache.

    Raises:
        DataError: Sherpa failed; says what its log says.
    """
    place = integration_place(installation, hard)
    if not place.exists():
        sys.stderr.write("Sherpa integrates the matrix element, once: this takes a minute.\n")
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as folder:
            new = Path(folder) / place.name
            new.mkdir()
            _integrate(installation, new, hard)
            _keep(new, place)
    return place


def _keep(new: Path, place: Path) -> None:
    """Move a finished directory to its place; the second of two takes the first's, now in use."""
    try:
        new.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _integrate(installation: Installation, place: Path, hard: str) -> None:
    with _started(installation, place, integration_card(hard)) as child:
        while child.poll() is None:
            check_stop()
            time.sleep(0.2)
    if child.returncode != 0 or not all((place / name).exists() for name in _RESULTS):
        raise DataError(f"Sherpa could not integrate the matrix element: {_complaint(place)}")


@contextmanager
def event_stream(
    installation: Installation, parts: tuple[str, ...], seed: int
) -> Iterator[IO[bytes]]:
    """Yield the stream of events of one seed, endless unless Sherpa fails (see `record`).

    Sherpa works while the block reads, and waits while it does not; it ends with the block.

    Raises:
        ConfigError: there is no compiler for the hook.
        DataError: integration failed, or Sherpa ended and the block raises DataError for it.
    """
    library = compiled_hook(installation)
    results = integrated(installation, parts[0])
    with tempfile.TemporaryDirectory(prefix="sherpa-") as folder:
        place = Path(folder)
        _copy_results(results, place)
        reading, writing = os.pipe()
        card = event_card(parts, seed)
        with (
            os.fdopen(reading, "rb", buffering=1 << 20) as stream,
            _started(installation, place, card, (library.parent,), writing) as child,
        ):
            try:
                yield stream
            except DataError as error:
                child.kill()
                raise DataError(f"{error} Its log says: {_complaint(place)}") from error


def _copy_results(results: Path, place: Path) -> None:
    """Give every run results of its own: Sherpa writes there too."""
    for name in _RESULTS:
        source = results / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)
