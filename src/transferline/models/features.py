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
from transferline.data.events import CONSTITUENTS, SPECIES
from transferline.errors import ConfigError, did_you_mean


def _log10(value: Tensor) -> Tensor:
    """log10, and 0 where there is none: so PoS(ISGC2022) 016 fed missing momentum's mass."""
    return torch.where(value > 0, value, 1.0).log10()


_TINY = 1e-8  # GeV; keeps logarithms finite


def _log_ratio(value: Tensor, whole: Tensor) -> Tensor:
    return (value.clamp(min=_TINY) / whole).log()


def _delta_eta(batch: Batch) -> Tensor:
    """Eta relative to the jet, mirrored for jets at negative eta, as in the files of JetClass."""
    eta = batch.whole_jet[1]
    return torch.where(eta > 0, 1.0, -1.0) * (batch.p4[..., ETA] - eta)


def _delta_phi(batch: Batch) -> Tensor:
    delta = batch.p4[..., PHI] - batch.whole_jet[2]
    return torch.remainder(delta + torch.pi, 2 * torch.pi) - torch.pi


def _delta_r(batch: Batch) -> Tensor:
    return torch.sqrt(_delta_eta(batch) ** 2 + _delta_phi(batch) ** 2)


def _column(batch: Batch, name: str) -> Tensor:
    try:  # asked for, not looked up first: columns may have an error of their own to raise
        return batch.columns[name]
    except KeyError:
        there = ", ".join(sorted(batch.columns)) or "none"
        raise ConfigError(
            f"`features` read the column '{name}' of every particle, which these shards do not "
            f"have (columns: {there}). Take other features, or a selection that keeps it."
        ) from None


def _is(species: str) -> Callable[[Batch], Tensor]:
    code = CONSTITUENTS[species]
    return lambda batch: (_column(batch, "species") == code).to(batch.p4)


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
    "charge": lambda b: _column(b, "charge"),
    "btag": lambda b: _column(b, "btag"),
    # Constituents of a jet, as arXiv:2202.03772 feeds them; impact parameters in mm.
    "log_energy": lambda b: b.momenta[..., 0].clamp(min=_TINY).log(),
    "log_pt_share": lambda b: _log_ratio(b.p4[..., PT], b.whole_jet[0]),
    "log_energy_share": lambda b: _log_ratio(b.momenta[..., 0], b.whole_jet[3]),
    "delta_r": _delta_r,
    "delta_eta": _delta_eta,
    "delta_phi": _delta_phi,
    **{f"is_{species}": _is(species) for species in CONSTITUENTS},
    "tanh_d0": lambda b: _column(b, "d0").tanh(),
    "tanh_dz": lambda b: _column(b, "dz").tanh(),
    "d0err": lambda b: _column(b, "d0err").clamp(0, 1),
    "dzerr": lambda b: _column(b, "dzerr").clamp(0, 1),
}
"""Name -> per-particle feature `[n, p]`; momenta in GeV, angles in rad."""

_TYPES = ("is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon")
_KINEMATIC = ("log_pt", "log_energy", "log_pt_share", "log_energy_share", "delta_r")
_DIRECTION = ("delta_eta", "delta_phi")
_TRACK = ("tanh_d0", "d0err", "tanh_dz", "dzerr")
TRACK_FEATURES = frozenset(_TRACK)
"""Those that neutral particles have none of; files hold 0 for them."""

JETCLASS_FEATURES: dict[str, tuple[str, ...]] = {
    "kin": (*_KINEMATIC, *_DIRECTION),
    "kinpid": (*_KINEMATIC, "charge", *_TYPES, *_DIRECTION),
    "full": (*_KINEMATIC, "charge", *_TYPES, *_TRACK, *_DIRECTION),
}
"""The inputs of the published models of Particle Transformer, in their order."""

_PUBLISHED = {
    "log_pt": (1.7, 0.7),
    "log_energy": (2.0, 0.7),
    "log_pt_share": (-4.7, 0.7),
    "log_energy_share": (-4.7, 0.7),
    "delta_r": (0.2, 4.0),
}  # centre and factor, then cut at +-5; all others enter as they are
_CUT = 5.0

_UNSCALED = frozenset(  # already of order one
    {"sin_phi", "cos_phi", "charge", "btag", *_TYPES, *_TRACK}
)


def _known(name: str) -> str:
    if name not in PARTICLE_FEATURES:
        raise ValueError(f"unknown feature '{name}'.{did_you_mean(name, PARTICLE_FEATURES)}")
    return name


@dataclass(frozen=True)
class Inputs:
    """What a backbone embeds: `x [n, p, f]` standardised, `p4 [n, p, 4]` physical, `is_real`.

    `rank [n, p]` is the place by falling pT where `p4` does not tell it, as of masked particles.
    """

    x: Tensor
    p4: Tensor
    is_real: Tensor
    rank: Tensor | None = None


@dataclass(frozen=True)
class InputSpec:
    """Sizes that a backbone is built for; never configured, always derived.

    `momenta` tells whether the inputs come with four-momenta, as those of heads do not.
    """

    n_features: int
    momenta: bool = True


