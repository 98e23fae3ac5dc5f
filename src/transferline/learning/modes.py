"""Which weights a run starts from, which may move, and the proof that it was so.

| mode      | backbone at the start       | backbone at the end | head |
|-----------|-----------------------------|---------------------|------|
| scratch   | drawn anew from the seed    | trained             | new  |
| frozen    | as loaded                   | as loaded           | new  |
| finetuned | as loaded                   | trained             | new  |
| trees     | no backbone: `baselines.py` |                     |      |

The modes differ in nothing else. The proof are hashes of Features and backbone, buffers
included, taken in every run: a "pre-trained" curve that in truth started from scratch is the
one way in which every study of transfer can be wrong without anybody seeing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from transferline.errors import TransferlineError
from transferline.models.checkpoint import Checkpoint
from transferline.models.heads import Head
from transferline.models.model import Model, weight_hash

Mode = Literal["scratch", "frozen", "finetuned", "trees"]
MODES: tuple[Mode, ...] = ("scratch", "frozen", "finetuned", "trees")

_HEAD_STREAM = 0x48454144  # keeps the draw of the head apart from that of a backbone


class BrokenTransferError(TransferlineError):
    """The weights of a run are not those that its mode promises."""

    exit_code = 4


@dataclass(frozen=True)
class BackboneHashes:
    """SHA-256 of Features and backbone: as loaded, before the first step, after the last."""

    loaded: str
    start: str
    end: str


def starting_model(
    checkpoint: Checkpoint, mode: Mode, head: Head, n_outputs: int, seed: int
) -> Model:
    """Return the model before its first step; its head is new in every mode."""
    model = checkpoint.redrawn(seed) if mode == "scratch" else checkpoint.backbone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed ^ _HEAD_STREAM)
        model.head = head.build(model.backbone.width, n_outputs)
    return model


def check_start(mode: Mode, checkpoint: Checkpoint, model: Model) -> BackboneHashes:
    """Hash a model that is about to be trained and compare it with its checkpoint.

    Raises:
        BrokenTransferError: a transferred backbone is not the loaded one, a scratch backbone is,
            or the constants of Features differ from the checkpoint's.
    """
    loaded = checkpoint.backbone()
    hashes = _hash(loaded)
    start = _hash(model)
    if weight_hash(model.features) != weight_hash(loaded.features):
        raise BrokenTransferError(f"{mode}: the constants of Features are not the checkpoint's.")
    if mode == "scratch" and start == hashes:
        raise BrokenTransferError(
            "scratch: the backbone starts from the weights of the checkpoint; it must be redrawn."
        )
    if mode != "scratch" and start != hashes:
        raise BrokenTransferError(
            f"{mode}: the backbone does not start from the weights of the checkpoint."
        )
    return BackboneHashes(loaded=hashes, start=start, end=start)


def check_end(mode: Mode, before: BackboneHashes, model: Model) -> BackboneHashes:
    """Hash the trained model and compare it with its start.

    Raises:
        BrokenTransferError: a frozen backbone moved, or one that should train did not.
    """
    end = _hash(model)
    if mode == "frozen" and end != before.start:
        raise BrokenTransferError("frozen: the backbone moved during the training of the head.")
    if mode != "frozen" and end == before.start:
        raise BrokenTransferError(f"{mode}: the backbone did not move; nothing was trained.")
    return BackboneHashes(loaded=before.loaded, start=before.start, end=end)


def _hash(model: Model) -> str:
    return weight_hash(model.features, model.backbone)
