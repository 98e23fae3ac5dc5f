"""Required packages and extras: which are there, and whether their versions are allowed."""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from transferline.doctor.look import Looks, TroubleError


def core_looks() -> Looks:
    """Return a look per required package."""
    return {row.name: partial(_core, row) for row in _requirements().get("", ())}


def extra_looks() -> Looks:
    """Return a look per extra."""
    rows = _requirements().items()
    return {extra: partial(_extra, extra, needed) for extra, needed in rows if extra}


def _requirements() -> dict[str, list[Requirement]]:
    """Return extra -> what it needs on this machine; the core has the name ''."""
    found: dict[str, list[Requirement]] = {}
    for line in requires("transferline") or ():
        row = Requirement(line)
        extra = _extra_of(row)
        found.setdefault(extra, [])
        if row.marker is None or row.marker.evaluate({"extra": extra}):
            found[extra].append(row)
    return found


def _extra_of(row: Requirement) -> str:
    text = str(row.marker or "")
    return text.rpartition('extra == "')[2].partition('"')[0] if "extra" in text else ""


def _core(row: Requirement) -> str:
    try:
        return _allowed(row)
    except PackageNotFoundError as error:
        raise TroubleError("missing: pip install transferline") from error


def _allowed(row: Requirement) -> str:
    found = version(row.name)
    if not row.specifier.contains(found, prereleases=True):
        raise TroubleError(
            f"{row.name} {found}, but {row} is needed: pip install '{row.name}{row.specifier}'"
        )
    return found


def _extra(extra: str, rows: list[Requirement]) -> str:
    """An extra that is not installed is no problem; a wrong version is."""
    there, missing = [], []
    for row in rows:
        try:
            there.append(f"{row.name} {_allowed(row)}")
        except PackageNotFoundError:
            missing.append(row.name)
    if not rows:
        return "not for this Python or machine"
    how = f"pip install 'transferline[{extra}]'"
    if not there:
        return f"not installed: {how}"
    lacking = [f"{', '.join(missing)} missing: {how}"] if missing else []
    return "; ".join([", ".join(there), *lacking])
