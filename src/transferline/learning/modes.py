"""Which weights a run starts from, which may move, and the proof that it was so.

| mode      | backbone at the start       | backbone at the end | head |
|-----------|-----------------------------|---------------------|------|
| scratch   | drawn anew from the seed    | trained             | new  |
| frozen    | as loaded                   | as loaded           | new  |
| fixed     | as loaded                   | weights as loaded   | new  |
| finetuned | as loaded                   | trained             | new  |
| trees     | no backbone: `baselines.py` |                     |      |

`fixed` is how PoS(ISGC2022) 016 froze its network: the weights stand still, but BatchNorm keeps
taking the mean and spread of each batch, and its running values follow the new events. Backbones
without BatchNorm have no such mode; for them `frozen` is all there is.

The modes differ in nothing else. The proof are hashes of Features and backbone, buffers
included, taken in every run: a "pre-trained" curve that in truth started from scratch is the
one way in which every study of transfer can be wrong without anybody seeing it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from transferline.errors import DataError, TransferlineError
from transferline.evaluation.records import TRANSFERRED
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHeadModule
from transferline.models.heads import Head
from transferline.models.model import Model, tensor_hash, weight_hash

Mode = Literal["scratch", "frozen", "fixed", "finetuned", "trees"]
MODES: tuple[Mode, ...] = ("scratch", "frozen", "fixed", "finetuned", "trees")
TRAINED: frozenset[Mode] = frozenset({"scratch", "finetuned"})
"""Modes that move the weights of the backbone."""

_HEAD_STREAM = 0x48454144  # keeps the draw of the head apart from that of a backbone


class BrokenTransferError(TransferlineError):
    """The weights of a run are not those that its mode promises."""

    exit_code = 4


def adapts(checkpoint: Checkpoint) -> bool:
    """Whether a backbone has BatchNorm, without which `fixed` would be `frozen`."""
    return checkpoint.backbone().backbone.batch_dependent


@dataclass(frozen=True)
class BackboneHashes:
    """SHA-256 of Features and backbone: as loaded, before the first step, after the last.

    `weights_start` and `weights_end` leave out the buffers, which `fixed` lets adapt.
    """

    loaded: str
    start: str
    end: str
    weights_start: str
    weights_end: str


def starting_model(
    checkpoint: Checkpoint, mode: Mode, head: Head, n_outputs: int, seed: int
) -> Model:
    """Return the model before its first step; its head is new in every mode.

    The score in a head on events of jets is a part of what is transferred: the pre-training's in
    the modes that start from it, drawn anew in `scratch`.

    Raises:
        DataError: the head takes a score, and the checkpoint has none of two classes.
    """
    model = checkpoint.redrawn(seed) if mode == "scratch" else checkpoint.backbone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed ^ _HEAD_STREAM)
        model.head = head.build(model.backbone.width, n_outputs)
    if mode in TRANSFERRED and isinstance(model.head, EventHeadModule):
        _take_score(checkpoint, mode, model.head)
    return model


def _take_score(checkpoint: Checkpoint, mode: Mode, head: EventHeadModule) -> None:
    """Give a head the score of the pre-training, which moves if and only if the backbone does."""
    if head.score is None:
        return
    weight, bias = checkpoint.classifier()
    if len(weight) != 2:
        raise DataError(
            f"{checkpoint.place}: its classifier tells {len(weight)} classes apart; the score of a "
            "jet is that of two. Take another representation, or pre-train on two classes."
        )
    head.take_score(weight, bias)
    head.score.requires_grad_(mode in TRAINED)


def check_score(mode: Mode, checkpoint: Checkpoint, head: nn.Module) -> None:
    """Compare the score of a head with the pre-training's where the backbone stands still.

    Raises:
        BrokenTransferError: it has moved.
    """
    if mode not in TRANSFERRED or mode in TRAINED:
        return
    if not isinstance(head, EventHeadModule) or head.score is None:
        return
    loaded = EventHeadModule(head.recipe, head.score.in_features, 1)
    loaded.take_score(*checkpoint.classifier())
    assert loaded.score is not None  # of the same recipe
    if weight_hash(head.score) != weight_hash(loaded.score):
        raise BrokenTransferError(f"{mode}: the score of jets is not that of the pre-training.")


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
    if mode in TRANSFERRED and start != hashes:
        raise BrokenTransferError(
            f"{mode}: the backbone does not start from the weights of the checkpoint."
        )
    weights = _hash_weights(model)
    return BackboneHashes(hashes, start, start, weights, weights)


def check_end(mode: Mode, before: BackboneHashes, model: Model) -> BackboneHashes:
    """Hash the trained model and compare it with its start.

    Raises:
        BrokenTransferError: a frozen backbone moved, or one that should train did not.
    """
    end, weights = _hash(model), _hash_weights(model)
    if mode == "frozen" and end != before.start:
        raise BrokenTransferError("frozen: the backbone moved during the training of the head.")
    if mode == "fixed" and weights != before.weights_start:
        raise BrokenTransferError("fixed: weights moved during the training of the head.")
    if mode in TRAINED and weights == before.weights_start:
        raise BrokenTransferError(f"{mode}: the backbone did not move; nothing was trained.")
    return replace(before, end=end, weights_end=weights)


def _hash(model: Model) -> str:
    return weight_hash(model.features, model.backbone)


def _hash_weights(model: Model) -> str:
    """Of the parameters alone, without buffers such as BatchNorm's running values."""
    parts: list[nn.Module] = [model.features, model.backbone]
    return tensor_hash(*(dict(part.named_parameters()) for part in parts))
