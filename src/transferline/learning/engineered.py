"""Engineered features: what an analyst would give to boosted trees, from the Batch alone.

Nothing enters that the networks do not see: four-vectors, charge, species and, where the shards
have it, the b-tag score. Angles in rad, momenta and masses in GeV; what does not exist in an
event (the third jet of two) is NaN, which trees take as "missing".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from transferline.data.batch import ETA, MASS, PHI, PT, Batch
from transferline.data.events import SPECIES


@dataclass(frozen=True)
class Engineered:
    """A set of features: `compute(batch)` gives their names and values `[n, f]`.

    `version` is another one wherever a feature would be; tables on disk go by it.
    """

    version: str
    compute: Callable[[Batch], tuple[list[str], Tensor]]


_HIGGS, _W, _TOP = 125.0, 80.4, 172.5
_LEADING = {"lepton": 2, "tau": 2, "bjet": 4, "jet": 4}


def engineered(batch: Batch) -> tuple[list[str], Tensor]:
    """Return the names of the features and their values `[n, f]`, float32."""
    groups = {name: _of(batch, *species) for name, species in _GROUPS.items()}
    columns: dict[str, Tensor] = {}
    for name, mask in groups.items():
        columns[f"n_{name}"] = mask.sum(1).float()
    columns |= _leading(batch, groups)
    columns |= _event_shape(batch, groups)
    distance, mass = _pair_table(batch)
    columns |= _pairs(distance, mass, groups["bjet"], "bb")
    columns |= _pairs(distance, mass, groups["jet"], "jj")
    columns |= _pairs(distance, mass, groups["lepton"] | groups["tau"], "ll")
    columns |= _resonances(batch, distance, mass, groups)
    columns |= _missing(batch, groups)
    return list(columns), torch.stack([value.float() for value in columns.values()], dim=1)


_GROUPS = {
    "lepton": ("electron", "muon"),
    "tau": ("tau",),
    "bjet": ("bjet",),
    "jet": ("jet",),
    "hadronic": ("bjet", "jet"),
    "photon": ("photon",),
}


def _of(batch: Batch, *species: str) -> Tensor:
    found = batch.columns["species"]
    codes = torch.tensor([SPECIES[name] for name in species], device=found.device)
    return torch.isin(found, codes) & batch.is_real


def _leading(batch: Batch, groups: dict[str, Tensor]) -> dict[str, Tensor]:
    """pT, |eta| and, for jets, mass (and b-tag score) of the leading objects of each kind."""
    out: dict[str, Tensor] = {}
    for name, count in _LEADING.items():
        for rank in range(count):
            place, exists = _ranked(batch.p4[..., PT], groups[name], rank)
            out[f"{name}{rank + 1}_pt"] = _take(batch.p4[..., PT], place, exists)
            out[f"{name}{rank + 1}_abs_eta"] = _take(batch.p4[..., ETA].abs(), place, exists)
            if "jet" in name:
                out[f"{name}{rank + 1}_mass"] = _take(batch.p4[..., MASS], place, exists)
    for name in ("lepton", "tau"):
        out[f"{name}_charge"] = batch.columns["charge"].masked_fill(~groups[name], 0).sum(1)
    if "btag" in batch.columns:
        scores = batch.columns["btag"].masked_fill(~groups["hadronic"], -1).sort(descending=True)[0]
        for rank in range(4):
            value = (
                scores[:, rank] if scores.shape[1] > rank else scores.new_full((len(batch),), -1)
            )
            out[f"btag{rank + 1}"] = value
    return out


def _ranked(key: Tensor, mask: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Place of the object with the `rank`-th largest `key`, `[n]`, and whether there is one."""
    order = key.masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
    exists = mask.sum(1) > rank
    return order[:, min(rank, order.shape[1] - 1)], exists


def _take(values: Tensor, place: Tensor, exists: Tensor) -> Tensor:
    return values.gather(1, place[:, None])[:, 0].masked_fill(~exists, torch.nan)


def _event_shape(batch: Batch, groups: dict[str, Tensor]) -> dict[str, Tensor]:
    """HT, visible mass, centrality, and sphericity and aplanarity of the jets."""
    hadronic = groups["hadronic"]
    visible = hadronic | groups["lepton"] | groups["tau"] | groups["photon"]
    pt = batch.p4[..., PT]
    vectors = batch.momenta
    energy = vectors[..., 0]
    seen = torch.where(visible[..., None], vectors, vectors.new_zeros(()))
    total = seen.sum(1)
    ht = pt.masked_fill(~hadronic, 0).sum(1)
    momenta = torch.where(hadronic[..., None], vectors[..., 1:], vectors.new_zeros(()))
    tensor = momenta.transpose(1, 2) @ momenta
    trace = tensor.diagonal(dim1=1, dim2=2).sum(-1).clamp(min=1e-6)
    values = torch.linalg.eigvalsh((tensor / trace[:, None, None]).double())
    return {
        "ht": ht,
        "ht_bjets": pt.masked_fill(~groups["bjet"], 0).sum(1),
        "st": pt.masked_fill(~batch.is_real, 0).sum(1),
        "visible_mass": _mass(total),
        "visible_pt": total[:, 1:3].norm(dim=1),
        "centrality": pt.masked_fill(~visible, 0).sum(1)
        / energy.masked_fill(~visible, 0).sum(1).clamp(min=1e-6),
        "jets_mass": _mass(torch.where(hadronic[..., None], vectors, vectors.new_zeros(())).sum(1)),
        "sphericity": 1.5 * (values[:, 0] + values[:, 1]),
        "aplanarity": 1.5 * values[:, 0],
    }


