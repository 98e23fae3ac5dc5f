"""What the generator is told, and everything else that decides what jets come out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from transferline.errors import ConfigError, did_you_mean
from transferline.generate.generators import (
    DEFAULT_TUNE,
    GENERATORS,
    PYTHIA,
    SHERPA,
    wanted_version,
)
from transferline.generate.large_jets.blocks import REPLICAS_REVISION, REVISION
from transferline.generate.large_jets.card import JetCard, load_jet_card
from transferline.generate.large_jets.classes import JetClass, jet_class, jet_classes
from transferline.generate.pythia import tune_settings

MOST_REPLICAS = 100

_ALL_DECAY = 1000.0  # mm: K_S, Lambda and heavier, as Pythia lets decay; not pions, kaons and K_L


def pythia_settings(
    entry: JetClass, card: JetCard, *, mpi: bool, tune: str, external: bool = False
) -> tuple[tuple[str, ...], ...]:
    """Return Pythia's settings of every alternative, or of `external` hard processes of it."""
    after = (*lifetime_settings(card), *(() if mpi else ("PartonLevel:MPI = off",)))
    return tuple(
        (*tune_settings(tune), *entry.settings(part, external=external), *after)
        for part in range(len(entry.alternatives))
    )


def lifetime_settings(card: JetCard) -> tuple[str, ...]:
    """Return Pythia's settings of what decays in the tracker."""
    if card.longest_lifetime is None:
        return ("ParticleDecays:limitTau0 = off",)
    return (f"ParticleDecays:tau0Max = {card.longest_lifetime:g}",)


def _check_window(card: JetCard) -> None:
    """Bounds of the hard process are made for this window: a wider one would have holes."""
    jets = card.jets
    if jets.pt_min < 500 or jets.pt_max > 1000 or jets.eta_max > 2 or jets.radius > 0.8:
        raise ConfigError(
            f"Card '{card.name}': classes of jets are generated with 500 < pT < 1000 GeV, "
            "|eta| < 2 and R <= 0.8; jets outside would be cut by the hard process."
        )


def generator_cards(
    entry: JetClass, card: JetCard, generator: str, *, mpi: bool, tune: str
) -> tuple[tuple[str, ...], ...]:
    """Return for every alternative Pythia's settings, or the two parts of Sherpa's run card.

    Raises:
        ConfigError: the generator or the tune is unknown, Sherpa cannot make the class, or the
            card keeps jets beyond what is generated.
    """
    _check_window(card)
    if generator == PYTHIA:
        return pythia_settings(entry, card, mpi=mpi, tune=tune)
    if generator != SHERPA:
        raise ConfigError(f"Unknown generator '{generator}'.{did_you_mean(generator, GENERATORS)}")
    if entry.sherpa is None:
        able = [name for name, other in jet_classes().items() if other.sherpa]
        raise ConfigError(f"Sherpa makes no jets of class {entry.name}, only {', '.join(able)}.")
    if tune != DEFAULT_TUNE:
        raise ConfigError("Tunes are Pythia's: leave out --tune with --generator sherpa.")
    longest = card.longest_lifetime or _ALL_DECAY
    return entry.sherpa.cards(mpi=mpi, longest_lifetime=longest)


def replica_settings(
    entry: JetClass, card: JetCard, replicas: int, generator: str, *, mpi: bool, tune: str
) -> tuple[tuple[str, ...], ...]:
    """Return Pythia's settings of the showers of every alternative; none without replicas.

    Raises:
        ConfigError: there are none or too many replicas, or another generator is to make them.
    """
    if not 1 <= replicas <= MOST_REPLICAS:
        raise ConfigError(f"There are 1 to {MOST_REPLICAS} replicas of a jet, not {replicas}.")
    if replicas == 1:
        return ()
    if generator != PYTHIA:
        raise ConfigError(
            "Only Pythia showers a hard process several times: leave out --generator with "
            "--replicas (`generator` with `replicas`)."
        )
    return pythia_settings(entry, card, mpi=mpi, tune=tune, external=True)


def made_of(
    class_name: str,
    *,
    mpi: bool,
    tune: str,
    detector: str,
    generator: str = PYTHIA,
    replicas: int = 1,
) -> dict[str, Any]:
    """Return all that decides what `generate_jets` writes but seed, number and versions.

    Raises:
        ConfigError: unknown class, detector, tune or generator, or Sherpa cannot make the class.
    """
    entry, card = jet_class(class_name), load_jet_card(detector)
    # What Pythia makes keeps the hash that it had when there was no other.
    other: dict[str, Any] = (
        {} if generator == PYTHIA else {"generator": [generator, wanted_version(generator)]}
    )
    showers = replica_settings(entry, card, replicas, generator, mpi=mpi, tune=tune)
    # So do single jets.
    if showers:
        other |= {"replicas": replicas, "showers": showers, "replicas_revision": REPLICAS_REVISION}
    return {
        "settings": generator_cards(entry, card, generator, mpi=mpi, tune=tune),
        "rule": asdict(entry.rule),
        "card": card.model_dump(mode="json"),
        "revision": REVISION,
        **other,
    }
