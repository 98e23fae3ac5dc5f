"""The process catalogue: what can be generated, with its settings and cross section."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from transferline.errors import ConfigError, did_you_mean

_PLACEHOLDER = re.compile(r"\{(\w+)([+-]\d+)?\}")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CrossSection(_Entry):
    """A cross section in pb, where it comes from and which branching fractions it includes."""

    pb: float | None
    kind: Literal["published", "scaled", "conventional"]
    reference: str
    branching: str


OF_LHE = CrossSection(
    pb=None,
    kind="conventional",
    reference="as in the LHE file: see what the generator found, or give one",
    branching="as in the file",
)
"""In place of a process's own: its showers and decays may be used for other hard events."""


class Parameter(_Entry):
    """A number that may follow the name of a process, such as a mass in GeV."""

    default: float
    minimum: float
    maximum: float
    examples: tuple[float, ...] = ()


class Process(_Entry):
    """One entry of the catalogue; `values` are the chosen parameters.

    `alternatives` are sets of further decay settings that share the events equally: charge
    conjugate decays, so that both charges of the lepton occur.
    """

    name: str
    purpose: str
    production: tuple[str, ...]
    decays: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ((),)
    parameters: dict[str, Parameter] = {}
    values: dict[str, float] = {}
    filter: str
    cross_section: CrossSection

    @property
    def full_name(self) -> str:
        """Name with parameters, as `process` understands it: `Hplus_tb_500`."""
        return "_".join([self.name, *(f"{self.values[p]:g}" for p in self.parameters)])

    def settings(self, alternative: int, *, external: bool = False) -> tuple[str, ...]:
        """Return Pythia settings of one alternative; without production if events are external."""
        production = () if external else self.production
        every = (*production, *self.decays, *self.alternatives[alternative])
        return tuple(_PLACEHOLDER.sub(self._value, setting) for setting in every)

    def _value(self, match: re.Match[str]) -> str:
        return f"{self.values[match[1]] + float(match[2] or 0):g}"

    def at(self, values: dict[str, float]) -> Process:
        """Return the process with these parameters; raises ConfigError outside their range."""
        for name, value in values.items():
            allowed = self.parameters[name]
            if not allowed.minimum <= value <= allowed.maximum:
                raise ConfigError(
                    f"{self.name}: {name} = {value:g} is outside "
                    f"{allowed.minimum:g} to {allowed.maximum:g}."
                )
        return self.model_copy(update={"values": {**self.values, **values}})


@cache
def _catalogue() -> dict[str, Process]:
    text = (resources.files("transferline.generate") / "processes.yaml").read_text("utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    result = {name: Process.model_validate({"name": name, **e}) for name, e in entries.items()}
    defaults = {n: {k: p.default for k, p in e.parameters.items()} for n, e in result.items()}
    return {name: entry.at(defaults[name]) for name, entry in result.items()}


def processes() -> list[Process]:
    """Return the catalogue, parameters at their defaults, in its own order."""
    return list(_catalogue().values())


def process(name: str) -> Process:
    """Return the process called `name`, with any parameters appended to it by underscores.

    Raises ConfigError with the nearest names if there is none.

    >>> process("ttH_bb_1l").cross_section.pb
    0.1297
    >>> process("Hplus_tb_300").settings(0)[2]
    '37:m0 = 300'
    """
    known = _catalogue()
    if name in known:
        return known[name]
    for base in sorted(known, key=len, reverse=True):
        entry = known[base]
        if name.startswith(f"{base}_") and entry.parameters:
            return entry.at(_parse_values(entry, name[len(base) + 1 :].split("_")))
    raise ConfigError(f"Unknown process '{name}'.{did_you_mean(name, known)}")


def _parse_values(entry: Process, texts: list[str]) -> dict[str, float]:
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    if not 0 < len(numbers) <= len(entry.parameters):
        expected = "_".join([entry.name, *(name.upper() for name in entry.parameters)])
        raise ConfigError(f"Cannot read '{entry.name}_{'_'.join(texts)}': expected {expected}.")
    return dict(zip(entry.parameters, numbers, strict=False))
