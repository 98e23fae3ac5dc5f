"""CMS NanoAOD v7 to v15: which branch holds which column, by version.

A column's candidates are tried in order; the first that the file has is used. Column names are
ours, branch names are CMS's (`<Collection>_<branch>`). Sources: the NanoAOD documentation pages
of each campaign and the branch lists of the files named in docs/physics_conventions.md.
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
        },
    ),
    "jet": Collection(
        ("Jet",),
        {
            **_P4,
            "btag": ("btagDeepFlavB", "btagPNetB", "btagUParTAK4B"),
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

TAU_BITMASK_BRANCHES = ("idDeepTau2017v2p1VSjet",)
"""Working points as a bit mask (v9 and before); later NanoAOD stores the level itself."""

JET_TIGHT_ID_BIT = 1  # value 2: tight; value 4 (bit 2): tightLepVeto

EVENT_ID = ("run", "luminosityBlock", "event")

GEN_WEIGHT = "genWeight"  # absent in collision data

RUNS_SUMS: dict[str, tuple[str, ...]] = {
    # Some v6/v7 productions carry a trailing underscore.
    "count": ("genEventCount", "genEventCount_"),
    "sum_weight": ("genEventSumw", "genEventSumw_"),
    "sum_weight2": ("genEventSumw2", "genEventSumw2_"),
}
