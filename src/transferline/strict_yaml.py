"""Strict YAML in layers: a file, the file it builds on, assignments from the command line.

YAML 1.1 without its traps: a key may not stand twice, `1e-3` is a number, a date is a text, `010`
and `1:30` are refused in place of being 8 and 90, and there are no tags. Every key remembers where
it stands, so that an error can say `file.yaml:line:column`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from transferline.errors import ConfigError, shortened

KeyPath = Sequence[int | str]

# Far above any configuration, far below what would take minutes to read or to explain.
LARGEST = 1_000_000  # bytes of a file
_DEEPEST = 50  # mappings and lists inside each other
_MOST_VALUES = 20_000  # keys and values, those behind aliases counted as often as they stand

_TOO_MANY = f"here stand more than {_MOST_VALUES} keys and values"


def _wrong(node_or_event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node_or_event.start_mark)


class _Loader(yaml.SafeLoader):
    """Refuses what no configuration needs, and bounds what is left."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # The scanner reads no further than it must, so this ends before it gets slow.
        if self._depth == _DEEPEST:
            problem = f"more than {_DEEPEST} mappings and lists stand inside each other"
            raise _wrong(self.peek_event(), problem)  # type: ignore[no-untyped-call]
        self._nodes += 1
        if self._nodes > _MOST_VALUES:
            raise _wrong(self.peek_event(), _TOO_MANY)  # type: ignore[no-untyped-call]
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:  # such as an integer of 5,000 digits
            raise _wrong(node, f"'{shortened(node.value, 40)}' cannot be read: {error}") from error


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> Any:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _wrong(key_node, "a key must be a word, not a list or a mapping")
        if key_node.value in seen:
            raise _wrong(key_node, f"the key '{shortened(key_node.value)}' stands twice")
        seen.add(key_node.value)
    return loader.construct_mapping(node, deep=True)


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if "\0" in text:
        raise _wrong(node, "holds a NUL character, which no name and no path can have")
    return text


def _number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """A number in the notation that everybody reads the same way."""
    text = str(loader.construct_scalar(node))
    if ":" in text or re.match(r"[-+]?0[0-9_]", text):
        problem = f"'{shortened(text, 40)}' is another number in YAML than it seems"
        raise _wrong(node, f"{problem}; write it without leading zeros and colons, or in quotes")
    kind = node.tag.rpartition(":")[2]
    return getattr(loader, f"construct_yaml_{kind}")(node)


def _refuse_tag(_loader: _Loader, node: yaml.Node) -> Any:
    raise _wrong(node, f"the tag '{shortened(node.tag)}' is not allowed; write the plain value")


_PLAIN = ("null", "bool", "seq")
_Loader.yaml_constructors = {
    f"tag:yaml.org,2002:{name}": _Loader.yaml_constructors[f"tag:yaml.org,2002:{name}"]
    for name in _PLAIN
}
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)
_Loader.add_constructor("tag:yaml.org,2002:str", _text)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)
for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _number)
_Loader.add_constructor(None, _refuse_tag)  # None stands for all others
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
            elif (
                isinstance(node, yaml.SequenceNode)
                and isinstance(step, int)
                and step < len(node.value)
            ):
                node = node.value[step]
                yield node.start_mark
            else:
                return


def read_yaml(path: Path) -> Layer:
    """Read a YAML file.

    Raises:
        ConfigError: it cannot be read, is too large or is not YAML; names line and column.
    """
    shown = shortened(path, 400)
    try:
        with path.open("rb") as handle:
            data = handle.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read ({error.strerror}).") from error
    if len(data) > LARGEST:
        raise ConfigError(
            f"{shown}: is larger than {LARGEST // 1_000_000} MB, so it is no configuration."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: is not UTF-8 text.") from error
    return _parse(text, shown)


def read_assignment(text: str) -> Layer:
    """Read `optim.steps=100` as the mapping `{optim: {steps: 100}}`; the value is YAML.

    >>> read_assignment("optim.lr=1e-3").value
    {'optim': {'lr': 0.001}}

    Raises:
        ConfigError: there is no `=`, no key, or the value is not YAML.
    """
    keys, equals, value = text.partition("=")
    names = keys.strip().split(".")
    name = f"--set {shortened(text)}"
    if not equals or not all(re.fullmatch(r"[\w-]+", name) for name in names):
        raise ConfigError(f"{name}: is not of the form key.path=value.")
    opening = "".join(f"{{{name}: " for name in names)
    layer = _parse(f"{opening}{value}{'}' * len(names)}", name, has_lines=False)
    inner = layer.value
    for _ in names:
        if len(inner) != 1:  # a comma in the value made two
            raise ConfigError(f"{name}: is more than one key; quote the value, or repeat --set.")
        (inner,) = inner.values()
    return layer


def _parse(text: str, name: str, has_lines: bool = True) -> Layer:
    try:
        loader = _Loader(text)
        tree = loader.get_single_node()
        if tree is None:
            return Layer(name, None, None, has_lines)
        _check_size(tree)
        return Layer(name, loader.construct_document(tree), tree, has_lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark and has_lines else name
        problem = shortened(error.problem, 200)
        if problem.startswith("but "):  # the first half of PyYAML's sentence is elsewhere
            problem = f"{error.context}, {problem}"
        raise ConfigError(f"{place}: {problem}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        place = f"{name}:{line}" if has_lines else name
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise ConfigError(f"{place}: holds the character U+{code:04X}, not allowed.") from error


def _check_size(tree: yaml.Node) -> None:
    """An alias stands for all that is behind it: a few lines can mean more than fits in memory."""
    sizes: dict[int, int] = {}

    def count(node: yaml.Node, above: frozenset[int]) -> int:
        if id(node) in above:
            raise _wrong(node, "holds an alias of itself")
        if id(node) not in sizes:
            inner = above | {id(node)}
            sizes[id(node)] = 1 + sum(count(child, inner) for child in _children(node))
        return sizes[id(node)]

    if count(tree, frozenset()) > _MOST_VALUES:
        raise _wrong(tree, f"{_TOO_MANY}, aliases written out")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def merge(below: Any, above: Layer) -> Any:
    """Lay a layer on values, key by key.

    In a file, a mapping with another `kind` replaces the whole mapping below it, as the keys of
    one kind mean nothing to another, and an empty mapping clears it. An assignment changes its one
    key.
    """
    return _merge(below, above.value, replaces=above.has_lines)


def _merge(below: Any, above: Any, replaces: bool) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    if replaces and not above:
        return above
    if replaces and "kind" in above and above["kind"] != below.get("kind"):
        return above
    merged = dict(below)
    for key, value in above.items():
        merged[key] = _merge(below[key], value, replaces) if key in below else value
    return merged
