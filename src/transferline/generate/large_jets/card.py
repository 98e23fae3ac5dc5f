"""The card of large-radius jets: the detector, which jets are kept, what decays in the tracker."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from transferline.config import Recipe, added
from transferline.generate.card import Detector, named_card, shipped_cards


class LargeJets(Recipe):
    """Anti-kT radius, what is kept (GeV), and grooming."""

    source: str
    radius: float = Field(gt=0)
    pt_min: float
    pt_max: float
    eta_max: float
    soft_drop_z: float
    soft_drop_beta: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 0 <= self.pt_min < self.pt_max:
            raise ValueError("pt_max must lie above pt_min.")
        return self


class JetCard(Detector):
    """A parametrised detector for jets of constituents.

    Attributes:
        longest_lifetime: c tau in mm up to which the generator lets particles decay where they
            are, with the tracks of what they decay to; null for all that its own tables let decay.
        jets: which jets are kept.
        eta_at_calorimeter: files give tracks the pseudorapidity at which they leave the tracker,
            as JetClass does; jets are made with that of their momenta all the same.
    """

    longest_lifetime: float | None
    jets: LargeJets
    eta_at_calorimeter: bool = added(False)


_CARDS = Path(__file__).parent / "cards"


def jet_card_names() -> list[str]:
    """Return the names of the cards for jets in the package."""
    return shipped_cards(_CARDS)


@cache
def load_jet_card(name: str) -> JetCard:
    """Return a card for jets, see `named_card`."""
    return named_card(name, _CARDS, JetCard)
