r"""Observables: from its particles, tell what an analyst would compute of an event or jet.

No label is needed, so collision data serve: the answers are the features that boosted trees get
(`learning.engineered`: masses and distances of pairs, HT, shapes, transverse mass;
`learning.engineered_jets`: N-subjettiness, masses, displaced tracks), most of them functions of
the very particles that the network sees. Trees with few labels owe their lead to these functions; a
network that has learnt them need not find them in the labels. The task is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from transferline.data.batch import Batch
from transferline.data.events import SPECIES
from transferline.errors import ConfigError
from transferline.learning.engineered import EVENT_FEATURES
from transferline.learning.engineered_jets import JET_CONTEXT, JET_FEATURES
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.models.augment import Augment
from transferline.models.model import Model

_LEAST_SPREAD = 1e-3  # in units of the logarithm; what varies less is not asked for
_CUT = 10.0  # of a standardised answer: an event may be far from those that set the spread
_SETS = {"events": EVENT_FEATURES, "jets": JET_FEATURES}
_COLUMNS = ("charge", "species", "btag", "d0", "d0err")


class Observables(ObjectiveRecipe):
    r"""Regress the standardised logarithms of all observables, linearly, from the embedding.

    With $o_k$ the observables, $t_k = (\mathrm{sgn}(o_k) \ln(1 + |o_k|) - \mu_k) / \sigma_k$ and
    $\hat t_k$ what is read off, the loss is the mean of $(\hat t_k - t_k)^2$ over the observables
    that there are and that vary: 1 if nothing is learnt, 0 if all is. Momenta and masses in GeV;
    $t_k$ is cut at +-10.

    Attributes:
        of: `events` of leptons and jets, or `jets` of constituents. The largest b-tag scores of an
            event are among its observables where `btag` is among the features; of jets, those
            count that the shards have columns for.
        augment: of jets without boosts, which would not move the jet's own columns.
    """

    kind: Literal["observables"] = "observables"
    of: Literal["events", "jets"] = "events"
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.of == "jets" and (self.augment.boost_z or self.augment.boost_t):
            raise ValueError("of: jets: the jet's own columns are not boosted with its particles.")
        return self

    def build(self, model: Model) -> ObservablesObjective:
        """Return the module with its linear map from the embedding to the observables."""
        return ObservablesObjective(model, self)


class ObservablesObjective(Objective):
    """The module of `Observables`; `names` are those of all observables."""

    mean: Tensor
    spread: Tensor

    def __init__(self, model: Model, recipe: Observables) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.scored = "btag" in model.features.recipe.particles
        names, _ = _SETS[recipe.of].compute(self._seen(_nothing()))
        self.names = tuple(names)
        self.readout = nn.Linear(model.backbone.width, len(names))
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("spread", torch.ones(len(names)))

    @torch.no_grad()
    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Take mean and spread of every observable from the events that Features are fitted to."""
        found = []
        for batch in draw():
            self._check_kind(batch)
            found.append(self.observables(batch))
        values = torch.cat(found).double()
        self.mean.copy_(values.nanmean(0))
        spread = (values - values.nanmean(0)).square().nanmean(0).sqrt()
        self.spread.copy_(spread.masked_fill(spread < _LEAST_SPREAD, torch.nan))

    def _check_kind(self, batch: Batch) -> None:
        """Of jets a fifth of the observables of events exist: `events` is the default."""
        species = batch.columns.get("species")
        of_jets = species is not None and bool((species >= len(SPECIES)).any())
        if of_jets and self.recipe.of == "events":
            raise ConfigError("objective observables: these shards hold jets. Write `of: jets`.")

    def forward(self, batch: Batch) -> Loss:
        """Return the mean squared error, and the share of the variance that is explained."""
        if self.training:
            batch = self.recipe.augment(batch)
        target = ((self.observables(batch) - self.mean) / self.spread).clamp(-_CUT, _CUT)
        exists = ~target.isnan()
        found = self.readout(self.model.latent(batch).pooled).float()
        squares = (found - target.nan_to_num()).square() * exists
        total = squares.sum() / exists.sum().clamp(min=1)
        return Loss(total, {"explained": 1 - total.detach()})

    @torch.no_grad()
    def observables(self, batch: Batch) -> Tensor:
        """Return the signed logarithms of the observables, `[n, k]`; NaN where there is none."""
        with torch.autocast(batch.p4.device.type, enabled=False):  # which would round the answers
            names, values = _SETS[self.recipe.of].compute(self._seen(batch))
        columns = dict(zip(names, values.unbind(1), strict=True))
        none = values.new_full((len(batch),), torch.nan)
        values = torch.stack([columns.get(name, none) for name in self.names], dim=1)
        return values.sign() * values.abs().log1p()

    def _seen(self, batch: Batch) -> Batch:
        kept = {name: batch.columns[name] for name in batch.columns if name != "btag"}
        return batch if self.scored else batch.replace(columns=kept)


def _nothing() -> Batch:
    """A set without particles and with every column, of which all observables have a name."""
    zero = torch.zeros(1, 3)
    return Batch(
        p4=torch.zeros(1, 3, 4),
        is_real=zero.bool(),
        weight=torch.ones(1),
        id=torch.zeros(1, 3, dtype=torch.long),
        columns={name: zero.long() if name == "species" else zero for name in _COLUMNS},
        context={name: torch.zeros(1) for name in JET_CONTEXT},
    )
