"""CMS open data record 12102: AK8 jets with particle-flow candidates, tree `deepntuplizer/tree`.

Published (DOI 10.7483/OPENDATA.CMS.JGJX.MS7Q) with one entry per jet. The study arXiv:2401.13536
read a reprocessed form with one entry per event: the same branches with one level of lists more
(`fj_*`, `label_*` jagged, `pfcand_*` doubly jagged). Candidates are stored relative to their jet:

    pt = ptrel x fj_pt,  eta = fj_eta + sign(fj_eta) x etarel,  phi = fj_phi + phirel,
    E = erel x E_jet (of the ungroomed jet);

impact parameters in cm with their significance, value / error, in place of the error. Sources:
the list of variables in the record and the producer (github.com/cms-opendata-analyses).
"""

from __future__ import annotations

from transferline.data.layouts.jet_table import JetTable, one

FLAGS: dict[str, str] = {
    "pfcand_isChargedHad": "charged_hadron",
    "pfcand_isNeutralHad": "neutral_hadron",
    "pfcand_isGamma": "photon",
    "pfcand_isEl": "electron",
    "pfcand_isMu": "muon",
}
"""Branch -> species."""

MM_PER_CM = 10.0

EVENT = ("event_no", "npv", "ntrueInt", "rho")
"""Branches of the event; there is no run or luminosity block. `event_no` alone repeats from sample
to sample, so all that are there identify an event together; without it none of them does."""

HBB = JetTable(
    format="CMS record 12102",
    tree="deepntuplizer/tree",
    constituents={
        "pt": one("pfcand_ptrel", "fj_pt"),
        "eta": one("pfcand_etarel", "fj_eta"),
        "phi": one("pfcand_phirel", "fj_phi"),
        "mass": (
            ("pfcand_mass",),
            ("pfcand_ptrel", "pfcand_etarel", "pfcand_erel", "fj_pt", "fj_eta", "fj_mass"),
        ),
        "charge": one("pfcand_charge"),
        "species": one(*FLAGS),
        "d0": one("pfcand_dxy"),
        "d0err": one("pfcand_dxy", "pfcand_dxysig"),
        "dz": one("pfcand_dz"),
        "dzerr": one("pfcand_dz", "pfcand_dzsig"),
    },
    context={
        "jet_pt": one("fj_pt"),
        "jet_eta": one("fj_eta"),
        "jet_phi": one("fj_phi"),
        "jet_mass": one("fj_mass"),
        "jet_sdmass": one("fj_sdmass"),
        **{f"jet_tau{n}": one(f"fj_tau{n}") for n in (1, 2, 3, 4)},
        "jet_doubleb": one("fj_doubleb"),
    },
    identity=("fj_pt", "fj_eta", "fj_phi"),
    labels={
        "isH": "fj_isH",
        "isQCD": "fj_isQCD",
        "sample_isQCD": "sample_isQCD",
        # Ours: the mass of X in GeV, 0 for multijets.
        "mass_param": "mass_param",
    },
    label_prefix="label_",
    particles="pfcand_",
)

JET_LABELS = ("QCD_b", "QCD_bb", "QCD_c", "QCD_cc", "QCD_others", "H_bb")
"""The classes of jets, branches `label_*`."""

EVENT_BRANCHES: dict[str, str] = {"sample_isQCD": "int32", "mass_param": "float32"}
"""What is written of an event, with types."""

JET_BRANCHES: dict[str, str] = {
    **dict.fromkeys(("fj_pt", "fj_eta", "fj_phi", "fj_mass", "fj_sdmass"), "float32"),
    **{f"fj_tau{n}": "float32" for n in (1, 2, 3, 4)},
    **dict.fromkeys(("fj_isH", "fj_isQCD", *(f"label_{x}" for x in JET_LABELS)), "int32"),
}
"""What is written of a jet, with types."""

CANDIDATE_BRANCHES: dict[str, str] = dict.fromkeys(
    (
        *(f"pfcand_{x}" for x in ("ptrel", "erel", "etarel", "phirel", "deltaR", "mass")),
        *(f"pfcand_{x}" for x in ("dxy", "dxysig", "dz", "dzsig", "charge")),
        *FLAGS,
    ),
    "float32",
)
"""What is written of a candidate, with types."""
