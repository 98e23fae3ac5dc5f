"""The events on which a graph is compared with torch: shards, files, or the shipped sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transferline.data.batch import Batch
from transferline.data.card import load_card
from transferline.data.readers import READERS
from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import Reader
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import (
    JetEventSelection,
    JetSelection,
    Selection,
    apply,
    needed_columns,
)
from transferline.deploy.batches import batch_of, chosen, joined
from transferline.deploy.model_selection import own_selection
from transferline.deploy.particles import takes_jets
from transferline.errors import ConfigError, DataError
from transferline.models.checkpoint import Checkpoint

MOST_EVENTS = 10_000
"""Of larger samples, so many are compared: evenly spread, the longest among them."""

_CHUNK = 20_000


@dataclass(frozen=True)
class RealEvents:
    """Events in one batch, as wide as the longest of them, and what they are called."""

    batch: Batch
    source: str

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of particles of every event, `[n]`."""
        sizes: NDArray[np.int64] = self.batch.is_real.sum(1).numpy()
        return sizes


def real_events(
    places: Sequence[Path | str], checkpoint: Checkpoint, reader: Reader | str = "nanoaod"
) -> RealEvents:
    """Load events, or jets, for the comparison.

    Args:
        places: directories of shards; or files, to which the model's selection is applied; none
            stands for the sample inside the package, which is one of events.
        checkpoint: of the model.
        reader: of the files, or the name of their format.

    Raises:
        ConfigError: shards and files are mixed, the selection is needed and not known, or the
            model takes jets and there are none.
        DataError: nothing is there, or no event passes.
    """
    jets = takes_jets(checkpoint)
    if not places and jets:
        raise ConfigError(
            "the model takes jets, and the sample inside the package is one of events. Give jets "
            "to compare on: --events SHARDS, or --events FILE --reader NAME."
        )
    if not places:
        return RealEvents(_from_shards(_shipped()), "sample inside the package")
    names = ", ".join(Path(public_name(str(place))).name for place in places)
    directories = [Path(place) for place in places if Path(place).is_dir()]
    if directories and len(directories) < len(places):
        raise ConfigError("--events: give directories of shards or files, not both.")
    if directories:
        nested = jets and any(load_card(place).constituents for place in directories)
        batch = _from_events_of_jets(directories) if nested else _from_shards(directories)
        return RealEvents(batch, names)
    remedy = "Prepare them and give the shards."
    chosen = own_selection(checkpoint.selection, "--events", remedy)
    if isinstance(chosen, JetEventSelection):
        raise ConfigError(
            f"--events {names}: holds files, the model's jets are in events. {remedy}"
        )
    if isinstance(reader, str):
        reader = READERS.load(reader)(kind=reader, files=[str(place) for place in places])
    return RealEvents(_from_files(reader, chosen), names)


def _shipped() -> list[Path]:
    folder = Path(str(resources.files("transferline"))) / "shipped" / "samples"
    found = sorted(card.parent for card in folder.glob("*/card.json"))
    if not found:
        raise ConfigError("no events come with this installation: give some with --events.")
    return found


def _from_shards(directories: Sequence[Path]) -> Batch:
    shards = ShardSet(directories)
    if not len(shards):
        raise DataError(f"{', '.join(map(str, directories))}: hold no event to compare with.")
    step = max(1, -(-len(shards) // MOST_EVENTS))
    rows = np.unique(np.append(np.arange(0, len(shards), step), shards.n_particles.argmax()))
    return shards.gather(rows, width=max(int(shards.n_particles.max()), 1))


def _from_events_of_jets(directories: Sequence[Path]) -> Batch:
    """All jets of some events, among them that with the longest jet."""
    shards = NestedShardSet(directories)
    n_jets = shards.n_particles.astype(np.int64)
    if not n_jets.sum():
        raise DataError(f"{', '.join(map(str, directories))}: hold no jet to compare with.")
    step = max(1, -(-int(n_jets.sum()) // MOST_EVENTS))
    rows = np.unique(np.append(np.arange(0, len(shards), step), shards.lengths.argmax()))
    return shards.gather(rows, width=max(int(shards.lengths.max()), 1)).sets


def _from_files(reader: Reader, selection: Selection | JetSelection) -> Batch:
    """Read all of every file: nothing less finds the longest event."""
    if isinstance(selection, JetSelection):
        selection = selection.resolved(reader.columns())
    columns, spread = needed_columns(selection), _Spread(MOST_EVENTS)
    for path in reader.paths():
        source = reader.source(path, columns)
        for chunk in reader.read(path, 0, source.entries, columns, _CHUNK):
            kept = apply(selection, chunk, is_simulation=source.is_simulation).events
            spread.add(batch_of(kept))
    if not spread.n:
        names = ", ".join(map(public_name, reader.files))
        raise DataError(f"{names}: no event passes the selection '{selection.name}'.")
    return spread.batch()


class _Spread:
    """Every n-th event of a stream of unknown length, and the longest one; in bounded memory."""

    def __init__(self, most: int) -> None:
        self.most, self.n, self._step = most, 0, 1
        self._kept: list[tuple[NDArray[np.int64], Batch]] = []  # places in the stream, events
        self._longest: tuple[int, Batch] | None = None  # its place

    def add(self, batch: Batch) -> None:
        """Take the next events of the stream."""
        if not len(batch):
            return
        self._compare(batch)
        self._kept.append(_thinned(np.arange(self.n, self.n + len(batch)), batch, self._step))
        self.n += len(batch)
        while sum(len(places) for places, _ in self._kept) > self.most:
            self._step *= 2
            self._kept = [_thinned(*part, self._step) for part in self._kept]

    def _compare(self, batch: Batch) -> None:
        sizes = batch.is_real.sum(1)
        row = int(sizes.argmax())
        if self._longest is None or int(sizes[row]) > int(self._longest[1].is_real.sum()):
            self._longest = self.n + row, chosen(batch, [row])

    def batch(self) -> Batch:
        """Return what was kept, in the order of the stream; the longest last if it was not."""
        assert self._longest is not None  # add
        place, longest = self._longest
        parts = [batch for places, batch in self._kept if len(places)]
        return joined(parts if place % self._step == 0 else [*parts, longest])


def _thinned(places: NDArray[np.int64], batch: Batch, step: int) -> tuple[NDArray[np.int64], Batch]:
    rows = np.flatnonzero(places % step == 0)
    return places[rows], chosen(batch, rows)
