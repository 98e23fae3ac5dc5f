"""The card of a prediction: which models scored which files, and whether they had seen them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transferline.data.cutflow import Cutflow
from transferline.data.selections import AnySelection, JetSelection
from transferline.deploy.friend import TREE
from transferline.deploy.inputs import Input
from transferline.deploy.outputs import Counts
from transferline.deploy.scoring import Predictor
from transferline.deploy.trained import TrainedModels
from transferline.files import file_hash, write_json, write_text
from transferline.provenance import run_facts


def model_facts(
    place: Path | str, models: TrainedModels, selection: AnySelection, predictor: Predictor
) -> dict[str, Any]:
    """Return what is known before the first event."""
    sets = "jets" if isinstance(selection, JetSelection) else "events"
    made = models.checkpoints[0].provenance
    record = made.get("record", {})
    golden = selection.golden_json
    return {
        "kind": "transferline predict",
        "tree": TREE,
        "sets": sets,
        "columns": _columns(predictor, _IDENTITY[sets]),
        "model": {
            "place": str(place),
            "folds": len(models.folds) or None,
            "sha256": [checkpoint.sha256 for checkpoint in models.checkpoints],
            "recipe_sha256": [checkpoint.recipe.digest() for checkpoint in models.checkpoints],
            "classes": list(predictor.classes),
            **{name: record.get(name) for name in ("task", "mode", "n_train", "seed")},
        },
        "selection": selection.to_dict(),
        "selection_sha256": selection.digest(),
        "golden_json_sha256": file_hash(Path(golden))
        if golden and Path(golden).is_file()
        else None,
        **run_facts(),
    }


_IDENTITY = {
    "events": dict.fromkeys(("run", "luminosityBlock", "event"), "as in Events"),
    "jets": {
        "run": "of the jet's event; 0 where the files name no events",
        "luminosityBlock": "of the jet's event; 0 where the files name no events",
        "event": "of the jet's event; a hash of its content where the files name no events",
    },
}


def _columns(predictor: Predictor, identity: Mapping[str, str]) -> dict[str, str]:
    by = "by the model of its fold" if predictor.folds else "by the model"
    known = {
        **identity,
        "selected": "passes the selection; only such rows are scored",
        "fold": "number of the fold, whose model has not seen the event",
        "embedding": f"pooled embedding, given {by}",
    }
    scores = {
        name: f"probability of class '{predictor.classes[i]}', given {by}; NaN where not selected "
        "or not finite"
        for name, i in predictor.score_columns().items()
    }
    return {name: known.get(name) or scores[name] for name in predictor.empty()}


def file_facts(file: Input, counts: Counts, digest: str) -> dict[str, Any]:
    """Return the row of one input file; `digest` is that of all that decides its scores."""
    told = file.source.to_dict()
    names = ("path", "format", "entries", "is_simulation", "size", "missing")
    return {**{name: told[name] for name in names}, **counts.to_dict(), "digest": digest}


def write_cards(card: Mapping[str, Any], path: Path) -> None:
    """Write the card as Markdown to `path`, and as JSON beside it."""
    write_json(path.with_suffix(".json"), card)
    write_text(path, card_markdown(card))


def card_markdown(card: Mapping[str, Any]) -> str:
    """Return the card for people."""
    model, selection = card["model"], card["selection"]
    what = "jets" if card["sets"] == "jets" else "entries"
    folds = f"{model['folds']} models, one per fold" if model["folds"] else "one model"
    lines = [
        "# Scores",
        "",
        f"{card['rows']:,} {what}, {card['selected']:,} of them selected, "
        f"{card['scored']:,} scored.",
        *_unusable(card),
        "",
        f"**Independence:** {card['independence']['verdict']}.",
        "",
        f"- model: `{model['place']}`, {folds}; task {model['task']}, mode {model['mode']}, "
        f"{model['n_train']} labelled events each",
        f"- weights (SHA-256): {', '.join(f'`{value[:16]}`' for value in model['sha256'])}",
        f"- selection: `{selection['name']}` (`{card['selection_sha256'][:16]}`)",
        f"- certified blocks: {_certified(card)}",
        f"- transferline {card['versions'].get('transferline', '')}, commit "
        f"`{card['commit'] or 'unknown'}`, {card['time']}",
        f"- command: `{card['command']}`",
        "",
        "## Columns",
        "",
        *(f"- `{name}`: {what}" for name, what in card["columns"].items()),
        "",
        "## Files",
        "",
        f"| file | format | {what} | selected | scored | independence |",
        "|---|---|---|---|---|---|",
        *(
            f"| {Path(row['path']).name} | {row['format']} | {row['rows']:,} "
            f"| {row['selected']:,} | {row['scored']:,} | {row['independence']['verdict']} |"
            for row in card["inputs"]
        ),
        *(f"\nLeft out: {reason}" for reason in card["skipped"].values()),
        "",
        "## Cut-flow",
        "",
        "```",
        Cutflow.from_list(card["cutflow"]).render(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _certified(card: Mapping[str, Any]) -> str:
    """Name the golden JSON, and say where it was left aside: simulation has no blocks."""
    golden = card["selection"]["golden_json"]
    if golden and all(row["is_simulation"] for row in card["inputs"]):
        return f"{golden}, not applied: the files are simulation"
    return golden or "none"


def _unusable(card: Mapping[str, Any]) -> Iterator[str]:
    if card["unusable"]:
        files = ", ".join(
            f"{row['unusable']:,} of {Path(row['path']).name}"
            for row in card["inputs"]
            if row["unusable"]
        )
        yield ""
        yield f"**Not usable:** entries that hold numbers which are not finite, score NaN: {files}."
