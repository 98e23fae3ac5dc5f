"""compare_generated(): jets that a next-token model draws beside real ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transferline.data.batch import ETA, PHI, PT, Batch, cartesian
from transferline.data.loader import Loader
from transferline.data.readers.shards import Shards, ShardSet
from transferline.errors import DataError
from transferline.evaluation.roc import Floats
from transferline.evaluation.two_sample import wasserstein
from transferline.files import write_json
from transferline.learning.jet_sampling import GeneratorCheckpoint, load_generator, sample_jets
from transferline.models.features import PARTICLE_FEATURES
from transferline.models.tokenizers.base import Tokenizer
from transferline.models.tokenizers.physical import relative
from transferline.reporting.drawing import Drawing
from transferline.reporting.generated_page import QUANTITIES, write_generated_page
from transferline.reporting.page_parts import check_target
from transferline.reporting.style import Label, save
from transferline.reporting.tokenizer_plots import edges, spectrum

_MOST = 128  # particles of a jet

TITLES = {
    "pt": "log$_{10}$(constituent $p_T$ / GeV)",
    "eta": r"Constituent $\Delta\eta$ to the jet",
    "phi": r"Constituent $\Delta\varphi$ to the jet [rad]",
    "multiplicity": "Constituents",
    "mass": "Jet mass of massless constituents [GeV]",
}
Quantities = dict[str, Floats]


def compare_generated(
    pretraining: Path,
    data: Path | Sequence[Path],
    out: Path,
    n: int = 10_000,
    seed: int = 0,
    *,
    page: Path | None = None,
) -> dict[str, Any]:
    """Draw `n` jets, write `generated.json` and a plot of every quantity beside real jets.

    Wasserstein distances of the generated jets from real ones stand between two that limit them:
    the distance of two halves of the real jets, which is what chance does, and that of real jets
    from what their own tokens stand for, as those of a perfect generator of them would be. Halves
    are half as many jets, so that chance is wider there by the root of two than between two samples
    of all.

    Args:
        pretraining: directory of a pre-training with the objective `next_token`.
        data: shards of real jets, of the classes that it was made from. Nothing: those of the
            pre-training, of which it has seen all but the validation share.
        out: directory of what is written.
        n: jets to draw, and real ones evenly through all, fewer where there are no more.
        seed: of what is drawn.
        page: a page in Markdown to write too, with pictures beside it.

    Returns:
        What `generated.json` holds.

    Raises:
        DataError: the directory generates no jets, or its own are not there.
        ConfigError: its model reads what its tokens do not tell, or `page` cannot be one.
    """
    if page is not None:
        check_target(page, [out / "generated.json"])
    stored = load_generator(pretraining)
    generator = stored.generator()
    assert generator.tokenizer is not None
    given = [data] if isinstance(data, Path) else list(data)
    shards = ShardSet(given or _own_data(stored, pretraining))
    rows = np.linspace(0, len(shards) - 1, min(n, len(shards))).astype(int)
    real = list(Loader(shards, rows, 512, shuffle=False).batches(0))
    truth = _joined([_quantities(_around_axis(batch)) for batch in real])
    coded = _joined([_quantities(_from_tokens(generator.tokenizer, batch)) for batch in real])
    drawn = _joined([_quantities(b) for b in sample_jets(generator, n, seed=seed, most=_MOST)])
    samples = list(dict.fromkeys(card.sample for card in shards.cards))
    facts = {
        "pretraining": str(pretraining),
        "sample": ", ".join(samples),
        "real_jets": len(rows),
        "generated_jets": n,
        "seed": seed,
        "commit": stored.provenance["commit"],
        "quantities": {name: _distances(truth, coded, drawn, name) for name in TITLES},
    }
    label = Label(samples[0] if len(samples) == 1 else f"{len(samples)} samples")
    drawings = [_drawing(name, truth, drawn, label) for name in TITLES]
    for drawing in drawings:
        save(drawing.make(), out / drawing.stem)
    write_json(out / "generated.json", facts)
    if page is not None:
        write_generated_page(facts, given, out, drawings, page)
    return facts


def _own_data(stored: GeneratorCheckpoint, pretraining: Path) -> list[Path]:
    reader = Shards.model_validate(stored.provenance["config"]["data"])
    try:
        files = [Path(name) for name in reader.paths()]
    except DataError:  # a wildcard that matches nothing
        files = [Path(name) for name in reader.files]
    if missing := [path for path in files if not path.is_dir()]:
        raise DataError(
            f"{pretraining}: the jets of this pre-training are not at {missing[0]}. Name shards "
            "of real jets."
        )
    return files


def _drawing(name: str, truth: Quantities, drawn: Quantities, label: Label) -> Drawing:
    bins = edges([truth[name], drawn[name]], whole=name == "multiplicity")
    both = (truth[name], _thinned(drawn, truth, name))
    draw = partial(spectrum, *both, bins, TITLES[name], label, names=("real", "generated"))
    return Drawing(f"generated-{name}", f"{QUANTITIES[name]}, real and generated", draw)


def _thinned(drawn: Quantities, truth: Quantities, name: str) -> Floats:
    """As many generated jets as there are real ones; of particles those of as many jets."""
    jets = min(len(drawn["multiplicity"]), len(truth["multiplicity"]))
    if len(drawn[name]) == len(drawn["multiplicity"]):
        return drawn[name][:jets]
    return drawn[name][: int(drawn["multiplicity"][:jets].sum())]


def _distances(
    truth: Quantities, coded: Quantities, drawn: Quantities, name: str
) -> dict[str, float]:
    real, generated = truth[name], drawn[name]
    return {
        "mean": float(real.mean()),
        "mean_generated": float(generated.mean()),
        "spread": float(real.std()),
        "spread_generated": float(generated.std()),
        "w1_halves": wasserstein(*_halves(truth, name)),
        "w1_tokens": wasserstein(real, coded[name]),
        "w1_generated": wasserstein(real, generated),
    }


def _halves(truth: Quantities, name: str) -> tuple[Floats, Floats]:
    """Every second jet, and the others.

    Jets stay whole: particles of one jet are alike, and in both halves would hide what chance does.
    """
    multiplicity = truth["multiplicity"].astype(int)
    jet = np.arange(len(multiplicity))
    if len(truth[name]) != len(jet):
        jet = np.repeat(jet, multiplicity)
    return truth[name][jet % 2 == 0], truth[name][jet % 2 == 1]


def _around_axis(batch: Batch) -> Batch:
    """The jet's own axis at (0, 0), mirrored as the features are; particles without mass."""
    parts = [
        batch.p4[..., PT],
        PARTICLE_FEATURES["delta_eta"](batch),
        PARTICLE_FEATURES["delta_phi"](batch),
        torch.zeros_like(batch.p4[..., PT]),
    ]
    return batch.replace(p4=torch.stack(parts, dim=-1) * batch.is_real.unsqueeze(-1))


@torch.no_grad()
def _from_tokens(tokenizer: Tokenizer, batch: Batch) -> Batch:
    codes: Tensor = tokenizer(batch)
    return relative(tokenizer.features, tokenizer.decode(codes, batch.is_real), batch.is_real)


def _quantities(batch: Batch) -> Quantities:
    real, p4 = batch.is_real, batch.p4.double()
    energy, px, py, pz = (cartesian(p4) * real.unsqueeze(-1)).sum(1).unbind(-1)
    found = {
        "pt": p4[..., PT][real].clamp(min=1e-6).log10(),
        "eta": p4[..., ETA][real],
        "phi": p4[..., PHI][real],
        "multiplicity": real.sum(1),
        "mass": (energy**2 - px**2 - py**2 - pz**2).clamp(min=0).sqrt(),
    }
    return {name: values.double().numpy() for name, values in found.items()}


def _joined(parts: list[Quantities]) -> Quantities:
    return {name: np.concatenate([part[name] for part in parts]) for name in TITLES}
