"""Truth of jets: which resonance's decay lies in a jet, and the number JetClass gives to it.

A jet is matched if every quark, gluon and charged lepton that its resonance decays to lies within
the jet's radius of its axis; neutrinos may go anywhere.
"""

# ruff: noqa: PLR0917 - numba functions take no keyword-only arguments
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferline.generate.ancestry import HardProcess
from transferline.generate.compiled import Array, compiled
from transferline.generate.large_jets.recombination import distance2

_CHARM, _BOTTOM, _ELECTRON, _MUON, _TAU, _GLUON = 4, 5, 11, 13, 15, 21
_OUTGOING = 23
_BY_CLASS = {"Hbb": 41, "Hcc": 42, "Hgg": 44, "H4q": 45, "Hqql": 46}
QCD_MATCH = 50
"""`aux_truth_match` of jets without a resonance."""


@dataclass(frozen=True)
class Decays:
    """Resonances with what they decay to, laid end to end.

    `event [n]` and `p4 [n, 4]` (px, py, pz, E in GeV) are the resonances', `pdg_id [n]` too; of
    their visible decay products there are `direction [k, 2]` (eta, phi) and |PDG id| `code [k]`,
    bounded by `offsets [n + 1]`.
    """

    event: Array
    pdg_id: Array
    p4: Array
    offsets: Array
    direction: Array
    code: Array

    def count(self, *codes: int) -> Array:
        """Return how many decay products of these kinds each resonance has."""
        inside = np.isin(self.code, codes).astype(np.int64)
        total = np.concatenate([[0], np.cumsum(inside)])
        return np.asarray(np.diff(total[self.offsets]))


def direction(p4: Array) -> Array:
    """Return (eta, phi) of each row (px, py, pz, E)."""
    pt = np.maximum(np.hypot(p4[:, 0], p4[:, 1]), 1e-12)
    return np.stack([np.arcsinh(p4[:, 2] / pt), np.arctan2(p4[:, 1], p4[:, 0])], axis=1)


@compiled
def _owners(resonance: int, code: Array, mother: Array, first: Array) -> Array:
    """Place of the resonance above each particle, -1 for none; `first` is its event's start."""
    result = np.full(len(code), -1, np.int64)
    for i in range(len(code)):
        here = i
        while mother[here] >= 0:
            here = first[i] + mother[here]
            if abs(code[here]) == resonance:
                result[i] = here
                break
    return result


def resonance_decays(hard: HardProcess, resonance: int) -> Decays:
    """Collect the decays of one kind of resonance, |PDG id| `resonance`."""
    code = np.abs(hard.pdg_id)
    first = np.searchsorted(hard.event, hard.event)
    owner = _owners(resonance, hard.pdg_id, hard.mother, first)
    products = np.flatnonzero((owner >= 0) & _is_visible(code))
    products = products[np.argsort(owner[products], kind="stable")]
    owners, counts = np.unique(owner[products], return_counts=True)
    return Decays(
        event=hard.event[owners],
        pdg_id=hard.pdg_id[owners],
        p4=hard.p4[owners],
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        direction=direction(hard.p4[products]),
        code=code[products],
    )


def outgoing_partons(hard: HardProcess) -> Decays:
    """Return quarks and gluons of the hard process, each as what it is and decays to."""
    code = np.abs(hard.pdg_id)
    found = np.flatnonzero((hard.status == _OUTGOING) & ((code <= _BOTTOM) | (code == _GLUON)))
    return Decays(
        event=hard.event[found],
        pdg_id=hard.pdg_id[found],
        p4=hard.p4[found],
        offsets=np.arange(len(found) + 1),
        direction=direction(hard.p4[found]),
        code=code[found],
    )


def _is_visible(code: Array) -> Array:
    return (code <= _BOTTOM) | np.isin(code, (_ELECTRON, _MUON, _TAU, _GLUON))


@compiled
def match_jets(
    jet_event: Array,
    jet_direction: Array,
    event: Array,
    offsets: Array,
    products: Array,
    radius: float,
) -> Array:
    """Return for each jet the first of the decays that lies within `radius` of it, else -1."""
    result = np.full(len(jet_event), -1, np.int64)
    for j in range(len(jet_event)):
        k = np.searchsorted(event, jet_event[j])
        while k < len(event) and event[k] == jet_event[j] and result[j] < 0:
            inside = True
            for i in range(offsets[k], offsets[k + 1]):
                d2 = distance2(
                    jet_direction[j, 0], jet_direction[j, 1], products[i, 0], products[i, 1]
                )
                inside = inside and d2 < radius * radius
            if inside:
                result[j] = k
            k += 1
    return result


@compiled
def count_near(
    jet_event: Array, jet_direction: Array, event: Array, directions: Array, radius: float
) -> Array:
    """Return how many of some particles, ordered by event, lie within `radius` of each jet."""
    result = np.zeros(len(jet_event), np.int64)
    for j in range(len(jet_event)):
        k = np.searchsorted(event, jet_event[j])
        while k < len(event) and event[k] == jet_event[j]:
            d2 = distance2(
                jet_direction[j, 0], jet_direction[j, 1], directions[k, 0], directions[k, 1]
            )
            result[j] += d2 < radius * radius
            k += 1
    return result


def truth_match(jet_class: str, decays: Decays) -> Array:
    """Return the number that JetClass stores as `aux_truth_match`, for each decay.

    11 and 12 are t -> b c q and b q q, 15 and 16 t -> b e nu and b mu nu, 21 and 22 W -> c q and
    q q, 31 to 33 Z -> b b, c c and q q, 41 to 46 the decays of H, 50 has no resonance.
    """
    charm, bottom = decays.count(_CHARM), decays.count(_BOTTOM)
    match jet_class:
        case "Tbqq":
            return np.where(charm + bottom > 1, 11, 12)
        case "Tbl":
            return np.where(decays.count(_ELECTRON) > 0, 15, 16)
        case "Wqq":
            return np.where(charm + bottom > 0, 21, 22)
        case "Zqq":
            return np.select([bottom > 0, charm > 0], [31, 32], 33)
        case _:
            return np.full(len(decays.event), _BY_CLASS.get(jet_class, QCD_MATCH))