class Features(Recipe):
    """Which particle columns enter, and how the species does.

    Attributes:
        particles: names from `PARTICLE_FEATURES`, in order.
        species: `onehot` appends one bit per known species (an object whose species is hidden
            has none set), `integer` the bare code, `hidden` nothing.
        scaling: `standard` subtracts the mean and divides by the spread, `none` leaves the
            features as they are, `published` takes the constants of arXiv:2202.03772: momenta and
            distance are shifted, scaled and cut at +-5, all others left as they are. `tracks` does
            what `standard` does and scales impact parameters and their errors too: by mean and
            spread of the charged particles, cut at +-5; neutral ones, which have none, get 0.
    """

    particles: tuple[Annotated[str, AfterValidator(_known)], ...] = Field(
        ("log_pt", "eta", "sin_phi", "cos_phi", "log_mass", "charge"), min_length=1
    )
    species: Literal["onehot", "integer", "hidden"] = "onehot"
    scaling: Literal["standard", "none", "published", "tracks"] = "standard"

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
        self.cut: Tensor | None
        self.register_buffer("cut", None, persistent=False)
        self.of_tracks: Tensor | None
        self.register_buffer("of_tracks", None, persistent=False)
        if recipe.scaling == "published":
            self._take_published()
        elif recipe.scaling == "tracks" and not TRACK_FEATURES.isdisjoint(recipe.particles):
            self.of_tracks = torch.tensor([name in TRACK_FEATURES for name in recipe.particles])
            self.cut = torch.where(self.of_tracks, _CUT, torch.inf)

    def _take_published(self) -> None:
        names = self.recipe.particles
        constants = [_PUBLISHED.get(name, (0.0, 1.0)) for name in names]
        self.mean.copy_(torch.tensor([centre for centre, _ in constants]))
        self.scale.copy_(torch.tensor([1 / factor for _, factor in constants]))
        self.cut = torch.tensor([_CUT if name in _PUBLISHED else torch.inf for name in names])

    @property
    def spec(self) -> InputSpec:
        """Sizes of the inputs this module makes."""
        extra = {"onehot": len(SPECIES) - 1, "integer": 1, "hidden": 0}[self.recipe.species]
        return InputSpec(n_features=len(self.recipe.particles) + extra)

    def _raw(self, batch: Batch) -> Tensor:
        columns = [PARTICLE_FEATURES[name](batch) for name in self.recipe.particles]
        return torch.stack(columns, dim=-1)

    def meant(self, batch: Batch) -> Tensor:
        """Which entries of `x` mean something, `[n, p, len(particles)]` bool.

        All of real particles; under `scaling: tracks` none of the track of a neutral one.
        """
        kept = batch.is_real.unsqueeze(-1)
        if self.of_tracks is None:
            return kept.expand(-1, -1, len(self.recipe.particles))
        if "charge" not in batch.columns:
            raise ConfigError(
                "scaling: tracks tells neutral particles by the column `charge`, which these "
                "samples have not. Prepare them with it, or take another scaling."
            )
        charged = (batch.columns["charge"] != 0).unsqueeze(-1)
        return kept & (charged | ~self.of_tracks)

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Set mean and scale to mean and standard deviation over the real particles.

        `scaling: none` and `published` take nothing from the data.
        """
        if self.recipe.scaling not in ("standard", "tracks"):
            return
        count = torch.zeros(len(self.recipe.particles), dtype=torch.float64)
        total, square = torch.zeros_like(count), torch.zeros_like(count)
        for batch in batches:
            meant = self.meant(batch)[batch.is_real]
            real = self._raw(batch)[batch.is_real].double() * meant
            count = count + meant.sum(0)
            total = total + real.sum(0)
            square = square + (real**2).sum(0)
        if not count.any():
            raise ConfigError("Features cannot be fitted: the training split has no particle.")
        mean = total / count.clamp(min=1)
        scale = (square / count.clamp(min=1) - mean**2).clamp(min=0).sqrt()
        left = _UNSCALED - TRACK_FEATURES if self.recipe.scaling == "tracks" else _UNSCALED
        for i, name in enumerate(self.recipe.particles):
            if name in left or scale[i] < 1e-6:
                mean[i], scale[i] = 0.0, 1.0
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, batch: Batch) -> Inputs:
        """Return the standardised inputs; padding is exactly zero."""
        x = (self._raw(batch) - self.mean) / self.scale
        if self.cut is not None:
            x = torch.maximum(torch.minimum(x, self.cut), -self.cut)
        if self.of_tracks is not None:
            x = torch.where(self.meant(batch), x, torch.zeros_like(x))
        if self.recipe.species == "onehot":
            codes = torch.arange(1, len(SPECIES), device=x.device)
            x = torch.cat((x, (_column(batch, "species").unsqueeze(-1) == codes).to(x)), dim=-1)
        elif self.recipe.species == "integer":
            x = torch.cat((x, _column(batch, "species").unsqueeze(-1).to(x)), dim=-1)
        x = torch.where(batch.is_real.unsqueeze(-1), x, torch.zeros_like(x))
        return Inputs(x=x, p4=batch.p4, is_real=batch.is_real)
