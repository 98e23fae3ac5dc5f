"""CMS PFNano: NanoAOD with the particle-flow candidates of its jets.

`PFCands_*` holds every candidate of an event once; `<jets>PFCands_jetIdx` and `_pFCandsIdx` are
pairs of a jet and a candidate. Candidates without track details hold -1 in the impact parameters
and their errors. Impact parameters are in cm, d0 with the sign of (y px - x py) / pT. Sources:
`addPFCands_cff.py` and `JetConstituentTableProducer.cc` of github.com/cms-jet/PFNano; open data
records 31300 to 31316.
"""

from __future__ import annotations

from transferline.data.layouts.jet_table import JetTable, one

TREE = "Events"
MM_PER_CM = 10.0
PDG_ID, CHARGE, MASS = "PFCands_pdgId", "PFCands_charge", "PFCands_mass"

INDEX_OF_JET = ("jetIdx",)
INDEX_OF_CANDIDATE = ("pFCandsIdx", "candIdx")
"""Names in `<jets>PFCands_*`, newest first."""

_LABELS = {
    "hadron_flavour": "hadronFlavour",
    "b_hadrons": "nBHadrons",
    "c_hadrons": "nCHadrons",
}
"""Truth, in simulation only."""


def pfnano(jets: str) -> JetTable:
    """Return the table for the jets with this prefix, `FatJet` (AK8) or `Jet` (AK4)."""
    return JetTable(
        format="PFNano",
        tree=TREE,
        constituents={
            "pt": one("PFCands_pt"),
            "eta": one("PFCands_eta"),
            "phi": one("PFCands_phi"),
            "mass": one(MASS),
            "charge": one(CHARGE),
            "species": one(PDG_ID, CHARGE),
            "d0": one("PFCands_d0", "PFCands_d0Err"),
            "d0err": one("PFCands_d0Err"),
            "dz": one("PFCands_dz", "PFCands_dzErr"),
            "dzerr": one("PFCands_dzErr"),
            "puppi_weight": one("PFCands_puppiWeight"),
        },
        context={
            "jet_pt": one(f"{jets}_pt"),
            "jet_eta": one(f"{jets}_eta"),
            "jet_phi": one(f"{jets}_phi"),
            "jet_mass": one(f"{jets}_mass"),
            "jet_sdmass": one(f"{jets}_msoftdrop"),
            **{f"jet_tau{n}": one(f"{jets}_tau{n}") for n in (1, 2, 3, 4)},
        },
        identity=(f"{jets}_pt",),
        labels={name: f"{jets}_{branch}" for name, branch in _LABELS.items()},
    )
