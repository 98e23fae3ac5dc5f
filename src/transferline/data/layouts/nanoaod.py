"""CMS NanoAOD v7 to v15: which branch holds which column, by version.

A column's candidates are tried in order; the first that the file has is used. Column names are
ours, branch names are CMS's (`<Collection>_<branch>`). Sources: the NanoAOD documentation pages
of each campaign.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Collection:
    """One NanoAOD collection: its possible prefixes, and column -> possible branches."""

    prefixes: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    scalar: bool = False  # one object per event (MET)


_P4 = {name: (name,) for name in ("pt", "eta", "phi", "mass")}

COLLECTIONS: dict[str, Collection] = {
    "electron": Collection(
        ("Electron",),
        {
            **_P4,
            "charge": ("charge",),
            "delta_eta_sc": ("deltaEtaSC",),
            "dxy": ("dxy",),
            "dz": ("dz",),
            "cut_based": ("cutBased",),
            "mva_iso_wp90": ("mvaIso_WP90", "mvaFall17V2Iso_WP90"),
            "rel_iso": ("pfRelIso03_all",),
        },
    ),
    "muon": Collection(
        ("Muon",),
        {
            **_P4,
            "charge": ("charge",),
            "dxy": ("dxy",),
            "dz": ("dz",),
            "tight_id": ("tightId",),
            "medium_id": ("mediumId",),
            "loose_id": ("looseId",),
            "rel_iso": ("pfRelIso04_all",),
        },
    ),
    "tau": Collection(
        ("Tau",),
        {
            **_P4,
            "charge": ("charge",),
            "dz": ("dz",),
            "decay_mode": ("decayMode",),
            # v5 to v9: bit mask; v10 and later: integer level. The reader turns both into the
            # level (0 none, 1 VVVLoose ... 4 Loose, 5 Medium, 6 Tight, ...).
            "vs_jet_level": (
                "idDeepTau2018v2p5VSjet",
                "idDeepTau2017v2p1VSjet",
            ),
            "vs_electron_level": ("idDeepTau2018v2p5VSe", "idDeepTau2017v2p1VSe"),
            "vs_muon_level": ("idDeepTau2018v2p5VSmu", "idDeepTau2017v2p1VSmu"),
        },
    ),
    "jet": Collection(
        ("Jet",),
        {
            **_P4,
            # Every tagger is a column of its own: working points belong to one tagger, so one
            # must never stand in for another.
            "btagDeepFlavB": ("btagDeepFlavB",),
            "btagPNetB": ("btagPNetB",),
            "btagRobustParTAK4B": ("btagRobustParTAK4B",),
            "btagUParTAK4B": ("btagUParTAK4B",),
            "jet_id": ("jetId",),
            "pu_id": ("puId",),
            "hadron_flavour": ("hadronFlavour",),
        },
    ),
    "met": Collection(
        # v13+ renamed MET to PFMET; PuppiMET is a different quantity and never a stand-in.
        ("MET", "PFMET"),
        {"pt": ("pt",), "phi": ("phi",)},
        scalar=True,
    ),
}

TAU_LEVELS = ("vs_jet_level", "vs_electron_level", "vs_muon_level")
"""Columns of a tau that hold a working point."""

TAU_BITMASK_BRANCHES = tuple(f"idDeepTau2017v2p1VS{what}" for what in ("jet", "e", "mu"))
"""Working points as a bit mask (v9 and before); later NanoAOD stores the level itself."""

JET_ID_INPUTS = (
    "chHEF",
    "neHEF",
    "chEmEF",
    "neEmEF",
    "muEF",
    "chMultiplicity",
    "neMultiplicity",
)
"""`Jet_*` branches that `jet_id` is computed from where a file has no `Jet_jetId`."""

JET_TIGHT_ID_BIT = 1  # value 2: tight; value 4 (bit 2): tightLepVeto

EVENT_ID = ("run", "luminosityBlock", "event")

GEN_WEIGHT = "genWeight"  # absent in collision data

SIMULATION_ONLY = ("GenPart_pt", "Jet_hadronFlavour", "Jet_genJetIdx", "Generator_weight")
"""A file with one of these is simulation, so `genWeight` must be there too."""

TRIGGER_PREFIX, FILTER_PREFIX = "HLT_", "Flag_"

EVENT_SCALARS = ("PV_npvsGood", "Pileup_nTrueInt", "fixedGridRhoFastjetAll")

VERSION_MARKERS: tuple[tuple[int, tuple[str, ...], str], ...] = (
    # Newest first; the first row with a branch that the file has decides. Sources: the lists of
    # changes per campaign in the NanoAOD documentation, and files of each version.
    (15, ("Jet_btagUParTAK4B", "PFMET_pt"), "UParT tagger or MET renamed to PFMET"),
    (12, ("Jet_btagPNetB", "Jet_btagRobustParTAK4B"), "AK4 ParticleNet or RobustParT tagger"),
    (11, ("Tau_idDeepTau2018v2p5VSjet",), "DeepTau v2.5"),
    (10, ("Rho_fixedGridRhoFastjetAll", "Electron_mvaIso_WP90"), "Rho_* and mvaIso names"),
    (9, ("Electron_scEtOverPt", "Jet_btagDeepFlavCvL", "Jet_btagDeepFlavQG"), "Run 2 UL names"),
    (7, ("Jet_btagCMVA", "Jet_btagDeepFlavC"), "Run 2 pre-UL names"),
)
OLDEST_VERSION = VERSION_MARKERS[-1][0]
FALLBACK_VERSION = 9

RUNS_SUMS: dict[str, tuple[str, ...]] = {
    # Some v6/v7 productions carry a trailing underscore.
    "count": ("genEventCount", "genEventCount_"),
    "sum_weight": ("genEventSumw", "genEventSumw_"),
    "sum_weight2": ("genEventSumw2", "genEventSumw2_"),
}
