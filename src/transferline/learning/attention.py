r"""What a backbone attends to, by kind of object.

For particles i, j of one event and block l, $\alpha^l_{ij}$ is the weight of j in what i receives,
averaged over heads. The table of a block is the mean of $N \alpha^l_{ij}$ over all pairs (i of kind
a, j of kind b) of all events, N the particles of the event: 1 where attention does not tell kinds
apart. The last row, `all`, takes every i. The deck "Transfer learning in collider physics"
(PoS(ISGC2022) 016) shows the mean of $\alpha$ over events and heads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferline.data.events import CONSTITUENTS, SPECIES
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.data.readers.shards import ShardSet
from transferline.models.model import Model

_EVENTS, _FEWEST, _BATCH = 2000, 200, 500
_PAIRS = 2**20  # are enough: 500 jets of 45 particles tell more than 2000 events of ten objects
_PLACES = 2**20  # pairs of a batch at most: jets of 128 particles come in fewer
_KINDS = {"lepton": ("electron", "muon"), "tau": ("tau",), "b jet": ("bjet",), "jet": ("jet",),
          "MET": ("met",), "photon": ("photon",), "charged hadron": ("charged_hadron",),
          "neutral hadron": ("neutral_hadron",)}  # fmt: skip
_CODES = {**SPECIES, **CONSTITUENTS}


@torch.no_grad()
def attention_by_kind(
    model: Model, shards: ShardSet, rows: NDArray[np.int64]
) -> dict[str, Any] | None:
    """Return kinds, and for every block the table `[kinds + 1, kinds]`.

    It is of at most 2000 events, of fewer if they are large, spread evenly over `rows`. None if the
    backbone shows no attention, the events are made of jets, or nothing says what particles are.
    """
    if isinstance(shards, NestedShardSet) or "species" not in shards.columns:
        return None
    each = float(np.square(shards.n_particles[rows], dtype=np.float64).sum()) / max(1, len(rows))
    events = min(_EVENTS, max(_FEWEST, int(_PAIRS / max(1.0, each))))
    some = rows[:: max(1, -(-len(rows) // events))]
    largest = max(1, int(shards.n_particles[some].max(initial=1)))
    size = max(1, min(_BATCH, _PLACES // largest**2))
    model.cpu().eval()
    found: list[tuple[Tensor, Tensor]] = []
    for part in np.array_split(some, max(1, -(-len(some) // size))):
        batch = shards.gather(part)
        blocks = model.backbone.attention(model.features(batch))
        if not blocks:
            return None
        scaled = torch.stack(blocks, 1) * batch.is_real.sum(1)[:, None, None, None]
        kinds = _kinds(batch.columns["species"], batch.is_real)
        found.append(_sums(scaled.double(), kinds))
    sums, pairs = (torch.stack(parts).sum(0) for parts in zip(*found, strict=True))
    return _named(sums, pairs, len(some))


def _kinds(species: Tensor, is_real: Tensor) -> Tensor:
    """Which kind every particle is of, one-hot `[n, p, kinds]`."""
    rows = [
        torch.stack([species == _CODES[name] for name in names]).any(0) for names in _KINDS.values()
    ]
    return (torch.stack(rows, -1) & is_real.unsqueeze(-1)).double()


def _sums(scaled: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over pairs of every two kinds, `[blocks, kinds, kinds]`, and the number of pairs."""
    sums = torch.einsum("nlij,nia,njb->lab", scaled, kinds, kinds)
    return sums, torch.einsum("nia,njb->ab", kinds, kinds)


def _named(total: Tensor, count: Tensor, events: int) -> dict[str, Any]:
    there = count.sum(0) > 0
    names = [name for name, seen in zip(_KINDS, there.tolist(), strict=True) if seen]
    total, count = total[:, there][:, :, there], count[there][:, there]
    whole = torch.cat((total, total.sum(1, keepdim=True)), 1)
    pairs = torch.cat((count, count.sum(0, keepdim=True)), 0)
    tables = (whole / pairs.clamp(min=1)).numpy().round(4).tolist()
    return {"kinds": names, "blocks": tables, "events": events}
