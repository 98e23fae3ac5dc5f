"""A NanoAOD file in memory: branches by name, the hard process, and the selected objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from transferline.data.jagged import offsets_of, records
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import Selection, needed_columns, selection
from transferline.data.selections import objects as pick
from transferline.data.selections.flat import Flat
from transferline.errors import DataError

Floats = NDArray[np.float64]

OBJECTS = "l1_j4_b2"
"""The shipped selection whose definitions of objects this page uses."""


@dataclass(frozen=True)
class Chosen:
    """Objects that the selection takes, `[n, var]` records: leptons, jets cleaned of them.

    Leptons have `code` 11 or 13; jets have `is_b`, the tagger's discriminant
    and, in simulation, `hadron_flavour`.
    """

    leptons: ak.Array
    jets: ak.Array

    @property
    def b_jets(self) -> ak.Array:
        """Jets that pass the working point of the selection."""
        return self.jets[self.jets.is_b]

    @property
    def other_jets(self) -> ak.Array:
        """Jets that do not."""
        return self.jets[~self.jets.is_b]


@dataclass(frozen=True)
class EventFile:
    """One NanoAOD file, `n` events; branches are read when asked for and kept."""

    path: Path

    @cached_property
    def _tree(self) -> Any:
        try:
            return uproot.open(self.path)["Events"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{self.path}: is not a NanoAOD file ({error}).") from error

    @cached_property
    def _branches(self) -> dict[str, Any]:
        return {}

    def __getitem__(self, name: str) -> Any:
        """Return a branch: `[n]` NumPy or `[n, var]` awkward."""
        if name not in self._branches:
            if name not in self._tree:
                raise DataError(f"{self.path}: has no branch {name}.")
            array = self._tree[name].array()
            self._branches[name] = ak.to_numpy(array) if array.ndim == 1 else array
        return self._branches[name]

    def __contains__(self, name: str) -> bool:
        return name in self._tree

    def __len__(self) -> int:
        return int(self._tree.num_entries)

    @property
    def weight(self) -> Floats:
        """Signed weights."""
        return np.asarray(self["genWeight"], float)

    def objects(self, collection: str, *columns: str) -> ak.Array:
        """Return a collection as records with pt, eta, phi, mass and these columns."""
        names = ("pt", "eta", "phi", "mass", *columns)
        return ak.zip({name: self[f"{collection}_{name}"] for name in names})

    def hard(self, *codes: int) -> ak.Array:
        """Return particles of the hard process by absolute PDG id, with their mother's id.

        Of copies of one particle the last is kept, so resonances have the momentum they decay
        with.
        """
        particles = self.objects("GenPart", "pdgId", "status", "genPartIdxMother")
        index = particles.genPartIdxMother
        safe = ak.where(index < 0, 0, index)
        particles["mother"] = ak.where(index < 0, 0, particles.pdgId[safe])
        wanted = np.isin(np.abs(ak.to_numpy(ak.flatten(particles.pdgId))), codes)
        return particles[ak.unflatten(wanted, ak.num(particles))]

    def prompt_leptons(self) -> ak.Array:
        """Return electrons, muons and taus whose mother is a W or Z."""
        leptons = self.hard(11, 13, 15)
        mother = abs(leptons.mother)
        return leptons[(mother == 23) | (mother == 24)]

    def xy(self, prefix: str) -> NDArray[np.float64]:
        """Return (x, y) of a transverse momentum such as `MET`, `[n, 2]`."""
        pt, phi = np.asarray(self[f"{prefix}_pt"], float), np.asarray(self[f"{prefix}_phi"], float)
        return np.stack([pt * np.cos(phi), pt * np.sin(phi)], axis=1)

    @cached_property
    def chosen(self) -> Chosen:
        """The objects that the shipped selections take (`selections/objects.yaml`)."""
        return choose(self.path, selection(OBJECTS))


def choose(path: Path, recipe: Selection) -> Chosen:
    """Return the objects of a file that a selection takes; its event cuts are not applied."""
    reader = NanoAOD(files=[str(path)])
    chunks = reader.chunks(object_columns(recipe))
    parts = [choose_among(events.particles, recipe) for events in chunks]
    leptons = ak.concatenate([part.leptons for part in parts])
    return Chosen(leptons, ak.concatenate([part.jets for part in parts]))


def object_columns(recipe: Selection, *, truth: bool = True) -> dict[str, list[str]]:
    """Return collection -> columns that `choose_among` reads; jets' flavours only with `truth`."""
    needed = needed_columns(recipe)
    columns = {name: needed[name] for name in ("electron", "muon", "jet")}
    return columns | {"jet": [*columns["jet"], *(["hadron_flavour"] if truth else [])]}


def choose_among(particles: Mapping[str, ak.Array], recipe: Selection) -> Chosen:
    """Return the objects of a chunk that a selection takes; `hadron_flavour` if it was read."""
    electrons = pick.electrons(Flat.of(particles["electron"]), recipe.electrons)
    muons = pick.muons(Flat.of(particles["muon"]), recipe.muons)
    jets = pick.jets(Flat.of(particles["jet"]), recipe.jets, recipe.era, [electrons, muons])
    tag = jets[recipe.jets.btag.tagger]
    truth = [name for name in ("hadron_flavour",) if name in jets]
    found = _records(jets, (*truth, recipe.jets.btag.tagger))
    found["is_b"] = ak.unflatten(tag > recipe.btag_cut, jets.count())
    leptons = ak.concatenate([_lepton(electrons, 11), _lepton(muons, 13)], axis=1)
    return Chosen(leptons[ak.argsort(leptons.pt, axis=1, ascending=False)], found)


def _lepton(found: Flat, code: int) -> ak.Array:
    result = _records(found, ("charge",))
    result["code"] = ak.unflatten(np.full(len(found.event), code), found.count())
    return result


def _records(found: Flat, columns: Sequence[str]) -> ak.Array:
    names = ("pt", "eta", "phi", "mass", *columns)
    return records(offsets_of(found.count()), {name: found[name] for name in names})
