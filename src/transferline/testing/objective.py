"""What every objective promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from transferline.data.batch import Batch
from transferline.data.nested import AnyBatch
from transferline.learning.objectives.base import Objective, ObjectiveRecipe
from transferline.models.backbones.base import Latent
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Features
from transferline.models.heads import Head
from transferline.models.model import Model
from transferline.testing.batches import empty_set_batch, toy_batch, toy_replicas
from transferline.testing.expectation import expect

_P4 = ("pt", "eta", "phi", "mass")
_STEPS = 60
_TINY = Transformer(width=16, depth=1, heads=2)


def check_objective(recipe: ObjectiveRecipe, backbone: Transformer = _TINY) -> None:
    """Check one objective around a tiny transformer, on toy events with labels or of replicas.

    Finite, also on an empty event; all the randomness from torch's global generator; concealed
    content never reaches the encoder; a gradient on every parameter of the backbone and of the
    objective's own heads, none on a teacher; the loss falls on tiny data.

    Raises:
        ConformanceError: names the broken promise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = recipe.build(tiny_model(backbone))
        batch = toy_replicas(64) if recipe.nested else toy_batch(64)
        _check_finite(objective, batch)
        _check_draws(objective, batch)
        if isinstance(batch, Batch):
            _check_concealment(objective.eval(), batch)
        _check_gradients(objective.train(), batch)
        _check_learning(objective, batch)


def tiny_model(backbone: Transformer = _TINY) -> Model:
    """Return Features, one transformer block of width 16, and a linear head of two outputs."""
    features = Features().build()
    features.fit([toy_batch(256)])
    built = backbone.build(features.spec)
    return Model(features, built, Head().build(built.width, 2))


def _check_finite(objective: Objective, batch: AnyBatch) -> None:
    empty = empty_set_batch() if isinstance(batch, Batch) else toy_replicas(0)
    for mode in (True, False):
        objective.train(mode)
        for events in (batch, empty):
            loss = objective(events)
            expect(loss.total.shape == (), "the loss is one number")
            expect(loss.total.isfinite(), "the loss is finite, also with an empty event")
            for name, part in loss.parts.items():
                expect(part.isfinite(), f"the part {name} of the loss is finite")
                expect(not part.requires_grad, f"the part {name} of the loss is detached")


def _check_draws(objective: Objective, batch: AnyBatch) -> None:
    for mode in (True, False):  # much is drawn in training alone, such as symmetries
        objective.train(mode)
        losses = []
        for _ in range(2):
            torch.manual_seed(1)
            losses.append(objective(batch).total)
        expect(losses[0] == losses[1], "all randomness comes from torch's global generator")


def _check_concealment(objective: Objective, batch: Batch) -> None:
    """Alter what the hidden objects must have lost: the encoder must not see any difference."""
    hidden = objective.hidden(batch)
    expect(hidden.shape == batch.is_real.shape, "hidden is [n, p]")
    expect(not (hidden & ~batch.is_real).any(), "only real objects are hidden")
    if not objective.conceals:
        expect(not hidden.any(), "an objective that hides objects says what they lose (`conceals`)")
        return
    expect(hidden.any(), "an objective with `conceals` hides objects")
    before = _seen_by_encoder(objective, batch, hidden)
    after = _seen_by_encoder(objective, _altered(batch, hidden, objective.conceals), hidden)
    expect(_same(before, after), "concealed content does not reach the encoder")
    others = batch.is_real & ~hidden
    control = _seen_by_encoder(objective, _altered(batch, others, frozenset({"pt"})), hidden)
    expect(not _same(before, control), "what is not concealed does reach the encoder")


def _seen_by_encoder(objective: Objective, batch: Batch, hidden: Tensor) -> list[Tensor]:
    """Return everything that enters and leaves `backbone.encode`, hidden objects being fixed."""
    backbone = objective.model.backbone
    encode = backbone.encode
    seen: list[Tensor] = []

    def watched(tokens: Tensor, is_real: Tensor, *rest: Any, **more: Any) -> Latent:
        latent = encode(tokens, is_real, *rest, **more)
        values = (*rest, *more.values(), latent.tokens[is_real], latent.pooled)
        seen.extend([tokens[is_real], is_real, *(v for v in values if isinstance(v, Tensor))])
        return latent

    torch.manual_seed(2)
    with (
        torch.no_grad(),
        _standing_in(objective, "hidden", lambda _: hidden),
        _standing_in(backbone, "encode", watched),
    ):
        objective(batch)
    expect(bool(seen), "the objective runs the backbone's encode")
    return seen


@contextmanager
def _standing_in(module: nn.Module, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let `function` answer for a method of one object while the block runs."""
    vars(module)[name] = function
    try:
        yield
    finally:
        del vars(module)[name]


def _altered(batch: Batch, where: Tensor, names: frozenset[str]) -> Batch:
    """Give the objects in `where` other values of the columns `names`."""
    p4 = batch.p4.clone()
    for name in names.intersection(_P4):
        place = _P4.index(name)
        p4[..., place] = torch.where(where, 0.5 * p4[..., place] + 1.0, p4[..., place])
    columns = dict(batch.columns)
    for name in names.intersection(columns):
        values = columns[name]
        # The next species, cyclically, among those that the batch knows (they begin with 1).
        other = values % int(values.max()) + 1 if name == "species" else 1.0 - values
        columns[name] = torch.where(where, other, values)
    return batch.replace(p4=p4, columns=columns)


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def _check_gradients(objective: Objective, batch: AnyBatch) -> None:
    objective.zero_grad()
    objective(batch).total.backward()
    head = objective.model.head
    unused = {id(parameter) for parameter in head.parameters()} if head is not None else set()
    for name, parameter in objective.named_parameters():
        gradient = parameter.grad
        if not parameter.requires_grad:
            expect(gradient is None, f"the fixed parameter {name} (a teacher's) gets no gradient")
        elif id(parameter) not in unused:
            expect(gradient is not None, f"the parameter {name} gets a gradient")
        if gradient is not None:
            expect(gradient.isfinite().all(), f"the gradient of {name} is finite")
    for name, module in objective.named_children():
        if "teacher" in name:
            fixed = not any(parameter.requires_grad for parameter in module.parameters())
            expect(fixed, f"no parameter of {name} requires a gradient")


def _check_learning(objective: Objective, batch: AnyBatch) -> None:
    trainable = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=1e-2)
    losses = []
    for _ in range(_STEPS):
        loss = objective(batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        objective.after_step()
        losses.append(loss.item())
    start, end = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    expect(end < 0.9 * start, f"the loss falls on tiny data (from {start:.3f} to {end:.3f})")
