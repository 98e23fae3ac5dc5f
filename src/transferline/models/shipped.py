"""Checkpoints that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from transferline.errors import ConfigError, did_you_mean

SHIPPED = "shipped"
"""Stands for the shipped checkpoint wherever a checkpoint directory is asked for."""

_HERE = Path(str(resources.files("transferline"))) / "shipped"


def shipped_checkpoints() -> list[str]:
    """Return the names of the checkpoints inside the package."""
    return sorted(path.parent.name for path in _HERE.glob("*/config.json"))


def shipped_checkpoint(name: str | None = None) -> Path:
    """Return the directory of a checkpoint inside the package; the name may be left out.

    Raises:
        ConfigError: there is none, none of that name, or several and no name.
    """
    names = shipped_checkpoints()
    if name is None and len(names) == 1:
        return _HERE / names[0]
    if name is None or name not in names:
        hint = did_you_mean(name or "", names) or " There is none in this installation."
        raise ConfigError(f"no shipped checkpoint is called '{name or ''}'.{hint}")
    return _HERE / name


def resolve_checkpoint(place: str | Path) -> Path:
    """Return the directory meant by a path, by `shipped`, or by `shipped/NAME`.

    >>> resolve_checkpoint("runs/pre").as_posix()
    'runs/pre'
    """
    text = str(place)
    if text == SHIPPED:
        return shipped_checkpoint()
    if text.startswith(f"{SHIPPED}/"):
        return shipped_checkpoint(text.removeprefix(f"{SHIPPED}/"))
    return Path(place)
