"""inspect_tokenizer(): plots and numbers of what a tokenizer makes of some jets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transferline.data.batch import ETA, PHI, PT, Batch, cartesian
from transferline.data.loader import Loader
from transferline.data.readers.shards import ShardSet
from transferline.evaluation.roc import Floats
from transferline.files import write_json
from transferline.learning.source_rows import evenly
from transferline.learning.tokenizer_quality import quality
from transferline.models.tokenizer_checkpoint import TokenizerCheckpoint
from transferline.models.tokenizers.base import Tokenizer
from transferline.models.tokenizers.physical import physical
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label, save
from transferline.reporting.tokenizer_plots import code_usage, edges, spectrum

_COUNTED = 1.0  # GeV; constituents above it make the multiplicity

_TITLES = {
    "pt": "log$_{10}$(constituent $p_T$ / GeV)",
    "eta": r"Constituent $\eta$ - jet $\eta$",
    "phi": r"Constituent $\varphi$ - jet $\varphi$ [rad]",
    "multiplicity": f"Constituents above {_COUNTED:g} GeV",
    "mass": "Jet mass [GeV]",
}


def inspect_tokenizer(place: Path, data: Path, out: Path, most: int = 10_000) -> dict[str, Any]:
    """Write `tokenizer.json` and the plots of pT, eta, phi, multiplicity, mass and codes.

    Args:
        place: directory of the tokenizer.
        data: shards.
        out: directory of what is written.
        most: events that are looked at, evenly through all.

    Returns:
        What `tokenizer.json` holds: `quality` (codes used, perplexity, differences), and for every
        quantity mean, spread and the median of the absolute difference, jet by jet.
    """
    tokenizer = TokenizerCheckpoint.load(place).tokenizer()
    shards = ShardSet([data])
    rows = evenly(np.arange(len(shards)), most)
    loader = Loader(shards, rows, 512, shuffle=False)
    seen = [_pair(tokenizer, batch) for batch in loader.batches(0)]
    before, after = _joined([pair[0] for pair in seen]), _joined([pair[1] for pair in seen])
    found = quality(tokenizer, loader.batches(0))
    counts = np.sum([pair[2] for pair in seen], axis=0)
    label = Label(shards.cards[0].sample)
    for drawing in _drawings(before, after, counts, found, label):
        save(drawing.make(), out / drawing.stem)
    facts = {
        "tokenizer": str(place),
        "sample": shards.cards[0].sample,
        "events": len(rows),
        "quality": found,
        "quantities": {name: _compared(before[name], after[name]) for name in _TITLES},
    }
    write_json(out / "tokenizer.json", facts)
    return facts


@torch.no_grad()
def _pair(
    tokenizer: Tokenizer, batch: Batch
) -> tuple[dict[str, Floats], dict[str, Floats], Floats]:
    codes = tokenizer(batch)
    back = physical(tokenizer.features, batch, tokenizer.decode(codes, batch.is_real))
    counts = torch.bincount(codes[batch.is_real], minlength=tokenizer.n_codes)
    axis = batch.whole_jet
    return _quantities(batch, axis), _quantities(back, axis), counts.double().numpy()


def _quantities(batch: Batch, axis: tuple[Tensor, ...]) -> dict[str, Floats]:
    real, p4 = batch.is_real, batch.p4.double()
    energy, px, py, pz = (cartesian(p4) * real.unsqueeze(-1)).sum(1).unbind(-1)
    phi = torch.remainder(p4[..., PHI] - axis[2] + torch.pi, 2 * torch.pi) - torch.pi
    found = {
        "pt": p4[..., PT][real].clamp(min=1e-6).log10(),
        "eta": (p4[..., ETA] - axis[1])[real],
        "phi": phi[real],
        "multiplicity": ((p4[..., PT] > _COUNTED) & real).sum(1),
        "mass": (energy**2 - px**2 - py**2 - pz**2).clamp(min=0).sqrt(),
    }
    return {name: values.double().numpy() for name, values in found.items()}


def _joined(parts: list[dict[str, Floats]]) -> dict[str, Floats]:
    return {name: np.concatenate([part[name] for part in parts]) for name in _TITLES}


def _compared(before: Floats, after: Floats) -> dict[str, float]:
    return {
        "mean": float(before.mean()),
        "mean_from_tokens": float(after.mean()),
        "spread": float(before.std()),
        "spread_from_tokens": float(after.std()),
        "median_difference": float(np.median(np.abs(after - before))),
    }


def _drawings(
    before: dict[str, Floats],
    after: dict[str, Floats],
    counts: Floats,
    found: dict[str, float],
    label: Label,
) -> list[Drawing]:
    drawings = []
    for name, title in _TITLES.items():
        bins = edges([before[name]], whole=name == "multiplicity")
        make = partial(spectrum, before[name], after[name], bins, title, label)
        drawings.append(Drawing(f"tokens-{name}", title, make))
    usage = partial(code_usage, counts, found, label)
    return [*drawings, Drawing("tokens-codes", "Use of the codes", usage)]