def _mass(vectors: Tensor) -> Tensor:
    """Invariant mass of (E, px, py, pz), `[..., 4] -> [...]`; rounding below zero counts as 0."""
    return (vectors[..., 0] ** 2 - (vectors[..., 1:] ** 2).sum(-1)).clamp(min=0).sqrt()


def _pair_table(batch: Batch) -> tuple[Tensor, Tensor]:
    """Distance and mass of all pairs, `[n, p, p]`: once, as they take most of the time."""
    eta, phi = batch.p4[..., ETA], batch.p4[..., PHI]
    d_phi = torch.remainder(phi[:, :, None] - phi[:, None] + torch.pi, 2 * torch.pi) - torch.pi
    distance = torch.hypot(eta[:, :, None] - eta[:, None], d_phi)
    vectors = batch.momenta
    return distance, _mass(vectors[:, :, None] + vectors[:, None])


def _exist(left: Tensor, right: Tensor) -> Tensor:
    """Whether there is a pair of one in the mask `left` and another in `right`, `[n, p, p]`.

    Of one mask with itself every pair counts once, i < j.
    """
    exists = left[:, :, None] & right[:, None]
    if left is right:
        return exists & torch.ones_like(exists[0]).triu(1)
    return exists & ~torch.eye(exists.shape[1], dtype=torch.bool, device=exists.device)


def _pairs(distance: Tensor, mass: Tensor, mask: Tensor, name: str) -> dict[str, Tensor]:
    """Least, largest and mean distance and mass of the pairs; mass of the closest pair."""
    distance, mass, exists = (t.flatten(1) for t in (distance, mass, _exist(mask, mask)))
    count = exists.sum(1)
    some = count > 0
    out: dict[str, Tensor] = {}
    for label, values in (("dr", distance), ("m", mass)):
        low = values.masked_fill(~exists, torch.inf).min(1)[0]
        high = values.masked_fill(~exists, -torch.inf).max(1)[0]
        mean = values.masked_fill(~exists, 0).sum(1) / count
        out |= {
            f"{label}_{name}_min": low,
            f"{label}_{name}_max": high,
            f"{label}_{name}_mean": mean,
        }
    closest = distance.masked_fill(~exists, torch.inf).argmin(1)
    out[f"m_{name}_closest"] = mass.gather(1, closest[:, None])[:, 0]
    return {key: value.masked_fill(~some, torch.nan) for key, value in out.items()}


def _nearest(values: Tensor, exists: Tensor, mass: float) -> Tensor:
    flat, there = values.flatten(1), exists.flatten(1)
    place = (flat - mass).abs().masked_fill(~there, torch.inf).argmin(1)
    return _take(flat, place, there.any(1))


def _resonances(
    batch: Batch, distance: Tensor, mass: Tensor, groups: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Masses nearest to a Higgs boson, a W boson and a (leptonic) top quark."""
    bjet, jet = groups["bjet"], groups["jet"]
    is_bb, is_lb = _exist(bjet, bjet), _exist(groups["lepton"], bjet)
    return {
        "m_bb_higgs": _nearest(mass, is_bb, _HIGGS),
        "m_jj_w": _nearest(mass, _exist(jet, jet), _W),
        "m_bj_top": _nearest(mass, _exist(bjet, jet), _TOP),
        "m_lb_min": _least(mass, is_lb),
        "dr_lb_min": _least(distance, is_lb),
        "n_bb_higgs": ((mass - _HIGGS).abs() < 25).logical_and(is_bb).flatten(1).sum(1),
        "pt_bb_closest": _closest_pt(batch, distance, is_bb),
    }


def _least(values: Tensor, exists: Tensor) -> Tensor:
    there = exists.flatten(1)
    least = values.flatten(1).masked_fill(~there, torch.inf).min(1)[0]
    return least.masked_fill(~there.any(1), torch.nan)


def _closest_pt(batch: Batch, distance: Tensor, exists: Tensor) -> Tensor:
    """Transverse momentum of the closest pair."""
    px, py = (
        batch.p4[..., PT] * batch.p4[..., PHI].cos(),
        batch.p4[..., PT] * batch.p4[..., PHI].sin(),
    )
    pt = torch.hypot(px[:, :, None] + px[:, None], py[:, :, None] + py[:, None]).flatten(1)
    there = exists.flatten(1)
    place = distance.flatten(1).masked_fill(~there, torch.inf).argmin(1)
    return _take(pt, place, there.any(1))


def _missing(batch: Batch, groups: dict[str, Tensor]) -> dict[str, Tensor]:
    r"""Missing momentum and, of lepton and tau, $m_T$.

    $m_T = \sqrt{2 p_T p_T^{miss} (1 - \cos\Delta\phi)}$.
    """
    pt, phi = batch.p4[..., PT], batch.p4[..., PHI]
    met, has_met = _ranked(pt, _of(batch, "met"), 0)
    met_pt, met_phi = _take(pt, met, has_met), _take(phi, met, has_met)
    out = {"met": met_pt}
    for name in ("lepton", "tau"):
        place, exists = _ranked(pt, groups[name], 0)
        its_pt, its_phi = _take(pt, place, exists), _take(phi, place, exists)
        square = 2 * its_pt * met_pt * (1 - (its_phi - met_phi).cos())
        out[f"mt_{name}_met"] = square.clamp(min=0).sqrt()
    return out


EVENT_FEATURES = Engineered("3", engineered)
