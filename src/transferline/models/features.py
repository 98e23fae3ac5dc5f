"""Features: the first module of every model, raw physical columns -> standardised inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from transferline.config import Recipe
from transferline.data.batch import ETA, MASS, PHI, PT, Batch
from transferline.data.events import SPECIES
from transferline.errors import ConfigError, did_you_mean


def _log10(value: Tensor) -> Tensor:
    """log10, and 0 where there is none: so PoS(ISGC2022) 016 fed missing momentum's mass."""
    return torch.where(value > 0, value, 1.0).log10()


PARTICLE_FEATURES: dict[str, Callable[[Batch], Tensor]] = {
    # The floor keeps the logarithm finite for padding; every real object is far above it.
    "log_pt": lambda b: b.p4[..., PT].clamp(min=1e-3).log(),
    "log10_pt": lambda b: _log10(b.p4[..., PT]),
    "eta": lambda b: b.p4[..., ETA],
    "phi": lambda b: b.p4[..., PHI],
    "sin_phi": lambda b: b.p4[..., PHI].sin(),
    "cos_phi": lambda b: b.p4[..., PHI].cos(),
    # Missing momentum has mass 0 and merged massless jets come near it: log(1 + m/GeV).
    "log_mass": lambda b: b.p4[..., MASS].clamp(min=0).log1p(),
    "log10_mass": lambda b: _log10(b.p4[..., MASS]),
    "charge": lambda b: b.columns["charge"],
    "btag": lambda b: b.columns["btag"],
}
"""Name -> per-particle feature `[n, p]`; momenta in GeV, angles in rad."""

_UNSCALED = frozenset({"sin_phi", "cos_phi", "charge", "btag"})  # already of order one


def _known(name: str) -> str:
    if name not in PARTICLE_FEATURES:
        raise ValueError(f"unknown feature '{name}'.{did_you_mean(name, PARTICLE_FEATURES)}")
    return name


@dataclass(frozen=True)
class Inputs:
    """What a backbone embeds: `x [n, p, f]` standardised, `p4 [n, p, 4]` physical, `is_real`."""

    x: Tensor
    p4: Tensor
    is_real: Tensor


@dataclass(frozen=True)
class InputSpec:
    """Sizes that a backbone is built for; never configured, always derived."""

    n_features: int


class Features(Recipe):
    """Which particle columns enter, and how the species does.

    Attributes:
        particles: names from `PARTICLE_FEATURES`, in order.
        species: `onehot` appends one bit per known species (an object whose species is hidden
            has none set), `integer` the bare code, `hidden` nothing.
        scaling: `standard` subtracts the mean and divides by the spread, `none` leaves the
            features as they are.
    """

    particles: tuple[Annotated[str, AfterValidator(_known)], ...] = Field(
        ("log_pt", "eta", "sin_phi", "cos_phi", "log_mass", "charge"), min_length=1
    )
    species: Literal["onehot", "integer", "hidden"] = "onehot"
    scaling: Literal["standard", "none"] = "standard"

    def build(self) -> FeatureExtractor:
        """Return the module, its constants not yet fitted."""
        return FeatureExtractor(self)


class FeatureExtractor(nn.Module):
    r"""Standardise $x \to (x - \mu)/\sigma$ with constants kept as buffers.

    The constants come from real particles of the training split (`fit`), travel in the
    checkpoint and in exported graphs, and are never restated downstream.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, recipe: Features) -> None:
        super().__init__()
        self.recipe = recipe
        self.register_buffer("mean", torch.zeros(len(recipe.particles)))
        self.register_buffer("scale", torch.ones(len(recipe.particles)))

    @property
    def spec(self) -> InputSpec:
        """Sizes of the inputs this module makes."""
        extra = {"onehot": len(SPECIES) - 1, "integer": 1, "hidden": 0}[self.recipe.species]
        return InputSpec(n_features=len(self.recipe.particles) + extra)

    def _raw(self, batch: Batch) -> Tensor:
        columns = [PARTICLE_FEATURES[name](batch) for name in self.recipe.particles]
        return torch.stack(columns, dim=-1)

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Set mean and scale to mean and standard deviation over the real particles."""
        if self.recipe.scaling == "none":
            return
        count = 0
        total = torch.zeros(len(self.recipe.particles), dtype=torch.float64)
        square = torch.zeros_like(total)
        for batch in batches:
            real = self._raw(batch)[batch.is_real].double()
            count += len(real)
            total = total + real.sum(0)
            square = square + (real**2).sum(0)
        if count == 0:
            raise ConfigError("Features cannot be fitted: the training split has no particle.")
        mean = total / count
        scale = (square / count - mean**2).clamp(min=0).sqrt()
        for i, name in enumerate(self.recipe.particles):
            if name in _UNSCALED or scale[i] < 1e-6:
                mean[i], scale[i] = 0.0, 1.0
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, batch: Batch) -> Inputs:
        """Return the standardised inputs; padding is exactly zero."""
        x = (self._raw(batch) - self.mean) / self.scale
        if self.recipe.species == "onehot":
            codes = torch.arange(1, len(SPECIES), device=x.device)
            x = torch.cat((x, (batch.columns["species"].unsqueeze(-1) == codes).to(x)), dim=-1)
        elif self.recipe.species == "integer":
            x = torch.cat((x, batch.columns["species"].unsqueeze(-1).to(x)), dim=-1)
        x = torch.where(batch.is_real.unsqueeze(-1), x, torch.zeros_like(x))
        return Inputs(x=x, p4=batch.p4, is_real=batch.is_real)
