"""The classes of jets that can be generated, with their settings."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from transferline.data.layouts.jetclass import CLASSES
from transferline.errors import ConfigError, did_you_mean
from transferline.generate.large_jets.hard_filter import BoostedDecay
from transferline.generate.sherpa.run_card import SherpaProcess


class JetClass(BaseModel):
    """One entry of `classes.yaml`, which says what each field is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    purpose: str
    production: tuple[str, ...]
    decays: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...] = ((),)
    pt_hat: tuple[float, float]
    resonance: int = 0
    sherpa: SherpaProcess | None = None

    def settings(self, alternative: int, *, external: bool = False) -> tuple[str, ...]:
        """Return Pythia's settings of one alternative, or of `external` hard processes of it."""
        if external:
            return (*self.decays, *self.alternatives[alternative])
        low, high = self.pt_hat
        window = f"PhaseSpace:pTHatMin = {low:g}", f"PhaseSpace:pTHatMax = {high:g}"
        return (*self.production, *window, *self.decays, *self.alternatives[alternative])

    @property
    def rule(self) -> BoostedDecay:
        """The filter on the hard process."""
        return BoostedDecay(name="boosted_decay", resonance=self.resonance)


@cache
def jet_classes() -> dict[str, JetClass]:
    """Return name -> class, in the order of the paper."""
    text = (resources.files("transferline.generate.large_jets") / "classes.yaml").read_text("utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: JetClass.model_validate({"name": name, **entries[name]}) for name in CLASSES}


def jet_class(name: str) -> JetClass:
    """Return the class called `name`; raises ConfigError with the nearest name.

    >>> jet_class("Tbl").resonance
    6
    """
    known = jet_classes()
    if name not in known:
        raise ConfigError(f"Unknown class of jets '{name}'.{did_you_mean(name, known)}")
    return known[name]
