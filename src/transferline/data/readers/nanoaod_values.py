"""What the branches of a NanoAOD file must hold, checked before anything is computed from them.

A number of another type, or one that is not finite, would else surface far from its file: as an
error of another library, as a sum of weights that is NaN, or as a jet that quietly fails a cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import awkward as ak
import numpy as np

from transferline.data.events import ID_DTYPE
from transferline.data.jagged import flat_values
from transferline.data.layouts import nanoaod as layout
from transferline.errors import DataError, shortened

INTEGERS = frozenset(
    {"jet_id", "pu_id", "cut_based", "decay_mode", *layout.TAU_LEVELS, "hadron_flavour"}
)
"""Columns of which bits or exact values are asked for."""

_FINITE = frozenset({"pt", "eta", "phi", "mass"})
_LARGEST = 1e7  # GeV; no collider that was ever proposed makes a thousandth of it
_ANY = float(np.finfo(np.float64).max)
_MOMENTA = frozenset({"pt", "mass"})


def check_arrays(
    path: str,
    arrays: Mapping[str, ak.Array],
    particles: Mapping[str, Mapping[str, str]],
    scalars: Iterable[str],
) -> None:
    """Check types and finiteness of what one chunk of a file holds.

    Args:
        path: the file.
        arrays: branch -> values.
        particles: collection -> column -> branch.
        scalars: further branches, each with one number per event.

    Raises:
        DataError: names branch and, where it is one value, the event.
    """
    _check_lengths(path, arrays)
    for branch in scalars:
        _check_type(path, branch, arrays[branch], per_object=False)
    _check_identity(path, arrays)
    for collection, columns in particles.items():
        per_object = not layout.COLLECTIONS[collection].scalar
        for column, branch in columns.items():
            values = arrays[branch]
            _check_type(path, branch, values, per_object, column in INTEGERS)
            if column in _FINITE:
                _check_finite(path, branch, arrays, _LARGEST if column in _MOMENTA else _ANY)
    if layout.GEN_WEIGHT in arrays:
        _check_finite(path, layout.GEN_WEIGHT, arrays, _ANY)


def _check_lengths(path: str, arrays: Mapping[str, ak.Array]) -> None:
    n = len(arrays[layout.EVENT_ID[0]])
    for branch, values in arrays.items():
        if len(values) != n:
            raise DataError(
                f"{path}: branch {branch} holds {len(values)} entries where "
                f"{layout.EVENT_ID[0]} holds {n}."
            )


def _check_type(
    path: str, branch: str, values: ak.Array, per_object: bool, integer: bool = False
) -> None:
    inner = values.layout
    if per_object:
        inner = inner.content if inner.is_list else None
    plain = inner is not None and inner.is_numpy and inner.parameter("__array__") is None
    if plain and inner.data.ndim == 1 and inner.data.dtype.kind in ("iub" if integer else "iubf"):
        return
    number = "integer" if integer else "number"
    wanted = f"a list of {number}s" if per_object else f"one {number}"
    found = shortened(ak.type(values).content, 60)
    raise DataError(f"{path}: branch {branch} holds '{found}' per event, not {wanted}.")


def _check_identity(path: str, arrays: Mapping[str, ak.Array]) -> None:
    for field, branch in zip(("run", "lumi", "event"), layout.EVENT_ID, strict=True):
        values = flat_values(arrays[branch])
        if values.dtype == ID_DTYPE[field]:
            continue
        largest = np.iinfo(ID_DTYPE[field]).max
        if values.dtype.kind == "f" or (
            len(values) and (values.min() < 0 or int(values.max()) > largest)
        ):
            raise DataError(f"{path}: branch {branch} holds numbers outside 0 to {largest}.")


def _check_finite(path: str, branch: str, arrays: Mapping[str, ak.Array], largest: float) -> None:
    values = arrays[branch]
    flat = flat_values(values)
    # A NaN is both extremes of its array, and no comparison with it is true.
    if not len(flat) or max(float(flat.max()), -float(flat.min())) <= largest:
        return
    bad = ~np.isfinite(flat) | (np.abs(flat) > largest)
    first = int(np.flatnonzero(bad)[0])
    counts = np.ones(len(values), np.int64) if values.ndim == 1 else ak.to_numpy(ak.num(values))
    event = int(np.searchsorted(np.cumsum(counts), first, side="right"))
    names = ", ".join(f"{name} {arrays[name][event]}" for name in layout.EVENT_ID)
    raise DataError(
        f"{path}: branch {branch} holds {flat[first]:g} in the event with {names}, and "
        f"{int(bad.sum())} such values in this part of the file."
    )
