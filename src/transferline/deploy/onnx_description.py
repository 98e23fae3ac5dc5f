"""What stands beside an ONNX file, and in it: inputs, outputs, selection, origin, checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferline.data.selections import Selection
from transferline.data.selections.working_points import jet_puid_bits
from transferline.deploy.model_selection import own_selection
from transferline.deploy.onnx_check import TOLERANCE, Difference
from transferline.deploy.onnx_graph import RawColumns
from transferline.deploy.particles import TRACKS, species_codes, takes_jets
from transferline.deploy.trained import checkpoint_directory, class_names
from transferline.errors import ConfigError
from transferline.files import file_hash
from transferline.models.checkpoint import Checkpoint
from transferline.provenance import commit, package_versions

if TYPE_CHECKING:
    import onnx

FORMAT = 1

_PACKAGES = ("transferline", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")
_P4 = [
    {"name": "pt", "unit": "GeV", "meaning": "transverse momentum"},
    {"name": "eta", "unit": "", "meaning": "pseudorapidity"},
    {"name": "phi", "unit": "rad", "meaning": "azimuth"},
    {"name": "mass", "unit": "GeV", "meaning": "mass"},
]
_P4_OF_EVENTS = {"eta": "pseudorapidity; 0 for MET", "mass": "0 for MET"}
_MEANING = {
    "is_real": ("", "true where a particle stands, false for padding, whose values do not matter"),
    "species": ("code", "kind of particle, see `species`"),
    "logits": ("", "outputs of the head, one per class"),
    "probability": ("", "softmax of the logits: the score of each class"),
    "pooled": ("", "embedding by the backbone"),
}
_OF_EVENTS = {
    "charge": ("e", "electric charge of electrons, muons and taus; 0 for jets and MET"),
    "btag": ("", "discriminant of the b-tagger for jets, 0 for all else"),
}
_OF_JETS = {"charge": ("e", "electric charge of the constituent"), **TRACKS}
_DTYPES = {"is_real": "bool", "species": "int64"}


def describe(
    checkpoint: Checkpoint, place: Path | str, module: RawColumns, graph: onnx.ModelProto
) -> dict[str, Any]:
    """Return all that a program needs to feed the graph and a person to trust it.

    Args:
        checkpoint: the model.
        place: where it was loaded from.
        module: what was traced.
        graph: what came out.
    """
    jets = takes_jets(checkpoint)
    return {
        "format": FORMAT,
        "inputs": [_input(name, jets) for name in module.inputs],
        "outputs": [_output(name, _size(name, checkpoint, module)) for name in module.outputs],
        "classes": class_names(checkpoint) if "logits" in module.outputs else [],
        "sets": "jets" if jets else "events",
        "species": species_codes(checkpoint),
        "order": _order(module, jets),
        "selection": _portable(checkpoint.selection),
        "working_points": _working_points(checkpoint.selection),
        "opset": graph.opset_import[0].version,
        "ir_version": graph.ir_version,
        "versions": package_versions(_PACKAGES),
        "commit": commit(),
        "model": checkpoint.recipe.to_dict(),
        "checkpoint": _origin(checkpoint, place),
    }


def _input(name: str, jets: bool) -> dict[str, Any]:
    if name == "p4":
        other = {} if jets else _P4_OF_EVENTS
        rows = [{**row, "meaning": other.get(row["name"], row["meaning"])} for row in _P4]
        return {"name": name, "dtype": "float32", "axes": ["n", "p", len(_P4)], "columns": rows}
    known = _MEANING | (_OF_JETS if jets else _OF_EVENTS | TRACKS)
    unit, meaning = known.get(name, ("", "particle column of the shards"))
    dtype = _DTYPES.get(name, "float32")
    return {"name": name, "dtype": dtype, "axes": ["n", "p"], "unit": unit, "meaning": meaning}


def _output(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "dtype": "float32", "axes": ["n", size], "meaning": _MEANING[name][1]}


def _size(name: str, checkpoint: Checkpoint, module: RawColumns) -> int:
    return module.model.backbone.width if name == "pooled" else checkpoint.recipe.n_outputs or 0


def _order(module: RawColumns, jets: bool) -> str:
    if module.model.backbone.permutation_equivariant:
        return "the order of the particles does not matter"
    if jets:
        return "constituents by falling pt"
    return "electrons and muons by falling pt, then taus, then jets, each by falling pt, then MET"


def _portable(resolved: dict[str, Any] | None) -> dict[str, Any] | None:
    """The selection without the place of a file on the machine that trained."""
    golden = (resolved or {}).get("golden_json")
    return {**(resolved or {}), "golden_json": Path(golden).name} if golden else resolved


def _working_points(resolved: dict[str, Any] | None) -> dict[str, Any]:
    """The numbers behind the names in the selection, for programs without our tables."""
    try:
        selection = own_selection(resolved, "", "")
    except ConfigError:  # none, or of another version
        return {}
    if not isinstance(selection, Selection):
        return {}
    pu_id = selection.jets.pu_id
    bits = None if pu_id is None else jet_puid_bits(selection.era, pu_id.working_point)
    return {"btag_min": selection.btag_cut, "pu_id_bits_min": bits}


def _origin(checkpoint: Checkpoint, place: Path | str) -> dict[str, Any]:
    """Where the weights come from; names of samples only, never paths or commands."""
    provenance = checkpoint.provenance
    task, record = provenance.get("task", {}), provenance.get("record", {})
    kept = ("task", "mode", "pretraining", "n_train", "seed", "metrics", "time")
    return {
        "weights_sha256": file_hash(checkpoint_directory(place) / "model.safetensors"),
        "card": _card(checkpoint.card),
        "record": {name: record[name] for name in kept if name in record},
        "samples": {
            role: [Path(name).name for name in task[role]]
            for role in ("signal", "background")
            if role in task
        },
    }


def _card(card: str) -> str:
    """The head of the card; the command that trained is full of paths of its machine."""
    head = card.partition("\n## ")[0].strip()
    return "\n".join(line for line in head.splitlines() if not line.startswith("- command: "))


def check_summary(differences: Sequence[Difference], source: str) -> dict[str, Any]:
    """Return the numbers of the comparison with torch."""
    done = [row for row in differences if row.largest is not None]
    names = list(done[0].largest or {})
    return {
        "reference": "transferline on torch, float32, CPU",
        "runtime": "ONNX Runtime, CPUExecutionProvider",
        "events": source,
        "tolerance": {name: TOLERANCE[name] for name in names},
        "largest": {name: max((row.largest or {})[name] for row in done) for name in names},
        "cases": [_row(row) for row in differences],
    }


def _row(row: Difference) -> dict[str, Any]:
    found = row.largest if row.largest is not None else "not possible with this graph"
    return {
        "case": row.name,
        "events": row.events,
        "particles": row.particles,
        "difference": found,
    }


def write_into(graph: onnx.ModelProto, description: dict[str, Any]) -> None:
    """Put the description into the file's metadata: plain texts, and JSON for all else."""
    for name, value in description.items():
        row = graph.metadata_props.add()
        row.key, row.value = name, value if isinstance(value, str) else json.dumps(value)
