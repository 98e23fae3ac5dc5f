"""A file of jets in the layout of JetClass, in memory, with what the pages ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from transferline.data.layouts.jetclass import FLAGS
from transferline.errors import DataError
from transferline.validation.statistics import Floats

_OTHERS = ("energy", "px", "py", "pz", "deta", "dphi", "charge", "d0val", "d0err", "dzval", "dzerr")


@dataclass(frozen=True)
class JetFile:
    """One file of the JetClass layout; branches are read when asked for and kept."""

    path: Path

    @cached_property
    def _jets(self) -> ak.Array:
        names = [f"part_{name}" for name in _OTHERS] + list(FLAGS)
        wanted = [*names, *(f"jet_{name}" for name in ("pt", "eta", "energy", "sdmass"))]
        wanted += [f"jet_tau{n}" for n in (1, 2, 3)]
        try:
            with uproot.open(self.path) as file:
                return file["tree"].arrays(wanted)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{self.path}: is not a file of JetClass ({error}).") from error

    def __getitem__(self, name: str) -> Any:
        """Return a branch without its prefix `part_`: `[n]` NumPy or `[n, var]` awkward."""
        array = self._jets[name if name.startswith("jet_") else f"part_{name}"]
        return ak.to_numpy(array) if array.ndim == 1 else array

    def __len__(self) -> int:
        return len(self._jets)

    @cached_property
    def pt(self) -> ak.Array:
        """Transverse momenta of the particles in GeV, `[n, var]`."""
        return np.hypot(self["px"], self["py"])

    def count(self, *flags: str) -> Floats:
        """Return how many particles of these kinds each jet has; all without a name."""
        if not flags:
            return np.asarray(ak.num(self.pt), float)
        found = sum(self[flag] for flag in flags)
        return np.asarray(ak.sum(found, axis=1), float)

    @property
    def mass(self) -> Floats:
        """Soft-drop masses in GeV."""
        return np.asarray(self["jet_sdmass"], float)

    def ratio(self, n: int) -> Floats:
        """Return tau_n / tau_(n-1) of every jet."""
        over = np.maximum(np.asarray(self[f"jet_tau{n - 1}"], float), 1e-9)
        return np.asarray(self[f"jet_tau{n}"] / over)

    @property
    def significance(self) -> ak.Array:
        """|d0| / sigma(d0) of tracks with an error and |d0| < 5 mm, `[n, var]`."""
        value, error = abs(self["d0val"]), self["d0err"]
        track = (error > 0) & (value < 5.0)
        return value[track] / error[track]
