"""Good input of every kind, small, made by the commands themselves: what is spoilt afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import uproot
import yaml

from transferline.data.selections import selection
from transferline.generate.card import load_card

from ..generate.drell_yan_lhe import write_lhe
from ..learning.event_shards import write_nanoaod
from .harness import command

EVENTS = 160
SELECTION = "l1_j4_b1"
_UNUSED = ("nTau", "Flag_", "HLT_Ele", "HLT_IsoTk", "nElectron", "nMuon", "nJet")


def must(*words: object) -> None:
    """Run a command that has to succeed."""
    outcome = command(words)
    assert outcome.code == 0, outcome.err


@dataclass(frozen=True)
class Good:
    """Paths of the good files below `folder`."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "a.root"

    @property
    def shards(self) -> Path:
        return self.folder / "a"

    @property
    def other_shards(self) -> Path:
        return self.folder / "b"

    @property
    def unlabelled(self) -> Path:
        """Shards for the pre-training: no model may be measured on what it has seen."""
        return self.folder / "c"

    @property
    def checkpoint(self) -> Path:
        """A pre-trained backbone."""
        return self.folder / "pre"

    @property
    def trained(self) -> Path:
        """A model with a head, adapted to the task."""
        return self.folder / "run" / "checkpoint"

    @property
    def records(self) -> Path:
        return self.folder / "run" / "records.jsonl"

    @property
    def study(self) -> Path:
        return self.folder / "study"

    @property
    def lhe(self) -> Path:
        return self.folder / "dy.lhe"

    @cached_property
    def branches(self) -> dict[str, ak.Array]:
        """The branches of the tree `Events` that the selection needs; fewer are written faster."""
        with uproot.open(self.root) as file:
            tree = file["Events"]
            names = [name for name in tree.keys() if not name.startswith(_UNUSED)]  # noqa: SIM118
            return {name: tree[name].array() for name in names}

    def config(self, kind: str) -> dict[str, Any]:
        """A configuration of each kind that a command takes."""
        return json.loads(json.dumps(self._configs()[kind]))  # a copy to change

    def _configs(self) -> dict[str, Any]:
        network = {"optim": {"steps": 4, "batch_size": 32}}
        task = {"kind": "event_classification", "name": "b_or_a", "test_share": 0.4}
        task |= {"signal": [str(self.other_shards)], "background": [str(self.shards)]}
        named = {**task, "signal": ["b"], "background": ["a"]}
        samples = {"a": {"shards": str(self.shards)}, "b": {"shards": str(self.other_shards)}}
        return {
            "pretrain": {
                "data": {"kind": "shards", "files": [str(self.unlabelled)]},
                "features": {"particles": ["log_pt", "eta"]},
                "backbone": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
                "objective": {"kind": "masked_type"},
                "optim": {"steps": 4, "batch_size": 32, "lr": 1e-3},
                "seed": 1,
            },
            "transfer": {
                "task": task,
                "finetuned": network,
                "trees": {"leaves": [3], "rounds": 5},
            },
            "study": {
                "name": "small",
                "title": "b or a",
                "scale": "smoke",
                "samples": samples,
                "pretrain": {"given": {"checkpoint": str(self.checkpoint)}},
                "task": named,
                "grid": {"modes": ["trees"], "n_train": [40], "seeds": 1},
                "trees": {"leaves": [3], "rounds": 5},
            },
            "claims": {
                "claims": [
                    {
                        "kind": "better_than",
                        "text": "Fine-tuning beats trees.",
                        "task": "b_or_a",
                        "line": {"mode": "finetuned"},
                        "other": {"mode": "trees"},
                        "n_train": 40,
                    }
                ]
            },
            "selection": selection(SELECTION).to_dict(),
            "detector": load_card("cms").to_dict(),
        }


def write_yaml(path: Path, value: Any) -> Path:
    """Write a configuration."""
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    return path


def make_good(folder: Path) -> Good:
    """Make all of it, with the commands that a user types."""
    good = Good(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed, hardness in (("a", 1, 1.0), ("b", 2, 2.0), ("c", 3, 1.5)):
        write_nanoaod(folder / f"{name}.root", EVENTS, seed, hardness)
        words = ["prepare", folder / f"{name}.root", "--selection", SELECTION, "--sample", name]
        must(*words, "--out", folder / name)
    for kind in ("pretrain", "transfer", "study", "claims", "selection", "detector"):
        write_yaml(folder / f"{kind}.yaml", good.config(kind))
    must("pretrain", folder / "pretrain.yaml", "--out", good.checkpoint)
    for mode, start in (("trees", "none"), ("finetuned", good.checkpoint)):
        words = ["transfer", start, folder / "transfer.yaml", "--mode", mode, "--n-train", 40]
        must(*words, "--out", folder / "run", "--overwrite")
    must("study", folder / "study.yaml", "--out", good.study)
    write_lhe(good.lhe, [2.0, -1.0, 2.0])
    return good
