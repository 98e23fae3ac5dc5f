"""What the branches of jets hold: taken out of their lists, checked, and turned into columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import CONSTITUENTS
from transferline.data.layouts.shards import P4_COLUMNS
from transferline.data.readers.jet_columns import TYPES, Plan
from transferline.data.readers.jet_sets import JetSets
from transferline.errors import DataError, shortened

Values = NDArray[Any]
Offsets = NDArray[np.int64]

_LARGEST = 1e7  # GeV; beyond it a number is damage


@dataclass(frozen=True)
class Raw:
    """Branches of the jets of one chunk, laid end to end.

    Attributes:
        path: the file.
        offsets: `[m + 1]` bounds of the jets among the particles.
        jet: branch -> `[m]`.
        part: branch -> `[k]`.
    """

    path: str
    offsets: Offsets
    jet: Mapping[str, Values]
    part: Mapping[str, Values]

    @cached_property
    def parent(self) -> NDArray[np.intp]:
        """The jet of every particle, `[k]`."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def wide(self, branch: str) -> NDArray[np.float64]:
        """Return a branch in double precision, `[k]`; of the jet, for each of its particles."""
        if branch in self.jet:
            return self.jet[branch].astype(np.float64)[self.parent]
        return self.part[branch].astype(np.float64)


Formula = Callable[[str, Raw], Values]
"""From the name of a column to its values, `[k]` or `[m]`."""


def jet_sets(
    plan: Plan, raw: Raw, constituent: Formula, context: Formula, identity: NDArray[np.void]
) -> JetSets:
    """Compute the columns of a plan, in single precision.

    Raises:
        DataError: a momentum is not finite, or a transverse momentum below zero.
    """
    types = [name for name in plan.constituents if name in TYPES]
    species = constituent("species", raw) if types else None
    columns: dict[str, Values] = {}
    for name, branches in plan.constituents.items():
        if species is not None and name in TYPES:
            values: Values = species == CONSTITUENTS[TYPES[name]]
        else:
            values = constituent(name, raw)
        if name in P4_COLUMNS:
            _check_momentum(raw, name, branches, values)
        columns[name] = values.astype(np.float32)
    return JetSets(
        offsets=raw.offsets,
        constituents=columns,
        context={name: context(name, raw).astype(np.float32) for name in plan.context},
        labels={name: raw.jet[branch] for name, branch in plan.labels.items()},
        weight=np.ones(len(identity)),
        id=identity,
    )


def _check_momentum(raw: Raw, name: str, branches: tuple[str, ...], values: Values) -> None:
    low = 0.0 if name == "pt" else -_LARGEST
    good = np.isfinite(values) & (values >= low) & (values <= _LARGEST)
    if good.all():
        return
    first = int(np.flatnonzero(~good)[0])
    raise DataError(
        f"{raw.path}: a constituent has the {name} {values[first]:g}, made from "
        f"{', '.join(branches)}; it is number {first - raw.offsets[raw.parent[first]]} of its jet, "
        f"jet {raw.parent[first]} of this part of the file, where {int((~good).sum())} are so."
    )


def transverse(px: Values, py: Values) -> Values:
    r"""Return $p_T = \sqrt{p_x^2 + p_y^2}$."""
    pt: Values = np.hypot(px, py)
    return pt


def pseudorapidity(px: Values, py: Values, pz: Values) -> Values:
    r"""Return $\eta = \mathrm{arsinh}(p_z / p_T)$; not finite along the beam."""
    with np.errstate(divide="ignore", invalid="ignore"):
        eta: Values = np.arcsinh(pz / transverse(px, py))
    return eta


def mass_of(energy: Values, momentum: Values) -> Values:
    r"""Return $m = \sqrt{\max(0, E^2 - p^2)}$.

    Where E and p come in single precision, the difference of the squares is uncertain by about
    $10^{-7} E^2$: a pion's mass drowns above some 400 GeV, and the square may be below zero.
    """
    mass: Values = np.sqrt(np.maximum((energy - momentum) * (energy + momentum), 0.0))
    return mass


def error_of(value: Values, significance: Values) -> Values:
    """Return |value / significance|, 0 where there is no significance (a neutral particle)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(value / significance)
    return np.where(np.isfinite(error), error, 0.0)


def scalar(path: str, branch: str, values: ak.Array) -> Values:
    """Return a branch with one number per entry, `[n]`.

    Raises:
        DataError: it holds something else.
    """
    layout = _plain(values.layout)
    if layout is None:
        raise _other(path, branch, values, "one number")
    return layout


def lists(path: str, branch: str, values: ak.Array, depth: int = 1) -> tuple[list[Offsets], Values]:
    """Take a branch of lists of numbers apart.

    Args:
        path: the file, for the error.
        branch: its name, for the error.
        values: `[n, var, ...]`.
        depth: levels of lists.

    Returns:
        Bounds of each level, the outermost first, and the numbers.

    Raises:
        DataError: it holds something else.
    """
    layout = values.layout
    levels: list[Offsets] = []
    for _ in range(depth):
        if not layout.is_list or layout.parameter("__array__") is not None:
            raise _other(path, branch, values, "lists of " * depth + "numbers")
        layout = layout.to_ListOffsetArray64(True)
        bounds = np.asarray(layout.offsets)
        levels.append(bounds)
        layout = layout.content[: int(bounds[-1])]
    numbers = _plain(layout)
    if numbers is None:
        raise _other(path, branch, values, "lists of " * depth + "numbers")
    return levels, numbers


def _plain(layout: Any) -> Values | None:
    """Return the numbers of a flat layout, None if it is something else."""
    if layout.is_option and not layout.mask_as_bool(valid_when=False).any():
        layout = layout.project()  # Parquet allows for nulls where there are none
    if not layout.is_numpy:
        return None
    values: Values = np.asarray(layout.to_backend_array())
    return values if values.ndim == 1 and values.dtype.kind in "iubf" else None


def _other(path: str, branch: str, values: ak.Array, wanted: str) -> DataError:
    found = shortened(ak.type(values).content, 60)
    return DataError(f"{path}: branch {branch} holds '{found}' per entry, not {wanted}.")


def same_bounds(path: str, branch: str, one: Offsets, other: Offsets) -> None:
    """Raise DataError where two branches of particles have lists of other lengths."""
    if not np.array_equal(one, other):
        raise DataError(f"{path}: branch {branch} has other counts than the rest of its jets.")
