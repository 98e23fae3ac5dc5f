"""`config.json` of a checkpoint: read and checked as far as anything looks into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from transferline.errors import DataError, shortened
from transferline.files import read_json

FORMAT = 1
_Values = dict[str, Any]


class _Pretraining(TypedDict, total=False):
    objective: _Values


class _Provenance(TypedDict, total=False):
    config: _Pretraining
    data: list[_Values]
    record: _Values
    task: _Values
    pretraining: _Values
    classes: list[str]
    fold: _Values | None


class _Seen(TypedDict):
    sha256: str | None
    parts: list[_Values]


class _Rest(TypedDict, total=False):
    selection: _Values | None
    provenance: _Provenance
    weights_sha256: str
    seen: _Seen | None


class _Stored(_Rest):
    model: _Values


_STORED = TypeAdapter(_Stored)


def read_config(file: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's `config.json`.

    Raises:
        DataError: it is missing or damaged, or its format is not known.
    """
    if not file.is_file():
        raise DataError(f"{file.parent}: is not a checkpoint ({file.name} is missing).")
    config = read_json(file)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else None
        raise DataError(
            f"{file}: format {shortened(repr(found))} is not {FORMAT}, the one this version reads."
        )
    try:
        _STORED.validate_python(config)
    except ValidationError as error:
        raise DataError(f"{file}: is damaged ({explained(error)}); copy it again.") from error
    return config


def explained(error: ValidationError) -> str:
    """Return the first problem of a validation on one short line."""
    first = error.errors(include_url=False)[0]
    keys = ".".join(shortened(step, 60) for step in first["loc"])
    text = shortened(first["msg"], 300)
    return f"{keys}: {text}" if keys else text
