"""What a pre-training cost, by the provenance of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def cost_facts(provenance: Mapping[str, Any]) -> dict[str, float]:
    """Return event passes, CPU seconds and labelled events of a pre-training, if it tells them.

    What it began with and was made with is added, as far as that was told.
    """
    result = provenance.get("result")
    if not isinstance(result, dict) or not {"examples_seen", "cpu_seconds"} <= set(result):
        return {}
    config = provenance.get("config") or {}
    # Older checkpoints do not tell; all of their events had labels where any had.
    all_or_none = provenance.get("n_train", 0) if config.get("classes") else 0
    own = {
        "passes": result["examples_seen"],
        "cpu_seconds": result["cpu_seconds"],
        "labels": provenance.get("n_labelled", all_or_none),
    }
    others = [made.get("cost") or {} for made in (provenance.get("ingredients") or {}).values()]
    return {name: value + sum(one.get(name, 0) for one in others) for name, value in own.items()}
