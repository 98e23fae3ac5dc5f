"""A detector card that is wrong on purpose."""

from __future__ import annotations

from pathlib import Path

import yaml

from transferline.generate.card import load_card


def broken_card(folder: Path) -> str:
    """Write CMS's card with half of its b-tag efficiency, and jets 15 % too hard."""
    card = load_card("cms").model_dump(mode="json")
    card["btag"]["b"] = [[0.5 * p for p in row] for row in card["btag"]["b"]]
    card["jets"]["correction"] = [[1.15 * f for f in row] for row in card["jets"]["correction"]]
    path = folder / "broken.yaml"
    path.write_text(yaml.safe_dump(card))
    return str(path)
