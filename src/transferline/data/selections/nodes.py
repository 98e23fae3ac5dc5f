"""Fixed nodes: the same number of objects of each kind in every event, for graphs of one size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.data.selections.flat import Flat, Mask
from transferline.data.selections.recipe import FixedNodes

_LEPTONS = ("electron", "muon")


def keep_nodes(
    kinds: Mapping[str, Flat], tagger: str, nodes: FixedNodes
) -> tuple[dict[str, Flat], Mask]:
    """Return the objects of each kind that are nodes, and which jets of them are b nodes.

    The hardest leptons (electrons and muons together) and taus; as b nodes the jets with the
    highest discriminant, whatever it is, of equal ones the harder; as light nodes the hardest
    of the other jets. An event with too few objects keeps what it has.
    """
    kept = {**kinds, **_leading_leptons(kinds, nodes.leptons)}
    if "tau" in kinds:
        taus = kinds["tau"]
        kept["tau"] = taus.keep(_place(taus.event, taus["pt"]) < nodes.taus)
    jets = kinds["jet"]
    is_b = _place(jets.event, jets[tagger], jets["pt"]) < nodes.bjets
    light = np.zeros_like(is_b)
    light[~is_b] = _place(jets.event[~is_b], jets["pt"][~is_b]) < nodes.jets
    kept["jet"] = jets.keep(is_b | light)
    return kept, is_b[is_b | light]


def _leading_leptons(kinds: Mapping[str, Flat], number: int) -> dict[str, Flat]:
    parts = [kinds[name] for name in _LEPTONS]
    event = np.concatenate([part.event for part in parts])
    leading = _place(event, np.concatenate([part["pt"] for part in parts])) < number
    shares = np.split(leading, [len(parts[0].event)])
    return {n: part.keep(own) for n, part, own in zip(_LEPTONS, parts, shares, strict=True)}


def _place(event: NDArray[np.intp], *keys: NDArray[Any]) -> NDArray[np.intp]:
    """Return the place of every object within its event by falling keys, the first one first."""
    order = np.lexsort((*(-key for key in reversed(keys)), event))
    counts = np.bincount(event)
    first = np.cumsum(counts) - counts
    place = np.empty(len(event), np.intp)
    place[order] = np.arange(len(event)) - first[event[order]]
    return place
