"""Delphes: tree `Delphes`, collections of objects, constituents by reference.

A branch is `<collection>/<collection>.<member>`. A jet's `Constituents` is a `TRefArray` of the
`fUniqueID`s of its particles, which are unique within an event and lie in whatever collection the
card wrote them to. Momenta in GeV, impact parameters in mm. Sources: `classes/DelphesClasses.h` of
github.com/delphes/delphes (arXiv:1307.6346) and files of the standard CMS cards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TREE = "Delphes"
UNIQUE_ID = "fUniqueID"
REFERENCES = "Constituents"
EVENT_NUMBER, WEIGHT = "Event/Event.Number", "Event/Event.Weight"

IDENTITY = ("MissingET/MissingET.MET", "MissingET/MissingET.Phi")
"""Beside the event's number, which begins anew in every file."""

JETS = ("FatJet", "JetPUPPIAK8", "JetAK8", "JetPUPPI", "Jet")
"""Collections of jets in the order in which they are looked for; cards are free to name more."""

JET_MEMBERS: dict[str, str] = {
    "jet_pt": "PT",
    "jet_eta": "Eta",
    "jet_phi": "Phi",
    "jet_mass": "Mass",
    "jet_sdmass": "SoftDroppedJet",
    **{f"jet_tau{n}": "Tau[5]" for n in (1, 2, 3, 4)},
    "jet_btag": "BTag",
}
"""Column -> member; `Tau[5]` holds five numbers, `SoftDroppedJet` a four-momentum."""

JET_LABELS: dict[str, str] = {"flavour": "Flavor"}
"""Truth: the heaviest parton of the jet."""


@dataclass(frozen=True)
class Particles:
    """A collection that constituents may lie in.

    Attributes:
        members: column -> member.
        species: of all of its particles; None where `PID` tells.
        fixed: column -> value that follows from what the collection is.
    """

    members: dict[str, str]
    species: str | None = None
    fixed: dict[str, float] = field(default_factory=dict)


_TRACK = {
    "pt": "PT",
    "eta": "Eta",
    "phi": "Phi",
    "mass": "Mass",
    "charge": "Charge",
    "species": "PID",
    "d0": "D0",
    "d0err": "ErrorD0",
    "dz": "DZ",
    "dzerr": "ErrorDZ",
}
COLUMNS = tuple(_TRACK)
"""Of constituents."""

_TOWER = {"pt": "ET", "eta": "Eta", "phi": "Phi"}
# A tower has a direction and an energy, no track and no mass.
_NEUTRAL = dict.fromkeys(("mass", "charge", "d0", "d0err", "dz", "dzerr"), 0.0)

PARTICLES: dict[str, Particles] = {
    "ParticleFlowCandidate": Particles(_TRACK),
    "EFlowTrack": Particles(_TRACK),
    "EFlowPhoton": Particles(_TOWER, "photon", _NEUTRAL),
    "EFlowNeutralHadron": Particles(_TOWER, "neutral_hadron", _NEUTRAL),
}

OBJECTS: dict[str, dict[str, str]] = {
    "electron": {"pt": "PT", "eta": "Eta", "phi": "Phi", "charge": "Charge"},
    "muon": {"pt": "PT", "eta": "Eta", "phi": "Phi", "charge": "Charge"},
    "photon": {"pt": "PT", "eta": "Eta", "phi": "Phi"},
    "met": {"pt": "MET", "phi": "Phi"},
}
"""Other objects of an event: collection -> column -> member."""

OBJECT_COLLECTIONS = {
    "electron": "Electron",
    "muon": "Muon",
    "photon": "Photon",
    "met": "MissingET",
}


def branch(collection: str, member: str) -> str:
    """Return the full name of a branch.

    >>> branch("Jet", "PT")
    'Jet/Jet.PT'
    """
    return f"{collection}/{collection}.{member}"
