"""Standardised features back into four-momenta, as far as the features tell them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from transferline.data.batch import ETA, MASS, PHI, PT, Batch
from transferline.errors import DataError
from transferline.models.features import FeatureExtractor

Named = dict[str, Tensor]


def physical(features: FeatureExtractor, batch: Batch, x: Tensor) -> Batch:
    """Return the batch with the momenta that `x [n, p, f]`, such as a decoded code, stands for.

    Angles are relative to the jet of `batch`, where the features are; what the features do not
    tell, such as a mass, is that of `batch`.

    Raises:
        DataError: the features do not tell pT, eta or phi.
    """
    f = len(features.recipe.particles)
    columns = (x[..., :f] * features.scale + features.mean).unbind(-1)
    named = dict(zip(features.recipe.particles, columns, strict=True))
    parts = [
        _first("pT", _PT, named, batch),
        _first("eta", _ETA, named, batch),
        _first("phi", _PHI, named, batch),
        named["log_mass"].expm1().clamp(min=0) if "log_mass" in named else batch.p4[..., MASS],
    ]
    assert (PT, ETA, PHI, MASS) == (0, 1, 2, 3)
    p4 = torch.stack(parts, dim=-1)
    return batch.replace(p4=p4 * batch.is_real.unsqueeze(-1))


def relative(features: FeatureExtractor, x: Tensor, is_real: Tensor) -> Batch:
    """Return jets around the axis (0, 0) of massless particles with the features `x [n, p, f]`.

    There is no batch that they come from: pT, angles to the axis and nothing else are known.

    Raises:
        DataError: the features do not tell these.
    """
    names = list(features.recipe.particles)
    missing = [name for name in ("log_pt", "delta_eta", "delta_phi") if name not in names]
    if missing:
        raise DataError(f"the features of this tokenizer do not hold {', '.join(missing)}.")
    columns = x[..., : len(names)] * features.scale + features.mean
    pt, eta, phi = (columns[..., names.index(n)] for n in ("log_pt", "delta_eta", "delta_phi"))
    p4 = torch.stack((pt.exp(), eta, phi, torch.zeros_like(pt)), dim=-1)
    return Batch(
        p4=p4 * is_real.unsqueeze(-1),
        is_real=is_real,
        weight=torch.ones(len(x)),
        id=torch.zeros(len(x), 3, dtype=torch.int64),
    )


Inverse = Callable[[Named, Batch], Tensor]


def _delta_eta(named: Named, batch: Batch) -> Tensor:
    eta = batch.whole_jet[1]
    return eta + torch.where(eta > 0, 1.0, -1.0) * named["delta_eta"]


def _delta_phi(named: Named, batch: Batch) -> Tensor:
    phi = batch.whole_jet[2] + named["delta_phi"]
    return torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi


_PT: dict[tuple[str, ...], Inverse] = {
    ("log_pt",): lambda named, _: named["log_pt"].exp(),
    ("log10_pt",): lambda named, _: 10 ** named["log10_pt"],
    ("log_pt_share",): lambda named, batch: named["log_pt_share"].exp() * batch.whole_jet[0],
}
_ETA: dict[tuple[str, ...], Inverse] = {
    ("eta",): lambda named, _: named["eta"],
    ("delta_eta",): _delta_eta,
}
_PHI: dict[tuple[str, ...], Inverse] = {
    ("phi",): lambda named, _: named["phi"],
    ("delta_phi",): _delta_phi,
    ("sin_phi", "cos_phi"): lambda named, _: torch.atan2(named["sin_phi"], named["cos_phi"]),
}


def _first(what: str, ways: dict[tuple[str, ...], Inverse], named: Named, batch: Batch) -> Tensor:
    for needed, way in ways.items():
        if all(name in named for name in needed):
            return way(named, batch)
    known = ", ".join("+".join(names) for names in ways)
    raise DataError(f"the features of this tokenizer do not tell {what}: none of {known}.")
