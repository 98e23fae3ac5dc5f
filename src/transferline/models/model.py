"""Model: Features, a Backbone and, after training on a task, its head."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from transferline.config import Recipe, one_of
from transferline.data.batch import Batch
from transferline.data.nested import AnyBatch, Nested, sets_of
from transferline.models.backbones import BACKBONES
from transferline.models.backbones.base import Backbone, Latent
from transferline.models.event_head import EventHead
from transferline.models.features import FeatureExtractor, Features
from transferline.models.heads import Head


class ModelRecipe(Recipe):
    """What a Model is built from; `head` and `n_outputs` are absent before any task."""

    features: Features = Features()
    backbone: one_of(BACKBONES)  # type: ignore[valid-type]  # a registry-driven field type
    head: EventHead | Head | None = None
    n_outputs: int | None = None

    def build(self) -> Model:
        """Return the model with fresh weights (drawn from torch's global generator)."""
        features = self.features.build()
        backbone = self.backbone.build(features.spec)
        head = None
        if self.head is not None and self.n_outputs is not None:
            head = self.head.build(backbone.width, self.n_outputs)
        return Model(features, backbone, head)


class Model(nn.Module):
    """Batch -> Latent -> outputs of the head."""

    def __init__(
        self, features: FeatureExtractor, backbone: Backbone, head: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.features = features
        self.backbone = backbone
        self.head = head

    def latent(self, batch: Batch) -> Latent:
        """Return the embeddings of the batch."""
        out: Latent = self.backbone(self.features(batch))
        return out

    def pooled(self, batch: AnyBatch) -> Tensor:
        """Return the embedding of every set, `[n, d]`; of a `Nested`, of every jet, `[m, d]`."""
        sets = sets_of(batch)
        if isinstance(batch, Nested) and not len(sets):  # events without jets alone
            return sets.p4.new_zeros(0, self.backbone.width)
        return self.latent(sets).pooled

    def forward(self, batch: AnyBatch) -> Tensor:
        """Return the head's outputs, `[n, n_outputs]`; of a `Nested`, those of its events."""
        if self.head is None:
            raise RuntimeError("this model has no head: train it on a task first")
        pooled = self.pooled(batch)
        more = (batch,) if isinstance(batch, Nested) else ()
        if not torch.is_autocast_enabled(pooled.device.type):
            out: Tensor = self.head(pooled, *more)
            return out
        # Eight bits of a logit would make one score of many: cuts at few false positives need more.
        with torch.autocast(pooled.device.type, enabled=False):
            single: Tensor = self.head(pooled.float(), *more)
        return single


def parameter_counts(module: nn.Module) -> dict[str, int]:
    """Count the parameters of a Model, or of an Objective around one, by the published parts.

    | part         | what it is                                          | names of its tensors |
    |--------------|-----------------------------------------------------|----------------------|
    | `embedding`  | every object by itself, if the architecture has one | `backbone.embedding` |
    | `feature`    | the rest of the backbone, where the objects meet    | `backbone`           |
    | `classifier` | the head of a task, or of a pretext task            | `head`, `classifier` |
    | `other`      | what else a pretext task learns, such as a dummy    | any other            |

    Embedding and feature are what is transferred. The names are those of arXiv:2312.06909.
    """
    counts = {"embedding": 0, "feature": 0, "classifier": 0, "other": 0}
    for name, parameter in module.named_parameters():
        part = _part(name.removeprefix("model."))
        if not {"tokenizer", "teacher"}.intersection(name.split(".")):  # they learn nothing here
            counts[part] += parameter.numel()
    return counts


def _part(name: str) -> str:
    if name.startswith("backbone."):
        return "embedding" if name.startswith("backbone.embedding.") else "feature"
    return "classifier" if {"head", "classifier"}.intersection(name.split(".")) else "other"


def weight_hash(*modules: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all parameters and buffers, in order."""
    return tensor_hash(*(module.state_dict() for module in modules))


def tensor_hash(*groups: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes of named tensors, in order."""
    digest = hashlib.sha256()
    for group in groups:
        for name, tensor in sorted(group.items()):
            value = tensor.detach().cpu().contiguous()
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the parameters, by their names."""
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def unchanged(module: nn.Module, before: Mapping[str, Tensor]) -> int:
    """Count the weights in parameters that are exactly as they were, see `tensors_of`."""
    now = dict(module.named_parameters())
    return sum(
        old.numel() for name, old in before.items() if torch.equal(now[name].cpu(), old.cpu())
    )
