"""Which files of scores are written, and what is counted for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from transferline.data.cutflow import Cutflow
from transferline.data.readers.addresses import is_url
from transferline.deploy.inputs import Input, Inputs
from transferline.errors import ConfigError
from transferline.files import resolved
from transferline.learning.independence import Tally


@dataclass
class Counts:
    """What was found in one input file.

    Attributes:
        selected: entries that pass the selection; `scored` of them have scores.
        unusable: entries that cannot be scored because of what they hold, selected or not.
        tally: what the models had seen of those that were scored.
    """

    selected: int = 0
    scored: int = 0
    unusable: int = 0
    tally: Tally = field(default_factory=Tally)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        numbers = {"selected": self.selected, "scored": self.scored, "unusable": self.unusable}
        return {**numbers, "independence": self.tally.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Undo `to_dict`."""
        numbers = {name: int(value[name]) for name in ("selected", "scored", "unusable")}
        return cls(**numbers, tally=Tally.from_dict(value["independence"]))


@dataclass
class Output:
    """One file of scores and what went into it.

    Attributes:
        path: of the file.
        inputs: whose entries it holds, in order.
        counts: stored name of an input -> what was found in it.
        cutflow: of all inputs.
        kept: it was finished by an earlier call.
    """

    path: Path
    inputs: list[Input]
    counts: dict[str, Counts] = field(default_factory=dict)
    cutflow: Cutflow = field(default_factory=Cutflow)
    kept: bool = False


_ENDINGS = (".root", ".parquet")
FORMATS = ("root", "parquet")


def is_one_file(out: Path) -> bool:
    """Tell whether `out` names one file of scores, or a directory for one per input.

    Raises:
        ConfigError: it looks like a file of another format.
    """
    if out.is_dir() or not out.suffix:
        return False
    if out.suffix not in _ENDINGS:
        raise ConfigError(
            f"--out {out}: a file of scores ends in {' or '.join(_ENDINGS)}; a name without an "
            "ending is a directory."
        )
    return True


def plan_outputs(out: Path, inputs: Inputs, file_format: str) -> list[Output]:
    """Return one output for all inputs, or `out/<input>.scores.<format>` for each.

    Raises:
        ConfigError: the format is unknown, or two inputs have one name.
    """
    if is_one_file(out):
        return [Output(out, list(inputs.files))]
    found = [
        Output(out / f"{Path(file.source.path).stem}.scores.{file_format}", [file])
        for file in inputs.files
    ]
    for path, n in Counter(output.path for output in found).items():
        if n > 1:
            same = [o.inputs[0].source.path for o in found if o.path == path]
            raise ConfigError(f"{', '.join(same)}: would share {path}. Score them apart.")
    return found


def check_free(targets: Sequence[Path], overwrite: bool) -> None:
    """Refuse to replace what is there.

    Raises:
        ConfigError: a file exists, without `overwrite`.
    """
    for target in targets:
        if target.exists() and not overwrite:
            raise ConfigError(f"{target}: exists. Choose another --out, or give --overwrite.")


def check_not_read(targets: Sequence[Path], inputs: Inputs) -> None:
    """Refuse to replace an input.

    Raises:
        ConfigError: an output is an input file.
    """
    read = {resolved(file.address) for file in inputs.files if not is_url(file.address)}
    for target in targets:
        if resolved(target) in read:
            raise ConfigError(f"{target}: is an input file. Choose another --out.")
