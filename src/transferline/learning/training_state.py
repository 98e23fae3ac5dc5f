"""The state of an interrupted training: plain tensors and JSON, resumed bit for bit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from transferline.errors import DataError
from transferline.files import atomic_directory, remove_leavings, write_json
from transferline.learning.objectives.base import Objective


@dataclass
class Progress:
    """Where a training stands; everything else follows from the seed and the step."""

    step: int = 0
    examples: int = 0
    best_step: int = -1
    best_loss: float = float("inf")
    bad: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    running: dict[str, float] = field(default_factory=dict)  # sums since the last log line


def save_state(
    path: Path,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    *,
    best: dict[str, Tensor] | None,
    progress: Progress,
    digest: str,
) -> None:
    """Write the state directory atomically; only one process writes it."""
    tensors = {f"now.{name}": t for name, t in objective.state_dict().items()}
    tensors |= {f"best.{name}": t for name, t in (best or {}).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optim.{index}.{name}": value for name, value in state.items()}
    remove_leavings(path)
    with atomic_directory(path) as temporary:
        save_file(
            {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
            temporary / "state.safetensors",
        )
        write_json(temporary / "state.json", {"digest": digest, "progress": asdict(progress)})


def load_state(
    path: Path, objective: Objective, optimizer: torch.optim.Optimizer, digest: str
) -> tuple[Progress, dict[str, Tensor] | None]:
    """Fill objective and optimiser from `path`; return the progress and the best weights.

    Raises:
        DataError: the state is damaged or belongs to another configuration.
    """
    try:
        meta = json.loads((path / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(path / "state.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(f"{path}: the training state is damaged ({error}); remove it.") from error
    if not isinstance(meta, dict) or meta.get("digest") != digest:
        raise DataError(
            f"{path}: belongs to another configuration; remove it or restore the configuration."
        )
    objective.load_state_dict(_part(tensors, "now."))
    _load_optimizer(optimizer, _part(tensors, "optim."))
    return Progress(**meta["progress"]), _part(tensors, "best.") or None


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)
