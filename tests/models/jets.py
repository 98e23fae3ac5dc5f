"""Random jets of constituents, as a Batch, for tests of models."""

from __future__ import annotations

import torch

from transferline.data.batch import Batch
from transferline.data.events import CONSTITUENTS

_MASS = {"charged_hadron": 0.13957, "neutral_hadron": 0.49761, "muon": 0.10566}


def random_jets(counts, seed=0, p=None):
    """One jet per number in `counts`, of particles around an axis, padded to `p` places."""
    random = torch.Generator().manual_seed(seed)
    size = torch.tensor(counts)
    n, p = len(size), p or max(*counts, 1)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=random)

    is_real = torch.arange(p) < size.unsqueeze(1)
    names = list(CONSTITUENTS)
    species = torch.tensor(list(CONSTITUENTS.values()))[
        torch.randint(len(names), (n, p), generator=random)
    ]
    mass = torch.zeros(n, p)
    for name, value in _MASS.items():
        mass[species == CONSTITUENTS[name]] = value
    pt = torch.exp(uniform(-0.7, 5.0, n, p))
    eta = uniform(-2, 2, n, 1) + 0.25 * torch.randn(n, p, generator=random)
    phi = uniform(-3.14159, 3.14159, n, 1) + 0.25 * torch.randn(n, p, generator=random)
    phi = torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi
    charged = (species != CONSTITUENTS["photon"]) & (species != CONSTITUENTS["neutral_hadron"])
    columns = {
        "species": species,
        "charge": charged * torch.where(uniform(0, 1, n, p) < 0.5, -1.0, 1.0),
        "d0": charged * torch.randn(n, p, generator=random),
        "dz": charged * torch.randn(n, p, generator=random),
        "d0err": charged * uniform(0, 1.5, n, p),
        "dzerr": charged * uniform(0, 1.5, n, p),
    }
    return Batch(
        p4=torch.stack((pt, eta, phi, mass), dim=-1) * is_real.unsqueeze(-1),
        is_real=is_real,
        weight=torch.ones(n),
        id=torch.zeros(n, 3, dtype=torch.int64),
        columns={name: values * is_real for name, values in columns.items()},
    )
