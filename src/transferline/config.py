"""Recipes: pydantic models spelled in strict YAML, with errors that name file, line and column."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    WrapSerializer,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from transferline.errors import ConfigError, did_you_mean
from transferline.files import json_hash
from transferline.registry import Registry

R = TypeVar("R", bound="Recipe")


class Recipe(BaseModel):
    """A frozen description of something to build or run; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Name the nearest known key in the error of an unknown one."""
        try:
            return handler(value)
        except ValidationError as error:
            details = [cls._detail(item) for item in error.errors()]
            raise ValidationError.from_exception_data(cls.__name__, details) from error

    @classmethod
    def _detail(cls, item: ErrorDetails) -> InitErrorDetails:
        text = item["msg"]
        if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
            text = f"unknown key.{did_you_mean(str(item['loc'][0]), cls.model_fields)}"
        problem = PydanticCustomError("invalid", "{text}", {"text": text})
        return InitErrorDetails(type=problem, loc=item["loc"], input=item["input"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values with every default spelled out (JSON types only)."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """Return the hash of the resolved recipe."""
        return json_hash(self.to_dict())


def one_of(registry: Registry[Any]) -> Any:
    """Return a field type whose value is a mapping with `kind: <a name in the registry>`.

    The class behind the name is imported only when a configuration mentions it.
    """

    def build(value: Any, _handler: Any) -> Any:
        if isinstance(value, Recipe):
            return value
        if not isinstance(value, dict) or "kind" not in value:
            raise PydanticCustomError(
                "kind",
                "needs a mapping with `kind:`, one of {names}",
                {"names": ", ".join(registry.names())},
            )
        try:
            cls = registry.load(str(value["kind"]))
        except ConfigError as error:
            raise PydanticCustomError("kind", "{text}", {"text": str(error)}) from error
        return cls.model_validate(value)

    def dump(value: Any, _handler: Any) -> Any:
        return value.to_dict() if isinstance(value, Recipe) else value

    return Annotated[Any, WrapValidator(build), WrapSerializer(dump)]


class _StrictLoader(yaml.SafeLoader):
    """YAML 1.1 without its traps: no duplicate keys, and `1e-3` is a number."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> Any:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key_node.value}' stands twice", key_node.start_mark
            )
        seen.add(key_node.value)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _locate(node: yaml.Node | None, path: tuple[int | str, ...]) -> yaml.Mark | None:
    """Walk `path` through the YAML tree; an unknown last key still gives its own mark."""
    mark = node.start_mark if node else None
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if str(step) not in pairs:
                break
            key, node = pairs[str(step)]
            mark = key.start_mark
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            mark = node.start_mark
        else:
            break
    return mark


def _describe(path: Path, tree: yaml.Node | None, error: ErrorDetails) -> str:
    mark = _locate(tree, error["loc"])
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    keys = ".".join(str(step) for step in error["loc"])
    return f"{place}: {keys}: {error['msg']}" if keys else f"{place}: {error['msg']}"


def _parse(path: Path) -> tuple[yaml.Node | None, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=_StrictLoader)
        value = yaml.load(text, Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{place}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML ({error}).") from error
    return tree, value


def _merge(base: Any, over: Any) -> Any:
    """Lay `over` on `base`, key by key; a mapping with another `kind` replaces the whole."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    if "kind" in over and over["kind"] != base.get("kind"):
        return over
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(base[key], value) if key in base else value
    return merged


def load_config(path: Path | str, recipe: type[R]) -> R:
    """Read a YAML file into `recipe`; a top-level `base: other.yaml` is laid below it.

    Raises:
        ConfigError: lists every problem as `file.yaml:line:column: key.path: what, and the
            nearest known key`.
    """
    path = Path(path)
    tree, value = _parse(path)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: holds no mapping of keys to values.")
    if "base" in value and "base" not in recipe.model_fields:
        base_path = path.parent / str(value.pop("base"))
        _, base = _parse(base_path)
        if isinstance(base, dict) and "base" in base:
            raise ConfigError(f"{base_path}: has a `base:` itself; one level is allowed.")
        value = _merge(base, value)
    try:
        return recipe.model_validate(value)
    except ValidationError as error:
        lines = [_describe(path, tree, detail) for detail in error.errors()]
        raise ConfigError("\n".join(lines)) from error
