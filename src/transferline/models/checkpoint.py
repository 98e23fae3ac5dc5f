"""Checkpoint: a directory that loads exactly, or raises.

`model.safetensors` (plain tensors; loading runs no code from it), `config.json` (recipe,
selection, task, provenance) and `card.md` (for people).
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from transferline.errors import DataError
from transferline.files import atomic_path, file_hash, write_json, write_text
from transferline.models.model import Model, ModelRecipe, weight_hash

FORMAT = 1
_WEIGHTS, _CONFIG, _CARD = "model.safetensors", "config.json", "card.md"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: recipe, tensors and everything that must travel with them.

    Attributes:
        recipe: what `Model` to build.
        tensors: its state, name -> tensor.
        selection: the resolved selection its events passed, or None.
        provenance: data, objective, seed, versions, commit, command, hashes.
        card: Markdown for people.
    """

    recipe: ModelRecipe
    tensors: Mapping[str, Tensor]
    selection: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    card: str = ""

    @classmethod
    def of(cls, model: Model, recipe: ModelRecipe, **rest: Any) -> Checkpoint:
        """Take the present weights of `model`."""
        state = {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}
        return cls(recipe=recipe, tensors=state, **rest)

    def save(self, path: Path | str) -> Path:
        """Write the three files into the directory `path`, the configuration last.

        The configuration holds the weights' hash, so a checkpoint of which only some files
        were replaced does not load.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        with atomic_path(path / _WEIGHTS) as temporary:
            save_file({n: t.contiguous() for n, t in self.tensors.items()}, temporary)
        write_text(path / _CARD, self.card)
        write_json(path / _CONFIG, self._config(path / _WEIGHTS))
        return path

    def _config(self, weights: Path) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "model": self.recipe.to_dict(),
            "selection": self.selection,
            "provenance": self.provenance,
            "weights_sha256": file_hash(weights),
        }

    @classmethod
    def load(cls, path: Path | str) -> Checkpoint:
        """Read a checkpoint directory.

        Raises:
            DataError: a file is missing or damaged, bytes changed, or the format is unknown.
        """
        path = Path(path)
        config = _read_config(path)
        tensors = _read_tensors(path / _WEIGHTS, config)
        try:
            recipe = ModelRecipe.model_validate(config["model"])
        except (ValidationError, KeyError) as error:
            raise DataError(f"{path / _CONFIG}: the model recipe is not usable: {error}") from error
        card = path / _CARD
        return cls(
            recipe=recipe,
            tensors=tensors,
            selection=config.get("selection"),
            provenance=config.get("provenance", {}),
            card=card.read_text(encoding="utf-8") if card.exists() else "",
        )

    def model(self) -> Model:
        """Rebuild the model with exactly these tensors."""
        model = self.recipe.build()
        load_exactly(model, self.tensors)
        return model

    def backbone(self) -> Model:
        """Rebuild Features and backbone; a task's head, if any, is left behind."""
        model = self.recipe.model_copy(update={"head": None, "n_outputs": None}).build()
        load_exactly(model, self.tensors, unused=("head.*",))
        return model

    def redrawn(self, seed: int) -> Model:
        """Rebuild with the same Features constants, the backbone's weights drawn anew.

        Architecture and preprocessing equal the pre-trained ones by construction.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.recipe.model_copy(update={"head": None, "n_outputs": None}).build()
        load_exactly(model, self.tensors, fresh=("backbone.*",), unused=("backbone.*", "head.*"))
        return model

    def backbone_hash(self) -> str:
        """Hash of Features and backbone as stored, buffers included."""
        model = self.backbone()
        return weight_hash(model.features, model.backbone)


def load_exactly(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    fresh: Sequence[str] = (),
    unused: Sequence[str] = (),
) -> None:
    """Copy `tensors` into `module`; every mismatch must be named or it raises.

    Args:
        module: what to fill.
        tensors: name -> value.
        fresh: patterns of the module's tensors that keep their present values.
        unused: patterns of given tensors that may be left over.

    Raises:
        DataError: lists the tensors that are missing, left over, or of another shape.
    """
    state = module.state_dict()
    wanted = {name for name in state if not _matches(name, fresh)}
    given = {name for name in tensors if name in wanted or not _matches(name, unused)}
    problems = [f"missing: {name}" for name in sorted(wanted - given)]
    problems += [f"not part of the model: {name}" for name in sorted(given - wanted)]
    problems += [
        f"{name}: shape {tuple(tensors[name].shape)}, the model needs {tuple(state[name].shape)}"
        for name in sorted(wanted & given)
        if tensors[name].shape != state[name].shape
    ]
    if problems:
        raise DataError("the checkpoint does not fit the model:\n  " + "\n  ".join(problems))
    with torch.no_grad():
        for name in wanted:
            state[name].copy_(tensors[name])


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _read_config(path: Path) -> dict[str, Any]:
    file = path / _CONFIG
    if not file.is_file():
        raise DataError(f"{path}: is not a checkpoint ({_CONFIG} is missing).")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{file}: is damaged ({error}).") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else None
        raise DataError(f"{file}: format {found!r} is not {FORMAT}, the one this version reads.")
    return config


def _read_tensors(file: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    if not file.is_file():
        raise DataError(f"{file}: is missing; a checkpoint without weights is not usable.")
    if file_hash(file) != config.get("weights_sha256"):
        raise DataError(f"{file}: its bytes are not those that were saved; copy it again.")
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file}: is not a safetensors file ({error}).") from error
    return tensors
