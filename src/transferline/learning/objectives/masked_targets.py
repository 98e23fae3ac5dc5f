"""What is asked of a masked particle: its token, its features, their density, its kind.

Sources: arXiv:2401.13537 (tokens of a VQ-VAE, k-means, regression) and arXiv:2409.12589 (more
tokens of k-means, a normalising flow, the identity). Each takes the embeddings of the masked
particles and gives one loss for every one of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.errors import ConfigError, did_you_mean
from transferline.learning.objectives.coupling_flow import CouplingFlow, FlowSettings
from transferline.learning.objectives.identity import KINDS, identity
from transferline.models.features import FeatureExtractor
from transferline.models.tokenizers.base import Tokenizer

_BITS = "is_"  # beginning of their names
_DISCRETE = frozenset({"charge", "btag"})  # few values: a density of them has no bound
_TRACK = frozenset({"tanh_d0", "d0err", "tanh_dz", "dzerr"})


class Asked(NamedTuple):
    """Losses `[t]` of the masked particles, and what is logged."""

    losses: Tensor
    parts: dict[str, Tensor]


class Masked(NamedTuple):
    """The masked particles `hidden [n, p]` of a whole batch, and their inputs `x [t, f]`."""

    batch: Batch
    hidden: Tensor
    x: Tensor


class Target(nn.Module, ABC):
    """A question: one loss for each of the embeddings `rows [t, w]` of masked particles."""

    @abstractmethod
    def forward(self, rows: Tensor, masked: Masked) -> Asked:
        """Return the losses; `rows` are in the order of `masked.hidden`."""


class TokenTarget(Target):
    """Cross-entropy with the code that a fixed tokenizer gives the particle in its whole set."""

    def __init__(self, tokenizer: Tokenizer, width: int, smoothing: float) -> None:
        super().__init__()
        self.tokenizer = tokenizer.requires_grad_(False)
        self.classifier = nn.Linear(width, tokenizer.n_codes)
        self.smoothing = smoothing

    def train(self, mode: bool = True) -> TokenTarget:
        """The tokenizer stays in evaluation: its codes must not depend on the step."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, rows: Tensor, masked: Masked) -> Asked:
        """See `Target`."""
        codes = self.tokenizer(masked.batch)[masked.hidden]
        return _classified(self.classifier(rows), codes, self.training * self.smoothing)


class IdentityTarget(Target):
    """Cross-entropy with species and sign of the charge, such as negative charged hadron."""

    def __init__(self, width: int, smoothing: float) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, KINDS)
        self.smoothing = smoothing

    def forward(self, rows: Tensor, masked: Masked) -> Asked:
        """See `Target`."""
        kinds = identity(masked.batch)[masked.hidden]
        return _classified(self.classifier(rows), kinds, self.training * self.smoothing)


def _classified(logits: Tensor, target: Tensor, smoothing: float) -> Asked:
    logits = logits.float()
    losses = F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
    right = (logits.argmax(-1) == target).sum() / max(len(target), 1)
    return Asked(losses, {"accuracy": right})


def asked_columns(features: FeatureExtractor, names: Sequence[str]) -> list[int]:
    """Return the places of `names` in a model's inputs; without names, of all continuous columns.

    Raises:
        ConfigError: a name is no input of the model, or it has no continuous one.
    """
    known = features.recipe.particles
    for name in names:
        if name not in known:
            raise ConfigError(
                f"masked_particles: targets: the model's features hold no '{name}'."
                f"{did_you_mean(name, known)}"
            )
    wanted = names or [n for n in known if not n.startswith(_BITS) and n not in _DISCRETE]
    if not wanted:
        raise ConfigError("masked_particles: the model's features hold nothing continuous.")
    return [known.index(name) for name in wanted]


class RegressionTarget(Target):
    """The features themselves: absolute or squared difference, summed over them."""

    def __init__(self, columns: Sequence[int], width: int, distance: Literal["l1", "l2"]) -> None:
        super().__init__()
        self.columns, self.distance = list(columns), distance
        self.regressor = nn.Linear(width, len(self.columns))

    def forward(self, rows: Tensor, masked: Masked) -> Asked:
        """See `Target`."""
        difference = self.regressor(rows).float() - masked.x[:, self.columns].float()
        each = difference.abs() if self.distance == "l1" else difference.square()
        return Asked(each.sum(-1), {})


class FlowTarget(Target):
    """Minus the logarithm of the density of the features that the particle's embedding implies."""

    noise: Tensor

    def __init__(
        self,
        columns: Sequence[int],
        features: FeatureExtractor,
        width: int,
        settings: FlowSettings,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.flow = CouplingFlow(settings, len(self.columns), width)
        names = [features.recipe.particles[place] for place in self.columns]
        noise = torch.tensor([settings.noise * (name in _TRACK) for name in names])
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, rows: Tensor, masked: Masked) -> Asked:
        """See `Target`."""
        x = masked.x[:, self.columns].float()
        return Asked(-self.flow.log_prob(x + self.noise * torch.randn_like(x), rows), {})
