"""What the particles are that a model takes: objects of events, or constituents of jets."""

from __future__ import annotations

from transferline.data.events import CONSTITUENTS, SPECIES
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHead
from transferline.models.features import JETCLASS_FEATURES
from transferline.models.heads import Head

_ALSO_OF_EVENTS = {"log_pt", "log_energy", "charge"}
_OF_JETS = frozenset(JETCLASS_FEATURES["full"]) - _ALSO_OF_EVENTS
_TYPES = frozenset(f"is_{name}" for name in CONSTITUENTS)

TRACKS: dict[str, tuple[str, str]] = {
    "d0": (
        "mm",
        "transverse impact parameter with the sign of (x py - y px) / pt, opposite to that of CMS; "
        "0 without a track",
    ),
    "d0err": ("mm", "error of d0; 0 without a track"),
    "dz": ("mm", "longitudinal impact parameter; 0 without a track"),
    "dzerr": ("mm", "error of dz; 0 without a track"),
}
"""Column of constituents -> unit and meaning."""


def takes_jets(checkpoint: Checkpoint) -> bool:
    """Tell whether the backbone takes jets of constituents, by the selection it was trained with.

    Where there is none, as of imported models, its features tell.
    """
    recipe = checkpoint.recipe
    if checkpoint.selection is None:
        return not _OF_JETS.isdisjoint(recipe.features.particles)
    kind = checkpoint.selection.get("kind")
    plain = isinstance(recipe.head, Head) and not isinstance(recipe.head, EventHead)
    # With a head on sets, events of jets were sets of jets.
    return kind == "jets" or (kind == "jet_events" and not plain)


def species_codes(checkpoint: Checkpoint) -> dict[str, int]:
    """Return name -> code of `species`: those that occur, and those that the model asks for."""
    features = checkpoint.recipe.features
    codes = {"hidden": 0, **CONSTITUENTS} if takes_jets(checkpoint) else dict(SPECIES)
    if features.species != "hidden":
        codes |= SPECIES
    if not _TYPES.isdisjoint(features.particles):
        codes |= CONSTITUENTS
    return dict(sorted(codes.items(), key=lambda row: row[1]))
