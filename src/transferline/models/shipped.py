"""Checkpoints that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from transferline.errors import ConfigError, did_you_mean

SHIPPED = "shipped"
"""Stands for a shipped checkpoint wherever a checkpoint directory is asked for."""

_USUAL = "events"
"""The one that is meant where no name is given."""

_HERE = Path(str(resources.files("transferline"))) / "shipped"


def shipped_checkpoints() -> list[str]:
    """Return the names of the checkpoints inside the package."""
    return sorted(path.parent.name for path in _HERE.glob("*/config.json"))


def shipped_checkpoint(name: str = _USUAL) -> Path:
    """Return the directory of a checkpoint inside the package.

    Raises:
        ConfigError: there is none of that name.
    """
    names = shipped_checkpoints()
    if name not in names:
        hint = did_you_mean(name, names) or " There is none in this installation."
        raise ConfigError(f"no shipped checkpoint is called '{name}'.{hint}")
    return _HERE / name


def resolve_checkpoint(place: str | Path) -> Path:
    """Return the directory meant by a path, by `shipped/NAME`, or by `shipped`: the one of events.

    >>> resolve_checkpoint("runs/pre").as_posix()
    'runs/pre'
    """
    text = str(place)
    if text == SHIPPED:
        return shipped_checkpoint()
    if text.startswith(f"{SHIPPED}/"):
        return shipped_checkpoint(text.removeprefix(f"{SHIPPED}/"))
    return Path(place)
