"""What the generator is told, and everything else that decides what jets come out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from transferline.generate.large_jets.blocks import REVISION
from transferline.generate.large_jets.card import JetCard, load_jet_card
from transferline.generate.large_jets.classes import JetClass, jet_class
from transferline.generate.pythia import tune_settings


def pythia_settings(
    entry: JetClass, card: JetCard, *, mpi: bool, tune: str
) -> tuple[tuple[str, ...], ...]:
    """Return Pythia's settings of every alternative."""
    after = (*lifetime_settings(card), *(() if mpi else ("PartonLevel:MPI = off",)))
    return tuple(
        (*tune_settings(tune), *entry.settings(part), *after)
        for part in range(len(entry.alternatives))
    )


def lifetime_settings(card: JetCard) -> tuple[str, ...]:
    """Return Pythia's settings of what decays in the tracker."""
    if card.longest_lifetime is None:
        return ("ParticleDecays:limitTau0 = off",)
    return (f"ParticleDecays:tau0Max = {card.longest_lifetime:g}",)


def made_of(class_name: str, *, mpi: bool, tune: str, detector: str) -> dict[str, Any]:
    """Return all that decides what `generate_jets` writes but seed, number and versions.

    Raises:
        ConfigError: unknown class, detector or tune.
    """
    entry, card = jet_class(class_name), load_jet_card(detector)
    return {
        "settings": pythia_settings(entry, card, mpi=mpi, tune=tune),
        "rule": asdict(entry.rule),
        "card": card.model_dump(mode="json"),
        "revision": REVISION,
    }
