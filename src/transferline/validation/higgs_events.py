"""Generated events, selected and reconstructed as those of the HIGGS benchmark."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np

from transferline.data.selections import Selection, selection
from transferline.data.selections.recipe import WorkingPoint
from transferline.sample_generation import generated_file
from transferline.samples import Sample
from transferline.validation.cascade_masses import Decays
from transferline.validation.event_file import OBJECTS, EventFile, choose
from transferline.validation.higgs_file import Kind

PROCESSES: dict[Kind, str] = {"signal": "H0_HpmW_425_325", "background": "ttbar_1l"}

_LEPTON = {"pt_min": 15.0, "leading_pt_min": 15.0, "abs_eta_max": 2.5}


def objects(working_point: WorkingPoint = "medium") -> Selection:
    """Return the objects of the shipped selections, as soft and as far forward as the file's."""
    recipe = selection(OBJECTS)
    btag = recipe.jets.btag.model_copy(update={"working_point": working_point})
    # Generated events have no pile-up, and no identification of it below 20 GeV.
    jets = {"pt_min": 15.0, "abs_eta_max": 3.0, "pu_id": None, "btag": btag}
    return recipe.model_copy(
        update={
            "electrons": recipe.electrons.model_copy(update=_LEPTON),
            "muons": recipe.muons.model_copy(update=_LEPTON),
            "jets": recipe.jets.model_copy(update=jets),
        }
    )


def sample(kind: Kind, n: int, seed: int) -> Sample:
    """Return the recipe of the events that are generated for one class."""
    return Sample(process=PROCESSES[kind], n=n, seed=seed, selection=OBJECTS)


def generate(
    n: int, seed: int, *, jobs: int = 1, cache: Path | None = None
) -> dict[Kind, EventFile]:
    """Generate what is not in the cache yet; interrupted, it goes on where it stopped."""
    return {
        kind: EventFile(generated_file(sample(kind, n, seed), cache, jobs=jobs))
        for kind in PROCESSES
    }


def decays(file: EventFile, working_point: WorkingPoint = "medium") -> Decays:
    """Return the events with a lepton, four or more jets and exactly two b jets among them."""
    chosen = choose(file.path, objects(working_point))
    rows = ak.num(chosen.leptons) > 0
    rows = rows & (ak.num(chosen.jets) >= 4) & (ak.sum(chosen.jets.is_b, axis=1) == 2)
    rows = ak.to_numpy(rows)
    met = ak.zip({name: np.asarray(file[f"MET_{name}"], float)[rows] for name in ("pt", "phi")})
    return Decays(chosen.leptons[rows][:, 0], met, chosen.jets[rows], file.weight[rows])
