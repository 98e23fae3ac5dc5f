"""What is asked of the generator of X -> HH -> 4b: a mass, or a bin of pT-hat of multijets."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from transferline.errors import ConfigError
from transferline.generate.large_jets.blocks import REVISION
from transferline.generate.large_jets.card import JetCard, load_jet_card
from transferline.generate.large_jets.hard_filter import BoostedDecay
from transferline.generate.large_jets.settings import lifetime_settings
from transferline.generate.pythia import tune_settings

MASSES = (600, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000, 4000, 4500)
"""Masses of X in GeV that record 12102 has; any from 500 to 6000 can be made."""

QCD_BINS = (300, 470, 600, 800, 1000, 1400, 1800, 2400, 3200)
"""Lower bounds in GeV of the bins of pT-hat that CMS generates, the last one open."""

_SIGNAL, _QCD = "hh4b", "qcd"
_LIGHTEST, _HEAVIEST = 500.0, 6000.0
_LOWEST_PT_HAT = 50.0


@dataclass(frozen=True)
class Request:
    """A mass of X in GeV, or for multijets (mass 0) bounds of pT-hat, -1 for none above."""

    mass: float = 0.0
    pt_hat: tuple[float, float] = (0.0, -1.0)

    @classmethod
    def parse(cls, mass: float | None, qcd: str | None) -> Request:
        """Read `--mass M` or `--qcd LOW-HIGH` (`3200-` is open).

        Raises:
            ConfigError: none or both are given, or they make no sense.
        """
        if (mass is None) == (qcd is None):
            raise ConfigError("Give either a mass or bounds of pT-hat (--mass M, --qcd LOW-HIGH).")
        if qcd is not None:
            return cls(pt_hat=_bounds(qcd))
        assert mass is not None  # one of the two is given
        if not _LIGHTEST <= mass <= _HEAVIEST:
            raise ConfigError(f"mass {mass:g} is outside {_LIGHTEST:g} to {_HEAVIEST:g} GeV.")
        return cls(mass=mass)

    @property
    def name(self) -> str:
        """Name of the process, such as `hh4b_1000`, `qcd_300_470` or `qcd_3200`."""
        if self.mass:
            return f"{_SIGNAL}_{self.mass:g}"
        return "_".join([_QCD, *(f"{bound:g}" for bound in self.pt_hat if bound >= 0)])

    @property
    def purpose(self) -> str:
        """What it is, for people."""
        if self.mass:
            return f"A narrow spin-2 resonance of {self.mass:g} GeV, X -> HH -> 4b, made by gluons."
        return "Multijets of QCD, b and c quarks as the matrix element and the shower make them."

    def settings(self, card: JetCard, *, mpi: bool, tune: str) -> tuple[str, ...]:
        """Return Pythia's settings."""
        switch = () if mpi else ("PartonLevel:MPI = off",)
        process = self._signal() if self.mass else self._qcd()
        return (*tune_settings(tune), *process, *lifetime_settings(card), *switch)

    def _signal(self) -> tuple[str, ...]:
        return (
            "ExtraDimensionsG*:gg2G* = on",
            "ExtraDimensionsG*:kappaMG = 0.1",
            f"5100039:m0 = {self.mass:g}",
            "5100039:onMode = off",
            "5100039:onIfMatch = 25 25",
            "25:m0 = 125.",
            "25:onMode = off",
            "25:onIfMatch = 5 -5",
        )

    def _qcd(self) -> tuple[str, ...]:
        low, high = self.pt_hat
        return (
            "HardQCD:all = on",
            f"PhaseSpace:pTHatMin = {low:g}",
            f"PhaseSpace:pTHatMax = {high:g}",
        )


def _bounds(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        bounds = float(low), float(high) if high.strip() else -1.0
    except ValueError:
        dash, bounds = "", (0.0, 0.0)
    if not dash or not all(map(math.isfinite, bounds)):
        raise ConfigError(f"qcd '{text}': expected LOW-HIGH in GeV, such as 300-470 or 3200-.")
    if bounds[0] < _LOWEST_PT_HAT or 0 <= bounds[1] <= bounds[0]:
        raise ConfigError(f"qcd '{text}': needs {_LOWEST_PT_HAT:g} <= LOW < HIGH.")
    return bounds


def made_of(request: Request, *, mpi: bool, tune: str, detector: str) -> dict[str, Any]:
    """Return all that decides what `generate_hh4b` writes but seed, number and versions.

    Raises:
        ConfigError: unknown detector or tune.
    """
    card = load_jet_card(detector)
    return {
        "process": request.name,
        "settings": request.settings(card, mpi=mpi, tune=tune),
        "rule": asdict(BoostedDecay("none")),
        "card": card.model_dump(mode="json"),
        "revision": REVISION,
    }
