"""Engineered features of a jet: N-subjettiness, masses, composition and displaced tracks.

What jet taggers were before networks read constituents. The jet's own columns come from the shards,
all else from the constituents; a column that the shards do not have gives no feature. Masses and
momenta in GeV, impact parameters in mm. What does not exist in a jet (the third track of two) is
NaN, which trees take as "missing".
"""

from __future__ import annotations

import torch
from torch import Tensor

from transferline.data.batch import ETA, PHI, PT, Batch
from transferline.data.events import CONSTITUENTS
from transferline.learning.engineered import Engineered

_JET = ("jet_pt", "jet_mass", "jet_sdmass", "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4")
JET_CONTEXT = (*_JET, "jet_eta")
"""Columns of the jet itself that are read, where the shards have them."""
_RATIOS = ((2, 1), (3, 2), (4, 3))
_DISPLACED = (2.0, 3.0, 5.0)
"""Significances |d0| / error above which a track counts as displaced."""
_LEADING = 3
"""Tracks whose significances are features of their own."""


def engineered_jets(batch: Batch) -> tuple[list[str], Tensor]:
    """Return the names of the features and their values `[n, f]`, float32."""
    columns = {
        **_of_the_jet(batch),
        **_shape(batch),
        **_composition(batch),
        **_tracks(batch),
    }
    return list(columns), torch.stack([value.float() for value in columns.values()], dim=1)


JET_FEATURES = Engineered("jets 1", engineered_jets)


def _of_the_jet(batch: Batch) -> dict[str, Tensor]:
    """Momentum, masses and N-subjettiness as the file has them, and ratios of the latter."""
    known = batch.context
    found = {name: known[name] for name in _JET if name in known}
    if "jet_eta" in known:
        found["jet_abs_eta"] = known["jet_eta"].abs()
    for over, under in _RATIOS:
        top, bottom = (known.get(f"jet_tau{n}") for n in (over, under))
        if top is not None and bottom is not None:
            ratio = (top / bottom).masked_fill(bottom <= 0, torch.nan)
            found[f"tau{over}{under}"] = ratio
    return found


def _shape(batch: Batch) -> dict[str, Tensor]:
    r"""Multiplicity, $p_T^D = \sqrt{\sum p_T^2} / \sum p_T$, width, mass of the constituents."""
    pt = batch.p4[..., PT].masked_fill(~batch.is_real, 0.0)
    total = pt.sum(1).clamp(min=1e-6)
    vectors = batch.momenta.masked_fill(~batch.is_real.unsqueeze(-1), 0.0).sum(1)
    mass = (vectors[:, 0] ** 2 - (vectors[:, 1:] ** 2).sum(1)).clamp(min=0).sqrt()
    return {
        "multiplicity": batch.is_real.sum(1),
        "ptd": (pt**2).sum(1).sqrt() / total,
        "width": (pt * _distance(batch)).sum(1) / total,
        "constituent_mass": mass,
        "leading_share": pt.max(1)[0] / total,
    }


def _distance(batch: Batch) -> Tensor:
    """Distance of each constituent to the axis of their sum, `[n, p]`."""
    vectors = batch.momenta.masked_fill(~batch.is_real.unsqueeze(-1), 0.0).sum(1)
    _, px, py, pz = vectors.unbind(1)
    eta = torch.asinh(pz / torch.hypot(px, py).clamp(min=1e-6)).unsqueeze(1)
    phi = torch.atan2(py, px).unsqueeze(1)
    d_phi = torch.remainder(batch.p4[..., PHI] - phi + torch.pi, 2 * torch.pi) - torch.pi
    return torch.hypot(batch.p4[..., ETA] - eta, d_phi)


def _composition(batch: Batch) -> dict[str, Tensor]:
    """Number and share of the momentum of each kind, its hardest particle, and the charge."""
    pt = batch.p4[..., PT].masked_fill(~batch.is_real, 0.0)
    total = pt.sum(1).clamp(min=1e-6)
    found: dict[str, Tensor] = {}
    for name, code in CONSTITUENTS.items() if "species" in batch.columns else ():
        kind = (batch.columns["species"] == code) & batch.is_real
        of_kind = pt.masked_fill(~kind, 0.0)
        found[f"n_{name}"] = kind.sum(1)
        found[f"share_{name}"] = of_kind.sum(1) / total
        found[f"hardest_{name}"] = of_kind.max(1)[0] / total
    if "charge" in batch.columns:
        charge = batch.columns["charge"].masked_fill(~batch.is_real, 0.0)
        found["abs_charge"] = charge.sum(1).abs()
        # Weighted by the root of the momentum, as jet charge is.
        found["abs_jet_charge"] = ((charge * pt.sqrt()).sum(1) / total.sqrt()).abs()
    return found


def _tracks(batch: Batch) -> dict[str, Tensor]:
    """Displaced tracks: how many, what they carry, and the significances of the foremost."""
    if not {"d0", "d0err"} <= set(batch.columns):
        return {}
    pt = batch.p4[..., PT].masked_fill(~batch.is_real, 0.0)
    is_track = (batch.columns["d0err"] > 0) & batch.is_real
    ratio = batch.columns["d0"].abs() / batch.columns["d0err"].clamp(min=1e-6)
    significance = ratio.masked_fill(~is_track, -torch.inf)
    found: dict[str, Tensor] = {"n_tracks": is_track.sum(1)}
    for least in _DISPLACED:
        displaced = significance > least
        found[f"n_displaced_{least:g}"] = displaced.sum(1)
        share = pt.masked_fill(~displaced, 0.0).sum(1) / pt.sum(1).clamp(min=1e-6)
        found[f"share_displaced_{least:g}"] = share
    foremost = significance.sort(dim=1, descending=True)[0][:, :_LEADING]
    for rank in range(foremost.shape[1]):
        value = foremost[:, rank]
        found[f"significance_{rank + 1}"] = value.masked_fill(value.isinf(), torch.nan)
    return found
