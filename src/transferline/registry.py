"""Name -> "module:Class", imported only when asked for.

One new plug-in is one new file and one row in its family's table. Outside packages add the
same string as an entry point in the group `transferline.<family>`.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from transferline.errors import ConfigError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """A lazy table of one family of plug-ins, for example the backbones."""

    def __init__(self, family: str, **rows: str) -> None:
        self.family = family
        self._rows = rows

    def rows(self) -> dict[str, str]:
        """Return name -> "module:Class", those of outside packages included."""
        return {**self._outside, **self._rows}

    @cached_property
    def _outside(self) -> dict[str, str]:
        """Rows of other packages, looked up once: it takes 20 ms, for every `kind:` of a file."""
        found = entry_points(group=f"transferline.{self.family}")
        return {entry.name: entry.value for entry in found}

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        return sorted(self.rows())

    def load(self, name: str) -> type[T]:
        """Import and return the class behind `name`.

        Raises:
            ConfigError: there is no such name, or its row points nowhere.
        """
        rows = self.rows()
        if name not in rows:
            hint = did_you_mean(name, rows)
            raise ConfigError(f"'{name}' is not one of the {self.family}.{hint}")
        module_name, _, class_name = rows[name].partition(":")
        try:
            return cast("type[T]", getattr(importlib.import_module(module_name), class_name))
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{self.family} '{name}' is registered as {rows[name]}: {error}"
            ) from error
