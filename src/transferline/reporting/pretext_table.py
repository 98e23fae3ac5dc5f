"""What the validation of each pre-training logged: how well its own task was learnt.

Of `replaced_object` the table shows, beside the accuracy of the network, that of counting alone
(`transferline.learning.objectives.counting`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from transferline.evaluation.records import Record
from transferline.learning.source_costs import cost_facts
from transferline.reporting.style import words
from transferline.reporting.table import Table

_COST = {"passes", "cpu_seconds", "labels"}
_NOTE = (
    "At the weights that were kept. Counting: the best guess from the numbers of objects of each "
    "type that can be told of what is left, or from their number alone; a network that gets no "
    "more has learnt to count."
)


def pretext_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a row per pre-training: name -> what its validation logged, `loss` among it."""
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    rows = [
        (words(pretraining), *(_cell(values.get(name)) for name in names))
        for pretraining, values in found.items()
        if values
    ]
    note = _NOTE if any("counting" in name for name in names) else ""
    header = ("Pre-training", *(words(name) for name in names))
    return Table("The task of the pre-training, in validation", header, tuple(rows), note)


def cost_of_pretrainings(found: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a row per pre-training: name -> `passes`, `cpu_seconds`, `labels`."""
    rows = [
        (
            words(name),
            f"{cost['passes']:,.0f}",
            f"{cost['labels']:,.0f}",
            f"{cost['cpu_seconds'] / 3600:.2f}",
        )
        for name, cost in found.items()
        if set(cost) >= _COST
    ]
    header = ("Pre-training", "Event passes", "Labels", "CPU hours")
    note = (
        "Events whose class a pre-training was told count as labels, on top of those of the task."
    )
    return Table("Cost of the pre-trainings", header, tuple(rows), note)


def costs_of_records(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return what Records know of the cost of their pre-trainings."""
    return _told(records, "pretraining")


def cost_of_checkpoint(config: Any) -> dict[str, float]:
    """Return the same from the `config.json` of a checkpoint; empty if it is damaged or older."""
    made = config.get("provenance") if isinstance(config, dict) else None
    return _numbers(cost_facts(made)) if isinstance(made, dict) else {}


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def of_records(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return what Records know of their pre-trainings, those that say nothing left out."""
    return _told(records, "pretext")


def _told(records: Sequence[Record], what: str) -> dict[str, dict[str, float]]:
    # Scratch runs bear the name of the pre-training that they are compared with, and tell nothing.
    found = {r.pretraining: values for r in records if (values := _numbers(r.extra.get(what)))}
    return dict(sorted(found.items()))


def of_checkpoint(config: Any) -> dict[str, float]:
    """Return the same from the `config.json` of a checkpoint; empty if it is damaged or older."""
    made = config.get("provenance") if isinstance(config, dict) else None
    if not isinstance(made, dict):
        return {}
    result, logged = made.get("result"), made.get("validation")
    loss = result.get("best_loss") if isinstance(result, dict) else None
    return _numbers({"loss": loss, **(logged if isinstance(logged, dict) else {})})


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        return {}
    numbers = {name: v for name, v in values.items() if isinstance(v, int | float)}
    return {str(name): float(v) for name, v in numbers.items() if math.isfinite(v)}
