"""Small batches of events that look like collisions, for checks that need no files."""

from __future__ import annotations

import torch
from torch import Tensor

from transferline.data.batch import Batch
from transferline.data.events import SPECIES
from transferline.data.nested import Nested

_LEPTONS = (SPECIES["electron"], SPECIES["muon"], SPECIES["tau"])
_HADRONIC = (SPECIES["bjet"], SPECIES["jet"])
_MASS_OVER_PT = {SPECIES["bjet"]: 0.12, SPECIES["jet"]: 0.10}
_MASS = {SPECIES["electron"]: 0.000511, SPECIES["muon"]: 0.10566, SPECIES["tau"]: 0.9}


def toy_batch(n: int = 32, p: int = 8, seed: int = 0, fewest: int = 3) -> Batch:
    """Return `n` events of `fewest` to `p` objects: missing momentum, one lepton, then jets.

    Momenta fall exponentially, masses follow the species; the target (0 or 1) tells whether
    the scalar sum of transverse momenta is above its median, so it can be learnt.
    """
    random = torch.Generator().manual_seed(seed)
    size = torch.randint(fewest, p + 1, (n, 1), generator=random)
    is_real = torch.arange(p) < size
    species = _species(n, p, random) * is_real
    p4 = _momenta(species, random) * is_real.unsqueeze(-1)
    charge = torch.where(torch.rand(n, p, generator=random) < 0.5, -1.0, 1.0)
    is_lepton = (species >= _LEPTONS[0]) & (species <= _LEPTONS[-1])
    btag = torch.rand(n, p, generator=random) * (species == SPECIES["bjet"])
    scalar_sum = p4[..., 0].sum(1)
    return Batch(
        p4=p4,
        is_real=is_real,
        weight=torch.ones(n),
        id=torch.stack((torch.ones(n), torch.ones(n), torch.arange(n)), dim=1).long(),
        columns={"species": species, "charge": charge * is_lepton, "btag": btag},
        target=(scalar_sum > scalar_sum.median()).long(),
    )


def _species(n: int, p: int, random: torch.Generator) -> Tensor:
    leptons, hadronic = torch.tensor(_LEPTONS), torch.tensor(_HADRONIC)
    species = hadronic[torch.randint(len(hadronic), (n, p), generator=random)]
    species[:, 1] = leptons[torch.randint(len(leptons), (n,), generator=random)]
    species[:, 0] = SPECIES["met"]
    return species


def _momenta(species: Tensor, random: torch.Generator) -> Tensor:
    uniform = torch.rand(3, *species.shape, generator=random)
    pt = 20 - 40 * torch.log(uniform[0].clamp(min=1e-3))
    eta = (4 * uniform[1] - 2) * (species != SPECIES["met"])
    phi = (2 * uniform[2] - 1) * torch.pi
    mass = torch.zeros_like(pt)
    for code, value in _MASS.items():
        mass[species == code] = value
    for code, share in _MASS_OVER_PT.items():
        mass = torch.where(species == code, share * pt, mass)
    return torch.stack((pt, eta, phi, mass), dim=-1)


def empty_set_batch(seed: int = 0) -> Batch:
    """Return three events: one without any object, one with one object, one with several."""
    batch = toy_batch(3, 6, seed)
    is_real = batch.is_real.clone()
    is_real[0] = False
    is_real[1, 1:] = False
    columns = {name: values * is_real for name, values in batch.columns.items()}
    p4 = batch.p4 * is_real.unsqueeze(-1)
    return batch.replace(is_real=is_real, columns=columns, p4=p4)


def toy_replicas(n: int = 32, seed: int = 0) -> Nested:
    """Return `n` events of two jets each, the second like the first with other momenta by 10 %.

    One more event has a single jet, and another none.
    """
    random = torch.Generator().manual_seed(seed)
    parent = torch.cat([torch.arange(n).repeat_interleave(2), torch.tensor([n])])
    sets = _taken(toy_batch(n + 1, seed=seed), parent)
    other = 1 + 0.1 * torch.randn(n, 1, generator=random)
    p4 = sets.p4.clone()
    p4[1:-1:2, :, 0] *= other
    events = toy_batch(n + 2, 2, seed=seed, fewest=2)
    is_real = torch.arange(2) < torch.bincount(parent, minlength=n + 2)[:, None]
    return Nested(sets.replace(p4=p4), parent, events.replace(is_real=is_real))


def _taken(batch: Batch, rows: Tensor) -> Batch:
    """Return these events as sets without a target."""
    return Batch(
        p4=batch.p4[rows],
        is_real=batch.is_real[rows],
        weight=batch.weight[rows],
        id=batch.id[rows],
        columns={name: values[rows] for name, values in batch.columns.items()},
    )
