"""Recipes: pydantic models spelled in strict YAML, with errors that name file, line and column."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    WrapSerializer,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from transferline.errors import ConfigError, did_you_mean, shortened
from transferline.files import json_hash
from transferline.registry import Registry
from transferline.strict_yaml import Layer, merge, read_assignment, read_yaml

R = TypeVar("R", bound="Recipe")

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What every generator of random numbers takes."""

_SHOWN = 10  # problems of one configuration that are told at once


class Recipe(BaseModel):
    """A frozen description of something to build or run; unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Name the nearest known key in the error of an unknown one."""
        try:
            return handler(value)
        except ValidationError as error:
            items = error.errors(include_url=False)
            # Looking for near names takes long, and more hints than are shown help nobody.
            details = [cls._detail(item, hint=i < _SHOWN) for i, item in enumerate(items)]
            raise ValidationError.from_exception_data(cls.__name__, details) from error

    @classmethod
    def _detail(cls, item: ErrorDetails, hint: bool) -> InitErrorDetails:
        text = shortened(item["msg"].removeprefix("Value error, "), 600)
        if hint and item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
            text = f"unknown key.{did_you_mean(str(item['loc'][0]), cls.model_fields)}"
        problem = PydanticCustomError("invalid", "{text}", {"text": text})
        return InitErrorDetails(type=problem, loc=item["loc"], input=item["input"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values with every default spelled out but those of `added` fields."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """Return the hash of the resolved recipe."""
        return json_hash(self.to_dict())


def added(default: Any, **constraints: Any) -> Any:
    """Return the Field of a setting that a later version added.

    At its default, which does what was done before, it is left out of `Recipe.to_dict`: digests
    stay what they were, so that finished samples, pre-trainings and runs are found again.
    """
    return Field(default, exclude_if=lambda value: bool(value == default), **constraints)


def one_of(registry: Registry[Any]) -> Any:
    """Return a field type whose value is a mapping with `kind: <a name in the registry>`.

    The class behind the name is imported only when a configuration mentions it.
    """

    def build(value: Any, _handler: Any) -> Any:
        if isinstance(value, Recipe):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise PydanticCustomError(
                "kind",
                "needs a mapping with `kind:`, one of {names}",
                {"names": ", ".join(registry.names())},
            )
        try:
            cls = registry.load(value["kind"])
        except ConfigError as error:
            raise PydanticCustomError("kind", "{text}", {"text": str(error)}) from error
        return cls.model_validate(value)

    def dump(value: Any, _handler: Any) -> Any:
        return value.to_dict() if isinstance(value, Recipe) else value

    return Annotated[Any, WrapValidator(build), WrapSerializer(dump)]


def load_config(path: Path | str, recipe: type[R], assignments: Sequence[str] = ()) -> R:
    """Read a YAML file into `recipe`; a top-level `base: other.yaml` is laid below it.

    Args:
        path: the file.
        recipe: what it describes.
        assignments: such as `optim.steps=100`, laid above the file in this order.

    Raises:
        ConfigError: lists every problem as `file.yaml:line:column: key.path: what, and the
            nearest known key`.
    """
    file = read_yaml(Path(path))
    if not isinstance(file.value, dict):
        raise ConfigError(f"{path}: holds no mapping of keys to values.")
    layers = [*_base(file, Path(path), recipe), file, *map(read_assignment, assignments)]
    try:
        return recipe.model_validate(reduce(merge, layers, {}))
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [_describe(file, layers, detail) for detail in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"{path}: and {len(problems) - _SHOWN} more problems.")
        raise ConfigError("\n".join(lines)) from error


def _base(file: Layer, path: Path, recipe: type[Recipe]) -> list[Layer]:
    if "base" not in file.value or "base" in recipe.model_fields:
        return []
    name = file.value.pop("base")
    if not isinstance(name, str):
        raise ConfigError(f"{file.place(['base'])}: base: must be the name of one YAML file.")
    try:
        base = read_yaml(path.parent / name)
    except ConfigError as error:
        raise ConfigError(f"{file.place(['base'])}: base: {error}") from error
    if not isinstance(base.value, dict):
        raise ConfigError(f"{base.name}: holds no mapping of keys to values.")
    if "base" in base.value:
        raise ConfigError(f"{base.name}: has a `base:` itself; one level is allowed.")
    return [base]


def _describe(file: Layer, layers: Sequence[Layer], error: ErrorDetails) -> str:
    """Blame the topmost of the layers that hold most of the key's path, else the file."""
    path = error["loc"]
    guilty = max(reversed(layers), key=lambda layer: layer.depth(path))
    place = (guilty if guilty.depth(path) else file).place(path)
    keys = ".".join(shortened(step) for step in path)
    return f"{place}: {keys}: {error['msg']}" if keys else f"{place}: {error['msg']}"
