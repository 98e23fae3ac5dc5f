"""What a Record says of the pre-training that its weights come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transferline.files import json_hash, resolved
from transferline.learning.source_costs import cost_facts
from transferline.learning.training_log import validation_numbers

_OTHER = ("n_train", "data", "classes")  # sizes, and paths: events are told by their hashes


def source_facts(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is added to a Record, from the provenance of a checkpoint.

    `pretext` holds loss and accuracy in validation at the weights that were kept; `pretraining`
    the number of events, the losses of the training, `family`, a hash that pre-trainings share
    which differ in the number of events alone, or in which events had which label; `labelled`, a
    hash of the latter; and what it cost: event passes, CPU seconds, and how many of the events had
    labels. What a checkpoint does not tell is left out.
    """
    facts: dict[str, Any] = {}
    if known := validation_numbers(provenance):
        facts["pretext"] = known
    config = provenance.get("config")
    if isinstance(config, dict) and "n_train" in provenance:
        rest = {name: value for name, value in config.items() if name not in _OTHER}
        events = [card.get("content_hash") for card in provenance.get("data", [])]
        family = {**rest, "events": events, "classes": sorted(config.get("classes", {}))}
        facts["pretraining"] = {"events": provenance["n_train"], "family": json_hash(family)[:16]}
        # Beside the family, not in it: Records made before it was told keep theirs.
        if classes := _classes(config, events):
            facts["pretraining"]["labelled"] = json_hash(classes)[:16]
        if losses := provenance.get("losses"):
            facts["pretraining"]["losses"] = losses
        facts["pretraining"] |= cost_facts(provenance)
    return facts


def _classes(config: Mapping[str, Any], events: Sequence[Any]) -> dict[str, list[str]]:
    """Return class -> hashes of its events."""
    files = (config.get("data") or {}).get("files") or []
    known = {str(resolved(file)): card for file, card in zip(files, events, strict=False)}
    return {
        name: sorted(str(known.get(str(resolved(file)))) for file in own)
        for name, own in config.get("classes", {}).items()
    }
