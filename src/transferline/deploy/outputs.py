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

COUNTED = ("rows", "selected", "scored", "unusable")


@dataclass
class Counts:
    """What was found in one input file.

    Attributes:
        rows: its entries, or the jets in them.
        selected: rows that pass the selection; `scored` of them have scores.
        unusable: rows that cannot be scored because of what they hold, selected or not.
        tally: what the models had seen of those that were scored.
    """

    rows: int = 0
    selected: int = 0
    scored: int = 0
    unusable: int = 0
    tally: Tally = field(default_factory=Tally)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        numbers = {name: getattr(self, name) for name in COUNTED}
        return {**numbers, "independence": self.tally.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Undo `to_dict`."""
        numbers = {name: int(value[name]) for name in COUNTED}
        return cls(**numbers, tally=Tally.from_dict(value["independence"]))


@dataclass
class Output:
    """One file of scores and what went into it.

    Its card stands beside it under the file's whole name, so that no other one's can take its
    place.

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

    @property
    def card(self) -> Path:
        """The card for people; the JSON stands beside it."""
        return self.path.with_name(f"{self.path.name}.card.md")


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


def chosen_format(out: Path, file_format: str | None) -> str:
    """Return the format of the files: what `out` ends in, or `file_format`, in a directory.

    Raises:
        ConfigError: the format is unknown, or `out` ends in another one.
    """
    if file_format not in (None, *FORMATS):
        raise ConfigError(f"--format {file_format}: is neither root nor parquet.")
    if not is_one_file(out):
        return file_format or FORMATS[0]
    ending = out.suffix.removeprefix(".")
    if file_format not in (None, ending):
        raise ConfigError(
            f"--out {out}: ends in .{ending}, which --format {file_format} contradicts. Leave one "
            "out: --format is for a directory."
        )
    return ending


def plan_outputs(out: Path, inputs: Inputs, file_format: str) -> list[Output]:
    """Return one output for all inputs, or `out/<input>.scores.<format>` for each.

    Raises:
        ConfigError: two inputs have one name.
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
