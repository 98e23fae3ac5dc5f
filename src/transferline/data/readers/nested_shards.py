"""Shards of events of jets of constituents, gathered as `Nested`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from transferline.data.batch import Batch
from transferline.data.nested import Nested
from transferline.data.readers.shard_file import Piece
from transferline.data.readers.shards import ShardSet, padded, rounded
from transferline.errors import DataError

Rows = NDArray[np.int64]


class NestedShardSet(ShardSet):
    """Directories of events of jets as one table; `columns` are those of the jets.

    Attributes:
        constituents: columns of the constituents, the first four are pt, eta, phi, mass.
    """

    def _check_columns(self) -> None:
        """Raise a DataError if a directory does not hold events of jets, or others."""
        for path, card in zip(self.paths, self.cards, strict=True):
            if not card.constituents:
                raise DataError(
                    f"{path}: holds no events of jets of constituents. Prepare it with a selection "
                    "of `kind: jet_events`, such as `jet_events`."
                )
        super()._check_columns()
        self.constituents = list(self.cards[0].constituents)
        for path, card in zip(self.paths, self.cards, strict=True):
            if card.constituents != self.constituents:
                raise DataError(
                    f"{path}: has the constituent columns {card.constituents}, "
                    f"but {self.paths[0]} has {self.constituents}."
                )

    def __reduce__(self) -> tuple[type[ShardSet], tuple[list[Path]]]:
        """Pickle as the paths alone."""
        return type(self), (self.paths,)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Constituents of the longest jet of every event, `[n]`; 0 without jets.

        Whole events are sorted by it, so that jets of similar length come together.
        """
        found = [_longest(*_bounds(piece)[:2]) for piece in self._pieces]
        return np.concatenate([np.empty(0, np.int32), *found])

    def width_of(self, rows: Rows) -> int:
        """Return the constituent places of a batch with the longest of these events."""
        return rounded(int(self.lengths[rows].max(initial=0)))

    def bytes_of_event(self, width: int) -> int:
        """Return what `gather` takes for an event whose jets have `width` places, at most."""
        jets = int(self.n_particles.max(initial=0))
        constituent = 4 * len(self.constituents) + 1 + 8 * ("species" in self.constituents)
        return super().bytes_of_event(rounded(jets)) + jets * (width * constituent + 48)

    def gather(self, rows: Rows, width: int | None = None) -> Nested:  # type: ignore[override]  # jets, no sets
        """Return the events `rows`, their jets end to end.

        Args:
            rows: `[b]` global row numbers, in any order.
            width: number of constituent places; by default the longest jet rounded up to a
                multiple of 8.

        Raises:
            ValueError: `width` is too small for the longest of these jets.
        """
        rows = np.asarray(rows, dtype=np.int64)
        places = self.width_of(rows) if width is None else width
        if places < (longest := int(self.lengths[rows].max(initial=0))):
            raise ValueError(f"width {width} is too small for a jet of {longest} constituents")
        events = super().gather(rows)
        counts = self.n_particles[rows].astype(np.int64)
        starts = np.cumsum(counts) - counts
        parts = []
        for piece, local, place in self._found(rows)[1]:
            bounds, offsets, values = _bounds(piece)
            first, n = bounds[local].astype(np.int64), counts[place]
            parts.append((offsets, values, _ranges(first, n), _ranges(starts[place], n)))
        parent = torch.from_numpy(np.repeat(np.arange(len(rows)), counts))
        return Nested(
            sets=Batch(
                **padded(parts, len(parent), places, self.constituents),
                weight=events.weight[parent],
                id=events.id[parent],
            ),
            parent=parent,
            events=events,
        )


def _bounds(
    piece: Piece,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Bounds of the events among the jets, of the jets among the constituents, and these."""
    assert piece.set_offsets is not None  # the cards name constituents, so the files have them
    assert piece.set_values is not None
    return piece.offsets, piece.set_offsets, piece.set_values


def _longest(bounds: NDArray[np.int32], offsets: NDArray[np.int32]) -> NDArray[np.int32]:
    longest = np.zeros(len(bounds) - 1, np.int32)
    some = np.flatnonzero(np.diff(bounds))
    if len(some):
        jets = np.diff(offsets[bounds[0] : bounds[-1] + 1])
        longest[some] = np.maximum.reduceat(jets, bounds[some] - bounds[0])
    return longest


def _ranges(first: NDArray[Any], counts: Rows) -> Rows:
    """Return `first[i], ..., first[i] + counts[i] - 1` for every i, end to end.

    >>> _ranges(np.array([5, 0]), np.array([2, 1])).tolist()
    [5, 6, 0]
    """
    before = np.cumsum(counts) - counts
    found: Rows = np.repeat(first - before, counts) + np.arange(counts.sum())
    return found
