"""What a pre-trained backbone is, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transferline.learning.training_log import validation_summary


def backbone_card(provenance: Mapping[str, Any]) -> str:
    """Return it as Markdown."""
    config, result = provenance["config"], provenance["result"]
    lines = [
        f"- {item['sample']}: {item['n_events']} events, selection `{item['selection']}` "
        f"(`{item['selection_hash'][:16]}`)"
        for item in provenance["data"]
    ]
    data = "\n".join(lines)
    classes = ", ".join(config.get("classes", {}))
    labels = f"events labelled as {classes}" if classes else "unlabelled events"
    parts = ", ".join(f"{part} {n:,}" for part, n in provenance["parameters"].items() if n)
    fold = provenance.get("fold")
    part = f" outside fold {fold['number']} of {fold['of']}" if fold else ""
    return f"""# A pre-trained backbone

- objective: `{config["objective"]["kind"]}`, backbone: `{config["backbone"]["kind"]}`
- parameters: {parts}; embedding and feature are what is transferred{untrained_text(provenance)}
- trained on {provenance["n_train"]} {labels}, {result["examples_seen"]} event passes,
  {result["cpu_seconds"]:.0f} CPU seconds; at step {result["best_step"]} in
  validation ({provenance["n_valid"]} other events): {validation_summary(provenance)}
- seed {config["seed"]}, transferline {provenance["versions"].get("transferline", "")},
  commit `{provenance["commit"] or "unknown"}`
- command: `{provenance["command"]}`

## Data

{data}

Events of these samples{part} were seen in pre-training; `seen.safetensors` lists them by hash. An
analysis that scores the same events again is not independent of it.
"""


def untrained_text(provenance: Mapping[str, Any]) -> str:
    """Return a line about weights that the objective gave no gradient; of none an empty text."""
    if not provenance.get("untrained"):
        return ""
    return (
        f"\n- {provenance['untrained']:,} weights of the backbone are as they began: the "
        "objective never reads through them, and a head would"
    )
