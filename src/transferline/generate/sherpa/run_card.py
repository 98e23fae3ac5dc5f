"""Run cards: what Sherpa is told, in two parts. The first decides what is integrated."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from transferline.errors import ConfigError, did_you_mean
from transferline.generate.sherpa.hook import NAME

COLLISIONS: dict[str, Any] = {
    "BEAMS": 2212,
    "BEAM_ENERGIES": 6500,
    "ME_GENERATORS": ["Comix"],
    # The sets that the wheel holds: nothing is downloaded.
    "PDF_LIBRARY": "LHAPDFSherpa",
    "PDF_SET": "PDF4LHC21_40_pdfas",
    "EVENT_GENERATION_MODE": "Unweighted",
}
LONGEST_LIFETIME = 10.0
"""Particles with a larger c tau (mm) reach the detector, as in the settings of Pythia."""

_FORCED = 2  # only the channels with this status are open


class SherpaProcess(BaseModel):
    """A process of the catalogue in Sherpa's terms.

    `hard` are keys of the run card that decide the matrix element; each of `alternatives` lists
    the decay channels that are open (`24,2,-1` is W+ -> u dbar), and makes an equal share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hard: dict[str, Any]
    alternatives: tuple[tuple[str, ...], ...]

    def cards(
        self, *, mpi: bool, longest_lifetime: float = LONGEST_LIFETIME
    ) -> tuple[tuple[str, str], ...]:
        """Return both parts of the run card of every alternative."""
        hard = _text(COLLISIONS | self.hard)
        return tuple(
            (hard, _text(_event_part(open_, mpi, longest_lifetime))) for open_ in self.alternatives
        )


def _event_part(channels: tuple[str, ...], mpi: bool, longest_lifetime: float) -> dict[str, Any]:
    decays = {channel: {"Status": _FORCED} for channel in channels}
    part = {
        "HARD_DECAYS": {"Enabled": True, "Channels": decays},
        "HADRON_DECAYS": {"Max_Proper_Lifetime": longest_lifetime},
    }
    return part if mpi else part | {"MI_HANDLER": "None"}


def _text(keys: dict[str, Any]) -> str:
    # Block style throughout: the parts are put end to end.
    return yaml.safe_dump(keys, sort_keys=False, default_flow_style=False, width=1000)


def integration_card(hard: str) -> str:
    """Return the card that integrates the matrix element and makes no event."""
    keys = {"MI_HANDLER": "None", "FRAGMENTATION": "None", "RANDOM_SEED": 1, "EVENTS": 0}
    return hard + _text(keys)


def event_card(parts: tuple[str, ...], seed: int) -> str:
    """Return the card that hands over events until the program is ended."""
    keys = {
        "RANDOM_SEED": seed,
        "EVENTS": 10**9,
        "EVENT_DISPLAY_INTERVAL": 10**9,
        "SHERPA_LDADD": [NAME],
        "USERHOOKS": [NAME],
    }
    return "".join(parts) + _text(keys)


@cache
def sherpa_processes() -> dict[str, SherpaProcess]:
    """Return what Sherpa can make, by the name in the catalogue."""
    text = (resources.files("transferline.generate.sherpa") / "processes.yaml").read_text("utf-8")
    rows: dict[str, Any] = yaml.safe_load(text)
    known = rows.items()
    return {k: SherpaProcess.model_validate(v) for k, v in known if not k.startswith("_")}


def sherpa_process(name: str) -> SherpaProcess:
    """Return a process; raises ConfigError with what there is, if Sherpa has no card for it."""
    known = sherpa_processes()
    if name not in known:
        raise ConfigError(
            f"Process '{name}' has no run card for Sherpa.{did_you_mean(name, known)}"
        )
    return known[name]
