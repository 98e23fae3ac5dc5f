"""Strict YAML in layers: a file, the file it builds on, assignments from the command line.

YAML 1.1 without its traps: a key may not stand twice, and `1e-3` is a number. Every key
remembers where it stands, so that an error can say `file.yaml:line:column`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from transferline.errors import ConfigError

KeyPath = Sequence[int | str]


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice; reads `1e-3` as a number."""


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> Any:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key_node.value}' stands twice", key_node.start_mark
            )
        seen.add(key_node.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True)
class Layer:
    """One source of values: `name` is what errors call it, `tree` knows lines and columns."""

    name: str
    value: Any
    tree: yaml.Node | None
    has_lines: bool = True

    def depth(self, path: KeyPath) -> int:
        """Return how many steps of `path` stand in this layer."""
        return sum(1 for _ in self._marks(path))

    def place(self, path: KeyPath) -> str:
        """Return `name:line:column` of the deepest key of `path` that stands here."""
        marks = list(self._marks(path))
        mark = marks[-1] if marks else (self.tree.start_mark if self.tree else None)
        if mark is None or not self.has_lines:
            return self.name
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}"

    def _marks(self, path: KeyPath) -> Iterator[yaml.Mark]:
        """Yield the place of each key along `path`; validators may add steps of their own."""
        node = self.tree
        for step in path:
            if isinstance(node, yaml.MappingNode):
                pairs = {key.value: (key, value) for key, value in node.value}
                if str(step) not in pairs:
                    return
                key, node = pairs[str(step)]
                yield key.start_mark
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
                yield node.start_mark
            else:
                return


def read_yaml(path: Path) -> Layer:
    """Read a YAML file.

    Raises:
        ConfigError: it cannot be read or is not YAML; names line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text.") from error
    return _parse(text, str(path))


def read_assignment(text: str) -> Layer:
    """Read `optim.steps=100` as the mapping `{optim: {steps: 100}}`; the value is YAML.

    >>> read_assignment("optim.lr=1e-3").value
    {'optim': {'lr': 0.001}}

    Raises:
        ConfigError: there is no `=`, no key, or the value is not YAML.
    """
    keys, equals, value = text.partition("=")
    names = keys.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"--set {text}: is not of the form key.path=value.")
    opening = "".join(f"{{{name}: " for name in names)
    return _parse(f"{opening}{value}{'}' * len(names)}", f"--set {text}", has_lines=False)


def _parse(text: str, name: str, has_lines: bool = True) -> Layer:
    try:
        tree = yaml.compose(text, Loader=_Loader)
        return Layer(name, yaml.load(text, Loader=_Loader), tree, has_lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark and has_lines else name
        raise ConfigError(f"{place}: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: is not YAML ({error}).") from error


def merge(below: Any, above: Layer) -> Any:
    """Lay a layer on values, key by key.

    In a file, a mapping with another `kind` replaces the whole mapping below it: the keys of
    one kind mean nothing to another. An assignment changes its one key.
    """
    return _merge(below, above.value, replaces=above.has_lines)


def _merge(below: Any, above: Any, replaces: bool) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    if replaces and "kind" in above and above["kind"] != below.get("kind"):
        return above
    merged = dict(below)
    for key, value in above.items():
        merged[key] = _merge(below[key], value, replaces) if key in below else value
    return merged
