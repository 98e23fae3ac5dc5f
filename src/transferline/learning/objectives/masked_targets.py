"""What is asked of a masked particle: its token, its features, their density, its kind.

Sources: arXiv:2401.13537 (tokens of a VQ-VAE, k-means, regression) and arXiv:2409.12589 (more
tokens of k-means, a normalising flow, the identity). Each takes the embeddings of the masked
particles and gives one loss for every one of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.errors import ConfigError, did_you_mean
from transferline.learning.objectives.coupling_flow import CouplingFlow, FlowSettings
from transferline.learning.objectives.identity import KINDS, identity
from transferline.models.features import TRACK_FEATURES, FeatureExtractor, Features
from transferline.models.tokenizers.base import Tokenizer

_BITS = "is_"  # beginning of their names
_DISCRETE = frozenset({"charge", "btag"})  # few values: a density of them has no bound
# Functions of the others and of the jet, which the shown particles tell: nor has theirs.
_DERIVED = frozenset({"delta_r", "log_energy", "log_pt_share", "log_energy_share"})


class Asked(NamedTuple):
    """Losses `[t]` of the masked particles, and what is logged."""

    losses: Tensor
    parts: dict[str, Tensor]


class Masked(NamedTuple):
    """The masked particles `hidden [n, p]` of a whole batch."""

    batch: Batch
    hidden: Tensor


class Target(nn.Module, ABC):
    """A question: one loss for each of the embeddings `rows [t, w]` of masked particles."""

    def fit(self, batches: Iterable[Batch]) -> None:
        """Take constants from training events; most have none."""

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
    """Cross-entropy with species and sign of the charge, such as negative charged hadron.

    Labels are smoothed over the kinds that occur.
    """

    occurs: Tensor

    def __init__(self, width: int, smoothing: float) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, KINDS)
        self.smoothing = smoothing
        self.register_buffer("occurs", torch.ones(KINDS, dtype=torch.bool))

    def fit(self, batches: Iterable[Batch]) -> None:
        """See which kinds occur."""
        self.occurs.fill_(False)
        for batch in batches:
            self.occurs[identity(batch)[batch.is_real]] = True

    def forward(self, rows: Tensor, masked: Masked) -> Asked:
        """See `Target`."""
        kinds, logits = identity(masked.batch)[masked.hidden], self.classifier(rows).float()
        asked = _classified(logits, kinds, 0.0)
        if not (self.training and self.smoothing):
            return asked
        even = -logits.log_softmax(-1)[:, self.occurs].mean(-1)
        return asked._replace(losses=torch.lerp(asked.losses, even, self.smoothing))


def _classified(logits: Tensor, target: Tensor, smoothing: float) -> Asked:
    logits = logits.float()
    losses = F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
    right = (logits.argmax(-1) == target).sum() / max(len(target), 1)
    return Asked(losses, {"accuracy": right})


def asked_features(
    features: FeatureExtractor, names: Sequence[str], *, density: bool = False
) -> Features:
    """Return `names`, or all continuous inputs of a model, as Features with constants of their own.

    For a `density` those that others determine are left out.

    Whatever the inputs are scaled by, a target has mean 0 and spread 1, so that each weighs alike;
    impact parameters, which neutral particles do not have, over charged particles.

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
    without = _DISCRETE | _DERIVED if density else _DISCRETE
    wanted = names or [n for n in known if not n.startswith(_BITS) and n not in without]
    if not wanted:
        raise ConfigError("masked_particles: the model's features hold nothing continuous.")
    return Features(particles=tuple(wanted), species="hidden", scaling="tracks")


class _Values(nn.Module):
    """The values `x [t, f]` that are asked for, and which of them there are, `[t, f]` bool."""

    def __init__(self, asked: Features) -> None:
        super().__init__()
        self.features = asked.build()

    @torch.no_grad()
    def forward(self, masked: Masked) -> tuple[Tensor, Tensor]:
        x = self.features(masked.batch).x[masked.hidden].float()
        return x, self.features.meant(masked.batch)[masked.hidden]


class RegressionTarget(Target):
    """The features themselves: absolute or squared difference, summed over those there are."""

    def __init__(self, asked: Features, width: int, distance: Literal["l1", "l2"]) -> None:
        super().__init__()
        self.values, self.distance = _Values(asked), distance
        self.regressor = nn.Linear(width, len(asked.particles))

    def fit(self, batches: Iterable[Batch]) -> None:
        """See `Target.fit`."""
        self.values.features.fit(batches)

    def forward(self, rows: Tensor, masked: Masked) -> Asked:
        """See `Target`."""
        x, there = self.values(masked)
        difference = (self.regressor(rows).float() - x) * there
        each = difference.abs() if self.distance == "l1" else difference.square()
        return Asked(each.sum(-1), {})


class FlowTarget(Target):
    """Minus the logarithm of the density of the features that the particle's embedding implies.

    In the place of a track that a neutral particle does not have stands a Gaussian of spread one,
    as in arXiv:2409.12589: the density of all features is asked for, and there is nothing to know.
    """

    noise: Tensor

    def __init__(self, asked: Features, width: int, settings: FlowSettings) -> None:
        super().__init__()
        self.values = _Values(asked)
        self.flow = CouplingFlow(settings, len(asked.particles), width)
        noise = torch.tensor([settings.noise * (n in TRACK_FEATURES) for n in asked.particles])
        self.register_buffer("noise", noise, persistent=False)

    def fit(self, batches: Iterable[Batch]) -> None:
        """See `Target.fit`."""
        self.values.features.fit(batches)

    def forward(self, rows: Tensor, masked: Masked) -> Asked:
        """See `Target`."""
        x, there = self.values(masked)
        drawn = torch.randn_like(x)
        asked = torch.where(there, x + self.noise * drawn, drawn)
        return Asked(-self.flow.log_prob(asked, rows), {})
