r"""Contrastive: two views of one jet belong together, those of different jets do not.

Source: arXiv:2108.04253 (JetCLR), after SimCLR (arXiv:2002.05709). Of 2n views z of a batch of n
jets, each looks for its partner j(i) among all others:
$L = -\frac{1}{2n} \sum_i \log \frac{\exp(s_{i j(i)} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)}$
with the cosine $s_{ik}$ of the angle between two projected embeddings (NT-Xent).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.data.events import CONSTITUENTS, SPECIES
from transferline.errors import ConfigError
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.learning.objectives.jet_views import JetViews
from transferline.models.model import Model

_NEVER_IN_JETS = sorted(set(SPECIES.values()) - set(CONSTITUENTS.values()) - {SPECIES["hidden"]})


class Contrastive(ObjectiveRecipe):
    """Find the other view of the same jet.

    Attributes:
        views: what is drawn anew in each view.
        temperature: tau; 0.1 in JetCLR.
        hidden, projection: sizes of the network between embedding and loss, which is thrown away.
    """

    kind: Literal["contrastive"] = "contrastive"
    views: JetViews = JetViews()
    temperature: float = Field(0.1, gt=0)
    hidden: int = Field(256, gt=0, le=65_536)
    projection: int = Field(128, gt=0, le=65_536)

    @property
    def mixed_batches(self) -> bool:
        """The other jets of the batch are the negatives."""
        return True

    @classmethod
    def example(cls) -> Self:
        """Return a small instance."""
        return cls(hidden=32, projection=16)

    def build(self, model: Model) -> ContrastiveObjective:
        """Return the module with its projection."""
        return ContrastiveObjective(model, self)


class ContrastiveObjective(Objective):
    """The module of `Contrastive`. It hides nothing: both views are whole jets."""

    def __init__(self, model: Model, recipe: Contrastive) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.projector = projector(model.backbone.width, recipe.hidden, recipe.projection)

    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Take none, but see that these are jets: views would split the MET of an event in two.

        Raises:
            ConfigError: some set holds what no jet is made of.
        """
        never = torch.tensor(_NEVER_IN_JETS)
        species = (batch.columns["species"] for batch in draw() if "species" in batch.columns)
        if any(bool(torch.isin(codes, never.to(codes)).any()) for codes in species):
            raise ConfigError(
                "objective contrastive: its views are those of jets of constituents, and these are "
                "events. Take `masked_type` or `observables`, or shards of jets."
            )

    def forward(self, batch: Batch) -> Loss:
        """Return the loss, and how often the partner is the nearest of all."""
        views = [self.recipe.views(batch) for _ in range(2)]
        z = torch.cat([self.projector(self.model.latent(view).pooled) for view in views])
        return nt_xent(z, self.recipe.temperature)


def projector(width: int, hidden: int, projection: int) -> nn.Sequential:
    """Return the network between embedding and loss, which is thrown away."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, projection))


def nt_xent(z: Tensor, temperature: float) -> Loss:
    """Return the loss of the views `z [2n, d]`, of which i and i + n belong together."""
    n = len(z) // 2
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    with torch.autocast(z.device.type, enabled=False):  # which would round the cosines
        z = F.normalize(z.float(), dim=-1, eps=1e-6)
        scores = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    right = (scores.argmax(-1) == partner).float().mean()
    return Loss(F.cross_entropy(scores, partner), {"accuracy": right})
