"""JetClass (ROOT, arXiv:2202.03772) and JetClass-II (Parquet, arXiv:2405.12972): one jet per entry.

Files of replicas (`generate jets --replicas`) have one entry per hard process: the same branches
with one level of lists more.

Momenta are Cartesian, in GeV; impact parameters and their errors in mm, 0 for neutral particles.
The angles to the jet axis (`part_deta`, which is flipped for jets with eta < 0, and `part_dphi`)
follow from the particles and `jet_eta`, `jet_phi`, so they are no columns. Neither format stores
the jet's mass; it follows from `jet_energy`. Sources: the data card of
github.com/jet-universe/particle_transformer and the files of
huggingface.co/datasets/jet-universe/jetclass2.
"""

from __future__ import annotations

from dataclasses import replace

from transferline.data.layouts.jet_table import JetTable, one

PX, PY, PZ, ENERGY = "part_px", "part_py", "part_pz", "part_energy"

FLAGS: dict[str, str] = {
    "part_isChargedHadron": "charged_hadron",
    "part_isNeutralHadron": "neutral_hadron",
    "part_isPhoton": "photon",
    "part_isElectron": "electron",
    "part_isMuon": "muon",
}
"""Branch -> species."""

JET_P4 = ("jet_pt", "jet_eta", "jet_phi", "jet_energy")

CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
"""The ten labels of JetClass, branches `label_*`, in the order of the paper."""

JETCLASS = JetTable(
    format="JetClass",
    tree="tree",
    constituents={
        "pt": one(PX, PY),
        "eta": one(PX, PY, PZ),
        "phi": one(PX, PY),
        "mass": one(PX, PY, PZ, ENERGY),
        "charge": one("part_charge"),
        "species": one(*FLAGS),
        "d0": one("part_d0val"),
        "d0err": one("part_d0err"),
        "dz": one("part_dzval"),
        "dzerr": one("part_dzerr"),
    },
    context={
        "jet_pt": one("jet_pt"),
        "jet_eta": one("jet_eta"),
        "jet_phi": one("jet_phi"),
        "jet_mass": one("jet_pt", "jet_eta", "jet_energy"),
        "jet_sdmass": one("jet_sdmass"),
        **{f"jet_tau{n}": one(f"jet_tau{n}") for n in (1, 2, 3, 4)},
    },
    identity=JET_P4,
    label_prefix="label_",
    particles="part_",
)

PARTICLE_BRANCHES: dict[str, str] = {
    **dict.fromkeys((PX, PY, PZ, ENERGY, "part_deta", "part_dphi"), "float32"),
    **dict.fromkeys(("part_d0val", "part_d0err", "part_dzval", "part_dzerr"), "float32"),
    "part_charge": "float32",
    **dict.fromkeys(FLAGS, "int32"),
}
"""Branches of the particles of JetClass, in its order, with their types."""

JET_BRANCHES: dict[str, str] = {
    "label_QCD": "float32",
    **{f"label_{name}": "bool" for name in ("Hbb", "Hcc", "Hgg", "H4q", "Hqql")},
    **{f"label_{name}": "int32" for name in ("Zqq", "Wqq", "Tbqq", "Tbl")},
    **dict.fromkeys((*JET_P4, "jet_nparticles", "jet_sdmass"), "float32"),
    **{f"jet_tau{n}": "float32" for n in (1, 2, 3, 4)},
    **{f"aux_genpart_{name}": "float32" for name in ("eta", "phi", "pid", "pt")},
    "aux_truth_match": "float32",
}
"""Branches of the jets of JetClass, in its order, with their types."""

JETCLASS2 = replace(
    JETCLASS,
    format="JetClass-II",
    tree="",
    # One number of 188 classes: 15 two-prong resonances, 146 of three and four, 27 of QCD.
    labels={"jet_label": "jet_label"},
    label_prefix=None,
)
