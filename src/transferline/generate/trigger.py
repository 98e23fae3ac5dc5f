"""Emulated single-lepton triggers of 2016: threshold, isolation and plateau efficiency."""

from __future__ import annotations

import numpy as np

from transferline.generate.card import LeptonTrigger, Trigger
from transferline.generate.compiled import Array
from transferline.generate.leptons import BARREL
from transferline.generate.tables import Collection


def _plateau(leptons: Collection, card: LeptonTrigger, flag: str) -> tuple[Array, Array]:
    """Which leptons are above threshold, and their efficiency."""
    eligible = (leptons["pt"] > card.pt_min) & (np.abs(leptons["eta"]) < card.eta_max)
    eligible &= (leptons["isolation"] < card.isolation) & leptons[flag]
    barrel = np.abs(leptons["eta"]) < BARREL
    return eligible, np.where(barrel, card.plateau_barrel, card.plateau_endcap)


def _any(leptons: Collection, fired: Array) -> Array:
    return np.bincount(leptons.event, fired, minlength=len(leptons.counts)) > 0


def emulate(
    electrons: Collection, muons: Collection, card: Trigger, rng: np.random.Generator
) -> dict[str, Array]:
    """Return the trigger flags, one bool per event.

    IsoTkMu24 accepts what IsoMu24 accepts, and some of what it misses.
    """
    eligible, efficiency = _plateau(muons, card.muon, "medium")
    u, recovered = rng.random(len(muons)), rng.random(len(muons))
    iso_mu = eligible & (u < efficiency)
    iso_tk_mu = eligible & ((u < efficiency) | (recovered < card.tracker_muon_recovery))
    eligible, efficiency = _plateau(electrons, card.electron, "medium")
    electron = eligible & (rng.random(len(electrons)) < efficiency)
    return {
        "HLT_IsoMu24": _any(muons, iso_mu),
        "HLT_IsoTkMu24": _any(muons, iso_tk_mu),
        "HLT_Ele27_WPTight_Gsf": _any(electrons, electron),
    }
