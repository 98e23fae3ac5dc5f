"""Stored: a directory of plain tensors, recipe and card that loads exactly, or raises.

`model.safetensors` (loading runs no code from it), `config.json` (recipe, provenance), `card.md`
(for people), and `seen.safetensors`: the hashes of the events it was made from.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from transferline.config import Recipe
from transferline.errors import DataError, shortened
from transferline.files import atomic_path, file_hash, write_json, write_text
from transferline.models.seen import Seen
from transferline.models.stored_config import FORMAT, explained, read_config

R = TypeVar("R", bound=Recipe)

_SHOWN = 10  # tensors named in an error
_WEIGHTS, _CARD = "model.safetensors", "card.md"
MADE_OF = "made_of"
"""In the provenance, the hash of all that decided a training."""

CONFIG = "config.json"
"""With this file a directory holds a whole checkpoint: it is written when all else is there."""
_SEEN = "seen.safetensors"


@dataclass(frozen=True)
class Stored(Generic[R]):
    """Recipe, tensors and everything that must travel with them.

    Attributes:
        recipe: what to build.
        tensors: its state, name -> tensor.
        selection: the resolved selection its events passed, see `common_selection`, or None.
        provenance: data, objective, seed, versions, commit, command, hashes.
        card: Markdown for people.
        seen: the events it was made from; None in checkpoints that do not list them.
        place: where it was read from, for messages.
    """

    recipe_type: ClassVar[type[Recipe]]

    recipe: R
    tensors: Mapping[str, Tensor]
    selection: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    seen: Seen | None = None
    place: str = field(default="the checkpoint", compare=False, repr=False)

    @classmethod
    def of(cls, module: nn.Module, recipe: R, **rest: Any) -> Self:
        """Take the present weights of `module`."""
        state = {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
        return cls(recipe=recipe, tensors=state, **rest)

    def save(self, path: Path | str) -> Path:
        """Write the files into the directory `path`, the configuration last.

        The configuration holds the hashes of weights and lists, so a checkpoint of which only
        some files were replaced does not load.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        with atomic_path(path / _WEIGHTS) as temporary:
            save_file(self._contiguous(), temporary)
        (path / _SEEN).unlink(missing_ok=True)
        if self.seen is not None:
            _write_lists(path / _SEEN, self.seen)
        write_text(path / _CARD, self.card)
        write_json(path / CONFIG, self._config(path / _WEIGHTS))
        return path

    def _contiguous(self) -> dict[str, Tensor]:
        return {name: tensor.contiguous() for name, tensor in self.tensors.items()}

    def _config(self, weights: Path) -> dict[str, Any]:
        config: dict[str, Any] = {
            "format": FORMAT,
            "model": self.recipe.to_dict(),
            "selection": self.selection,
            "provenance": self.provenance,
            "weights_sha256": file_hash(weights),
        }
        if self.seen is not None:
            lists = weights.with_name(_SEEN)
            sha256 = file_hash(lists) if lists.exists() else None
            config["seen"] = {"sha256": sha256, "parts": self.seen.describe()}
        return config

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a checkpoint directory.

        Raises:
            DataError: a file is missing or damaged, bytes changed, or the format is unknown.
        """
        path = Path(path)
        config = read_config(path / CONFIG)
        tensors = _read_tensors(path / _WEIGHTS, config)
        try:
            recipe = cls.recipe_type.model_validate(config["model"])
        except ValidationError as error:
            raise DataError(
                f"{path / CONFIG}: the model recipe is not usable ({explained(error)})."
            ) from error
        card = path / _CARD
        return cls(
            recipe=recipe,  # type: ignore[arg-type]  # `recipe_type` is R
            tensors=tensors,
            selection=config.get("selection"),
            provenance=config.get("provenance", {}),
            card=card.read_text(encoding="utf-8", errors="replace") if card.exists() else "",
            place=str(path),
            seen=_read_seen(path / _SEEN, config["seen"]) if config.get("seen") else None,
        )

    @classmethod
    def is_made_of(cls, path: Path, digest: str) -> bool:
        """Tell whether the checkpoint in a directory, if there is one, is of this training.

        Raises:
            DataError: there is one, and it is damaged.
        """
        if not (path / CONFIG).exists():
            return False
        return bool(cls.load(path).provenance.get(MADE_OF) == digest)

    @property
    def sha256(self) -> str:
        """Hash of the bytes of `model.safetensors`, as `sha256sum` gives it."""
        return hashlib.sha256(save(self._contiguous())).hexdigest()


def load_exactly(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    fresh: Sequence[str] = (),
    unused: Sequence[str] = (),
    place: str = "the checkpoint",
) -> None:
    """Copy `tensors` into `module`; every mismatch must be named or it raises.

    Args:
        module: what to fill.
        tensors: name -> value.
        fresh: patterns of the module's tensors that keep their present values.
        unused: patterns of given tensors that may be left over.
        place: begins the message of the error.

    Raises:
        DataError: lists the tensors that are missing, left over, or of another shape or type.
    """
    state = module.state_dict()
    wanted = {name for name in state if not _matches(name, fresh)}
    given = {name for name in tensors if name in wanted or not _matches(name, unused)}
    problems = [f"missing: {name}" for name in sorted(wanted - given)]
    problems += [f"not part of the model: {name}" for name in sorted(given - wanted)]
    problems += [
        f"{name}: shape {_shape(tensors[name])}, the model needs {_shape(state[name])}"
        for name in sorted(wanted & given)
        if _shape(tensors[name]) != _shape(state[name])
    ]
    if problems:
        rest = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        lines = "\n  ".join([*map(shortened, problems[:_SHOWN]), *rest])
        raise DataError(f"{place}: does not fit the model of its recipe:\n  {lines}")
    with torch.no_grad():
        for name in wanted:
            state[name].copy_(tensors[name])


def _shape(tensor: Tensor) -> str:
    """Return sizes, and the type where it is not the usual one: copying would convert it."""
    sizes = str(tuple(tensor.shape))
    return sizes if tensor.dtype == torch.float32 else f"{sizes} {tensor.dtype}"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _read_tensors(file: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    if not file.is_file():
        raise DataError(f"{file}: is missing; a checkpoint without weights is not usable.")
    return _read_safely(file, config.get("weights_sha256"))


def _write_lists(file: Path, seen: Seen) -> None:
    if tensors := seen.tensors():
        with atomic_path(file) as temporary:
            save_file(tensors, temporary)


def _read_seen(file: Path, described: Mapping[str, Any]) -> Seen:
    sha256 = described.get("sha256")
    if sha256 is not None and not file.is_file():
        raise DataError(
            f"{file}: is missing, so nothing tells which events the model has seen; copy the "
            "checkpoint with all its files."
        )
    tensors = {} if sha256 is None else _read_safely(file, sha256)
    try:
        return Seen.restore(described["parts"], tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: does not fit {CONFIG} ({error}).") from error


def _read_safely(file: Path, sha256: str | None) -> dict[str, Tensor]:
    if file_hash(file) != sha256:
        raise DataError(f"{file}: its bytes are not those that were saved; copy it again.")
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{file}: is not a safetensors file ({shortened(error)}); copy it again."
        ) from error
    for name, tensor in tensors.items():
        if tensor.isnan().any():
            raise DataError(f"{file}: the tensor {shortened(name)} holds NaN; train it again.")
    return tensors
