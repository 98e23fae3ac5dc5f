"""How a file was made, as its provenance tells: generator, settings, cross sections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transferline.data.readers.base import Source
from transferline.errors import shortened
from transferline.evaluation.measurement import Measurement

_GENERATORS = {"pythia": ("Pythia", "pythia8mc"), "sherpa": ("Sherpa", "sherpa-mc")}
ORIGIN = ("Process", "Generator", "Cross section (pb)", "Generator's own (pb)", "Settings")
"""Titles of what `origin` returns."""


def origin(source: Source) -> tuple[str, ...]:
    """Return process, generator, cross sections and settings of a file, `-` for what is not told.

    Files that were not generated here tell their format only. The first cross section is that of
    the catalogue, the second the generator's at leading order; both before the filter.
    """
    found = source.provenance
    if found is None:
        kind = "simulation" if source.is_simulation else "collision data"
        return ("-", "-", "-", "-", f"{kind}, {source.format}")
    cells = (_text(found, "process"), _generator(found), _known(found), _own(found))
    return (*cells, _settings(found))


def _text(found: Mapping[str, Any], key: str) -> str:
    return shortened(found.get(key, "-"))


def _name(found: Mapping[str, Any]) -> str:
    """Provenance of before there were two generators does not name one."""
    return str(found.get("generator") or "pythia")


def _generator(found: Mapping[str, Any]) -> str:
    title, package = _GENERATORS.get(_name(found), (shortened(_name(found)), ""))
    number = _part(found, "versions").get(package)
    return title if number is None else f"{title} {shortened(number)}"


def _known(found: Mapping[str, Any]) -> str:
    section = _part(found, "cross_section")
    pb = section.get("pb")
    return "-" if pb is None else f"{pb:g} ({_text(section, 'kind')})"


def _own(found: Mapping[str, Any]) -> str:
    section = _part(found, f"cross_section_{_name(found)}")
    numbers = section.get("pb"), section.get("error")
    pb, error = (v if isinstance(v, int | float) else math.nan for v in numbers)
    return "-" if math.isnan(pb) else str(Measurement(pb, error))


def _settings(found: Mapping[str, Any]) -> str:
    mpi = found.get("mpi")
    words = [] if mpi is None else ["with MPI" if mpi else "no MPI"]
    words += [f"tune {_text(found, 'tune')}"] if found.get("tune") else []
    if found.get("detector"):
        words.append(f"detector {Path(_text(found, 'detector')).name}")
    words += [_filter(_part(found, "filter"))] if found.get("filter") else []
    words += ["hard events of a Les Houches file"] if found.get("lhe_sha256") else []
    words += [f"seed {_text(found, 'seed')}"] if "seed" in found else []
    return ", ".join(words) or "-"


def _filter(rule: Mapping[str, Any]) -> str:
    tried, passed = rule.get("tried"), rule.get("passed")
    name = f"filter {_text(rule, 'name')}"
    if isinstance(tried, int) and isinstance(passed, int) and tried > 0:
        return f"{name} ({passed / tried:.1%} pass)"
    return name


def _part(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}
