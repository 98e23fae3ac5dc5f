r"""Observables: from the objects of an event, tell what an analyst would compute of them.

No label is needed, so collision data serve: the answers are the features that boosted trees get
(`learning.engineered`: masses and distances of pairs, HT, shapes, transverse mass), functions of
the very objects that the network sees. Trees with few labels owe their lead to these functions; a
network that has learnt them need not find them in the labels. The task is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from transferline.data.batch import Batch
from transferline.learning.engineered import engineered
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.models.augment import Augment
from transferline.models.model import Model

_BATCHES = 100  # that means and spreads are taken from
_LEAST_SPREAD = 1e-3  # of an observable that hardly varies, in units of its logarithm


class Observables(ObjectiveRecipe):
    r"""Regress the standardised logarithms of all observables, linearly, from the embedding.

    With $o_k$ the observables, $t_k = (\mathrm{sgn}(o_k) \ln(1 + |o_k|) - \mu_k) / \sigma_k$ and
    $\hat t_k$ what is read off, the loss is the mean of $(\hat t_k - t_k)^2$ over the observables
    that an event has: 1 if nothing is learnt, 0 if all is. Momenta and masses in GeV. The largest
    b-tag scores are among the observables where `btag` is among the features.
    """

    kind: Literal["observables"] = "observables"
    augment: Augment = Augment()

    def build(self, model: Model) -> ObservablesObjective:
        """Return the module with its linear map from the embedding to the observables."""
        return ObservablesObjective(model, self)


class ObservablesObjective(Objective):
    """The module of `Observables`."""

    mean: Tensor
    spread: Tensor

    def __init__(self, model: Model, recipe: Observables) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.scored = "btag" in model.features.recipe.particles
        count = observables(_no_objects(), self.scored).shape[1]
        self.readout = nn.Linear(model.backbone.width, count)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))

    @torch.no_grad()
    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Take mean and spread of every observable from the first training events."""
        seen = [observables(batch, self.scored) for batch in islice(draw(), _BATCHES)]
        values = torch.cat(seen).double()
        self.mean.copy_(values.nanmean(0).nan_to_num())
        spread = (values - self.mean).square().nanmean(0).sqrt()
        self.spread.copy_(spread.nan_to_num(1.0).clamp(min=_LEAST_SPREAD))

    def forward(self, batch: Batch) -> Loss:
        """Return the mean squared error, and the share of the variance that is explained."""
        if self.training:
            batch = self.recipe.augment(batch)
        target = (observables(batch, self.scored) - self.mean) / self.spread
        exists = target.isfinite()
        found = self.readout(self.model.latent(batch).pooled).float()
        squares = (found - target.nan_to_num()).square() * exists
        total = squares.sum() / exists.sum().clamp(min=1)
        return Loss(total, {"explained": 1 - total.detach()})


@torch.no_grad()
def observables(batch: Batch, scored: bool) -> Tensor:
    """Return the signed logarithms of the observables, `[n, k]`; NaN where there is none.

    `scored`: the largest b-tag scores are among them.
    """
    columns = {name: batch.columns[name] for name in batch.columns if scored or name != "btag"}
    _, values = engineered(batch.replace(columns=columns))
    return values.sign() * values.abs().log1p()


def _no_objects() -> Batch:
    """An event without objects, of which every observable still has a name."""
    nothing = torch.zeros(1, 1)
    return Batch(
        p4=torch.zeros(1, 1, 4),
        is_real=nothing.bool(),
        weight=torch.ones(1),
        id=torch.zeros(1, 3, dtype=torch.long),
        columns={"charge": nothing, "species": nothing.long(), "btag": nothing},
    )
