"""What an item of the corpus is: bad input, the commands that take it, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .material import SELECTION, Good, write_yaml

Make = Callable[[Good, Path], Path]
"""Writes the bad input into an empty folder and returns the path that a user would give."""

Words = Callable[[Good, Path, Path], Sequence[object]]
"""The command line for (good material, path of the bad input, folder for the output)."""


@dataclass(frozen=True)
class Item:
    """One bad input.

    Attributes:
        category: such as "root"; `name` within it.
        make: see `Make`.
        commands: name -> see `Words`.
        says: pattern that the message must hold: the file, the branch, the line.
        codes: allowed exit codes.
        may_pass: exit code 0 is allowed, too; see `harness`.
        in_place: the command writes to the folder of the bad input, as it should.
    """

    category: str
    name: str
    make: Make
    commands: dict[str, Words]
    says: str = ""
    codes: tuple[int, ...] = (2, 3)
    may_pass: bool = False
    in_place: bool = False

    def but(self, **changes: Any) -> Item:
        """Return a copy with other fields."""
        return replace(self, **changes)


def inspect(_good: Good, bad: Path, _out: Path) -> Sequence[object]:
    return ["inspect", bad]


def prepare(_good: Good, bad: Path, out: Path) -> Sequence[object]:
    return ["prepare", bad, "--selection", SELECTION, "--out", out / "shards"]


def predict(good: Good, bad: Path, out: Path) -> Sequence[object]:
    """Score bad files with a good model."""
    return ["predict", good.trained, bad, "--out", out / "scores.root"]


def pretrain(good: Good, bad: Path, out: Path) -> Sequence[object]:
    """Pre-train on bad shards."""
    config = good.config("pretrain")
    config["data"]["files"] = [str(bad)]
    return ["pretrain", write_yaml(out.parent / "pretrain.yaml", config), "--out", out / "pre"]


def transfer(good: Good, bad: Path, out: Path) -> Sequence[object]:
    """Transfer with bad shards as signal."""
    config = good.config("transfer")
    config["task"]["signal"] = [str(bad)]
    path = write_yaml(out.parent / "transfer.yaml", config)
    return transfer_words(good.checkpoint, path, out)


def transfer_words(checkpoint: object, config: Path, out: Path) -> Sequence[object]:
    words = ["transfer", checkpoint, config, "--mode", "finetuned", "--n-train", 40]
    return [*words, "--out", out / "run"]


def from_checkpoint(good: Good, bad: Path, out: Path) -> Sequence[object]:
    """Transfer from a bad checkpoint."""
    return transfer_words(bad, good.folder / "transfer.yaml", out)


def study_from_checkpoint(good: Good, bad: Path, out: Path) -> Sequence[object]:
    config = good.config("study")
    config["pretrain"]["given"]["checkpoint"] = str(bad)
    config["grid"]["modes"] = ["frozen"]
    config["frozen"] = config["finetuned"] = {"optim": {"steps": 2, "batch_size": 32}}
    return ["study", write_yaml(out.parent / "study.yaml", config), "--out", out / "study"]
