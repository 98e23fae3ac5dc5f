"""The file of the HIGGS benchmark (arXiv:1402.4735), in GeV and rad."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import uproot

from transferline.config import Recipe, load_config
from transferline.errors import DataError
from transferline.validation.cascade_masses import JETS, MASSES, Decays
from transferline.validation.statistics import Bools, Floats

Kind = Literal["signal", "background"]
KINDS: tuple[Kind, ...] = ("signal", "background")


class _Description(Recipe):
    trees: dict[Kind, str]
    units: dict[str, float]


@cache
def description() -> _Description:
    """Return the names of the trees, and what every column is divided by in the file."""
    return load_config(Path(__file__).with_name("higgs_benchmark.yaml"), _Description)


@dataclass(frozen=True)
class HiggsFile:
    """The file with its two trees.

    Raises:
        DataError: it is missing, or holds something else.
    """

    path: Path

    @cached_property
    def _trees(self) -> dict[Kind, dict[str, Floats]]:
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file.")
        names = [*description().units, *(f"jet{i}_b-tag" for i in JETS)]
        try:
            with uproot.open(self.path) as file:
                return {
                    kind: _columns(file[tree], names) for kind, tree in description().trees.items()
                }
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{self.path}: is not the HIGGS benchmark ({error}).") from error

    def columns(self, kind: Kind) -> dict[str, Floats]:
        """Return what `Decays.columns` does, as the file has it."""
        tree = self._trees[kind]
        names = ("lepton_pT", "missing_energy_magnitude", *(f"jet{i}_pt" for i in JETS), *MASSES)
        bits = {f"b{i}": (tree[f"jet{i}_b-tag"] > 0.0).astype(float) for i in JETS}
        return {name: self[kind, name] for name in names} | bits

    def __getitem__(self, which: tuple[Kind, str]) -> Floats:
        """Return one column of one tree in its unit."""
        kind, name = which
        return self._trees[kind][name] * description().units[name]

    def decays(self, kind: Kind) -> tuple[Decays, Bools]:
        """Return the events with both b jets among the four hardest, and which those are `[n]`.

        The file has no more than four jets of any event.
        """
        columns = self.columns(kind)
        is_b = np.stack([columns[f"b{i}"] for i in JETS], axis=1) > 0.0
        both = is_b.sum(axis=1) == 2

        def jets(name: str) -> Floats:
            return np.stack([self[kind, f"jet{i}_{name}"][both] for i in JETS], axis=1)

        def one(prefix: str, **names: str) -> ak.Array:
            return ak.zip({key: self[kind, f"{prefix}_{n}"][both] for key, n in names.items()})

        four = ak.zip(
            {"pt": jets("pt"), "eta": jets("eta"), "phi": jets("phi"), "is_b": is_b[both]}
        )
        lepton = one("lepton", pt="pT", eta="eta", phi="phi")
        met = one("missing_energy", pt="magnitude", phi="phi")
        return Decays(lepton, met, ak.from_regular(four), np.ones(len(four))), both


def _columns(tree: Any, names: list[str]) -> dict[str, Floats]:
    return {name: np.asarray(v, float) for name, v in tree.arrays(names, library="np").items()}
