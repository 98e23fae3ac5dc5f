"""Joint: several objectives on one backbone at once, such as supervised and self-supervised.

Each part sees every batch with its own augmentation, its own concealment and its own prediction
head; only Features and backbone are shared. Sets that two parts see alike are encoded once,
where neither dropout nor BatchNorm makes another encoding of them.

On jets, supervised pre-training together with masked particles was found best where labels are few
(arXiv:2606.14870).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from transferline.config import one_of
from transferline.data.batch import Batch
from transferline.data.nested import AnyBatch, Nested
from transferline.learning.objectives import OBJECTIVES
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.models.backbones.base import Latent
from transferline.models.model import Model


class Joint(ObjectiveRecipe):
    r"""The weighted sum $L = \sum_i \lambda_i L_i$ of its parts.

    Attributes:
        parts: the objectives.
        weights: $\lambda_i$, one per part; 1 each unless given.
    """

    kind: Literal["joint"] = "joint"
    parts: tuple[one_of(OBJECTIVES), ...] = Field(min_length=2)  # type: ignore[valid-type]  # registry
    weights: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weights and len(self.weights) != len(self.parts):
            raise ValueError(f"{len(self.weights)} weights for {len(self.parts)} parts.")
        kinds = [part.kind for part in self.parts]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise ValueError(f"parts: {twice[0]} stands twice.")
        return self

    @classmethod
    def example(cls) -> Joint:
        """Return a small instance: it has no defaults."""
        return cls.model_validate({"parts": [{"kind": "masked_type"}, {"kind": "supervised"}]})

    @property
    def needs_labels(self) -> bool:
        """Whether any part does."""
        return any(part.needs_labels for part in self.parts)

    @property
    def nested(self) -> bool:
        """Whether any part is; the others get jets one by one, with the target of their event."""
        return any(part.nested for part in self.parts)

    @property
    def mixed_batches(self) -> bool:
        """Whether any part does."""
        return any(part.mixed_batches for part in self.parts)

    @property
    def revision(self) -> int:
        """See `ObjectiveRecipe.revision`: 2 gives jets of events their momentum and columns."""
        mixed = self.nested and not all(part.nested for part in self.parts)
        return 1 + int(mixed) + sum(int(part.revision) - 1 for part in self.parts)

    def ingredients(self) -> dict[str, str]:
        """Those of all parts."""
        return {
            f"{part.kind}_{name}": place
            for part in self.parts
            for name, place in part.ingredients().items()
        }

    def located(self, places: Mapping[str, Path]) -> Self:
        """See `ObjectiveRecipe.located`."""
        return self.model_copy(update={"parts": tuple(p.located(places) for p in self.parts)})

    def build(self, model: Model) -> JointObjective:
        """Return the module around `model`."""
        return JointObjective(model, self)


class JointObjective(Objective):
    """The module of `Joint`; it conceals nothing itself, as a supervised part sees everything."""

    def __init__(self, model: Model, recipe: Joint) -> None:
        super().__init__(model)
        self.weights = recipe.weights or (1.0,) * len(recipe.parts)
        self.names = [part.kind for part in recipe.parts]
        self.nested = [part.nested for part in recipe.parts]
        self.parts = nn.ModuleList(_sharing(part.build(model), model) for part in recipe.parts)
        if any(part.chosen_by is None for part in self._each()):
            self.chosen_by = None

    def forward(self, batch: AnyBatch) -> Loss:
        """Return the sum, and of every part its loss and what it logs, under its name."""
        total = torch.zeros(())
        logged = {}
        parts = zip(self.names, self.weights, self.parts, self.nested, strict=True)
        with _encoding_once(self.model):
            for name, weight, part, nested in parts:
                loss: Loss = part(batch if nested else _one_by_one(batch))
                total = total.to(loss.total) + weight * loss.total
                logged[f"{name}_loss"] = loss.total.detach()
                logged |= {f"{name}_{key}": value for key, value in loss.parts.items()}
        return Loss(total, logged)

    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Let every part take its own."""
        for part, nested in zip(self._each(), self.nested, strict=True):
            part.fit_constants(draw if nested else lambda: map(_one_by_one, draw()))

    def after_step(self) -> None:
        """Let every part update its teachers."""
        for part in self._each():
            part.after_step()

    def _each(self) -> Iterator[Objective]:
        for part in self.parts:
            assert isinstance(part, Objective)
            yield part


@contextmanager
def _encoding_once(model: Model) -> Iterator[None]:
    """Let `latent` answer with what it found, where it is asked about the same tensors again."""
    if "latent" in vars(model) or _draws(model):  # within another one; or each has its own mask
        yield
        return
    encode, known = model.latent, list[tuple[Batch, Latent]]()

    def latent(batch: Batch) -> Latent:
        for earlier, found in known:
            if _look_alike(earlier, batch):
                return found
        found = encode(batch)
        known.append((batch, found))
        return found

    vars(model)["latent"] = latent
    try:
        yield
    finally:
        del vars(model)["latent"]


def _draws(model: Model) -> bool:
    """Whether a second encoding is not the first again: dropout, or statistics of batches."""
    dropouts = (m for m in model.backbone.modules() if "Dropout" in type(m).__name__)
    drawn = any(getattr(module, "p", 1.0) for module in dropouts)
    return model.training and (model.backbone.batch_dependent or drawn)


def _look_alike(one: Batch, other: Batch) -> bool:
    """Whether Features see the same tensors in both: they see nothing else of a batch."""
    if one.p4 is not other.p4 or one.is_real is not other.is_real or one.id is not other.id:
        return False
    return one.columns.keys() == other.columns.keys() and all(
        value is other.columns[name] for name, value in one.columns.items()
    )


def _one_by_one(batch: AnyBatch) -> Batch:
    """Return the jets of events as sets of their own, as a file of single jets would have them.

    What the event knows of each jet, momentum and columns, is their context; target and weight
    are those of the event.
    """
    if not isinstance(batch, Nested):
        return batch
    jets, target = batch.events, batch.target
    known = dict(zip(("pt", "eta", "phi", "mass"), jets.p4.unbind(-1), strict=True))
    context = {f"jet_{k}": v[jets.is_real] for k, v in {**jets.columns, **known}.items()}
    return batch.sets.replace(
        context=context,
        weight=batch.weight[batch.parent],
        target=None if target is None else target[batch.parent],
    )


def _sharing(part: Objective, model: Model) -> Objective:
    """Let a part use the model without owning it: its weights are saved once, not once a part."""
    del part.model
    part.__dict__["model"] = model
    return part
