"""Which files of scores an earlier, interrupted call has finished already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transferline.data.cutflow import Cutflow
from transferline.data.readers.base import Reader
from transferline.deploy.friend import read_provenance
from transferline.deploy.inputs import Input
from transferline.deploy.outputs import Counts, Output
from transferline.errors import ConfigError, DataError
from transferline.files import json_hash

_REVISION = 1
"""Part of every digest; raised when the same settings would give other scores."""


def digest(file: Input, facts: Mapping[str, Any], reader: Reader) -> str:
    """Return the hash of all that decides the scores of one input.

    Args:
        file: the input; it counts by name, size and time of its last change.
        facts: `prediction_card.model_facts`.
        reader: with its options, its files aside.
    """
    model, golden = facts["model"], facts["golden_json_sha256"]
    return json_hash(
        {
            "revision": _REVISION,
            "version": facts["versions"].get("transferline"),
            "weights": model["sha256"],
            "recipes": model["recipe_sha256"],  # equal weights are not one network
            "folds": model["folds"],
            "classes": model["classes"],
            "columns": list(facts["columns"]),
            "selection": {**facts["selection"], "golden_json": golden},
            "reader": {**reader.content(), "files": []},
            "file": file.source.stamp,
        }
    )


def finished(outputs: Sequence[Output], digests: Mapping[str, str]) -> list[Output]:
    """Return the outputs, those that exist with what their files tell of themselves.

    Args:
        outputs: of one input each.
        digests: stored name of an input -> `digest`.

    Raises:
        ConfigError: a file exists that was made with another model, input or option, or is not
            ours.
    """
    return [_restored(o, digests) if o.path.exists() else o for o in outputs]


def _restored(output: Output, digests: Mapping[str, str]) -> Output:
    name = output.inputs[0].source.path
    refusal = ConfigError(
        f"{output.path}: exists, and was made with another model, input or option. Choose another "
        "--out, or give --overwrite."
    )
    try:
        told = read_provenance(output.path)
        [row] = told["inputs"]
        if row["digest"] != digests[name]:
            raise refusal
        counts = {name: Counts.from_dict(row)}
        cutflow = Cutflow.from_list(told["cutflow"])
    except (DataError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise refusal from error  # whatever it is, it is not the file that would be written
    return Output(output.path, output.inputs, counts, cutflow, kept=True)
