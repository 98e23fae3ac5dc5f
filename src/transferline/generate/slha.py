"""Masses and couplings of supersymmetric particles: text in the settings, a file for Pythia."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

KEY = "SLHA:text ="
"""Begins a setting of ours that holds a whole SUSY Les Houches file (hep-ph/0311123).

As text the content belongs to the configuration of a sample, and so to its hash.
"""


@contextmanager
def slha_in_files(settings: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Put every such text into a temporary file, which exists until Pythia has read it.

    >>> with slha_in_files(["Top:gg2ttbar = on"]) as settings:
    ...     settings
    ('Top:gg2ttbar = on',)
    """
    if not any(setting.startswith(KEY) for setting in settings):
        yield tuple(settings)
        return
    with TemporaryDirectory(prefix="transferline-slha-") as folder:
        yield tuple(_in_file(setting, Path(folder) / "spectrum.slha") for setting in settings)


def _in_file(setting: str, path: Path) -> str:
    if not setting.startswith(KEY):
        return setting
    path.write_text(setting.removeprefix(KEY), encoding="utf-8")
    return f"SLHA:file = {path}"
