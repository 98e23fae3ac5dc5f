"""Engineered features of events of jets: the jets' momenta and masses, and those of pairs.

Nothing of the constituents enters: boosted trees on them are what an analysis without a tagger
could do. Momenta and masses in GeV; what does not exist in an event is NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transferline.data.batch import Batch, cartesian
from transferline.data.nested import AnyBatch, Nested
from transferline.errors import DataError
from transferline.learning.engineered import Engineered

_LEADING = 3


def engineered_jet_events(batch: AnyBatch) -> tuple[list[str], Tensor]:
    """Return the names of the features and their values `[n, f]`, float32.

    Number of jets; pt, |eta|, mass and soft-drop mass of the three hardest; mass, distances in
    eta and phi, and ratio of the momenta of the two hardest; scalar sum of pt.
    """
    if not isinstance(batch, Nested):
        raise DataError("these features are of events of jets; the batch holds plain sets.")
    events = batch.events
    found = {"n_jets": events.is_real.sum(1), "ht": (events.p4[..., 0] * events.is_real).sum(1)}
    found |= _jets(events) | _pair(events)
    return list(found), torch.stack([value.float() for value in found.values()], dim=1)


def _jets(events: Batch) -> dict[str, Tensor]:
    values = {
        "pt": events.p4[..., 0],
        "abs_eta": events.p4[..., 1].abs(),
        "mass": events.p4[..., 3],
        **{name: events.columns[name] for name in ("sdmass",) if name in events.columns},
    }
    there = _leading(events.is_real, False)
    return {
        f"jet{rank + 1}_{name}": _leading(column, 0.0)[:, rank].masked_fill(
            ~there[:, rank], torch.nan
        )
        for rank in range(_LEADING)
        for name, column in values.items()
    }


def _leading(values: Tensor, filled: float | bool) -> Tensor:
    """The first places of every event, `[n, 3]`: shards keep jets by falling pt."""
    missing = max(_LEADING - values.shape[1], 0)
    return torch.nn.functional.pad(values, (0, missing), value=filled)[:, :_LEADING]


def _pair(events: Batch) -> dict[str, Tensor]:
    """The two hardest jets together: the resonance, if there is one."""
    both = events.is_real.sum(1) > 1
    p4 = torch.nn.functional.pad(events.p4, (0, 0, 0, 2))[:, :2]
    energy, px, py, pz = cartesian(p4).sum(1).unbind(-1)
    eta, phi = p4[..., 1], p4[..., 2]
    d_phi = torch.remainder(phi[:, 0] - phi[:, 1] + torch.pi, 2 * torch.pi) - torch.pi
    found = {
        "pair_mass": (energy**2 - px**2 - py**2 - pz**2).clamp(min=0).sqrt(),
        "pair_delta_eta": (eta[:, 0] - eta[:, 1]).abs(),
        "pair_delta_phi": d_phi.abs(),
        "pair_pt_ratio": p4[:, 1, 0] / p4[:, 0, 0].clamp(min=1e-6),
    }
    return {name: value.masked_fill(~both, torch.nan) for name, value in found.items()}


JET_EVENT_FEATURES = Engineered("jet events 1", engineered_jet_events)
