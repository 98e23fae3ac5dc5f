"""Duplicates: events that are in a sample more than once, among files whose numbers can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transferline.data.origins import Origin
from transferline.data.parts import Ledger
from transferline.data.readers.base import Source
from transferline.data.spool import Spool
from transferline.files import wait_for_files

Hashes = NDArray[np.uint64]

_NUMBERED_BY_EVENT = frozenset({"collisions", "generated"})


def count_duplicates(
    place: Path, sources: Sequence[Source], ledgers: Sequence[Ledger], *, of_jets: bool
) -> int:
    """Count the events whose identity another one has already.

    Args:
        place: directory of the shards.
        sources: the input files.
        ledgers: of all shards.
        of_jets: rows are jets, which have the identity of their event. All jets of an event are
            in one file, so that an event is there twice if two files have it.
    """
    shards: dict[str, list[Path]] = {}
    for ledger in ledgers:
        shards.setdefault(ledger.unit["path"], []).append(place / ledger.name)
    groups: dict[Origin, list[list[Path]]] = {}
    for source in sources:
        origin = comparable(Origin.of_file(source.to_dict()))
        groups.setdefault(origin, []).append(shards.get(source.path, []))
    total = 0
    for origin, files in groups.items():
        once = of_jets and not origin.content
        if once and origin.kind not in _NUMBERED_BY_EVENT:
            continue  # numbers may begin anew in every file
        total += _repeated(place, files, once_per_file=once)
    return total


def comparable(origin: Origin) -> Origin:
    """Return what files have in common of which equal numbers are equal events.

    Two names may be one file, and a longer generated sample begins with the shorter one.
    """
    return replace(origin, file=None, n=None)


def _repeated(place: Path, files: Sequence[Sequence[Path]], *, once_per_file: bool) -> int:
    wait_for_files(path for paths in files for path in paths)
    with Spool(place) as spool:
        for paths in files:
            for hashes in _of_file(paths, once_per_file):
                spool.add("hash", hashes)
        known = spool.column("hash", np.uint64)
        known.sort()
        return int(np.count_nonzero(known[1:] == known[:-1]))


def _of_file(paths: Sequence[Path], once: bool) -> Iterator[Hashes]:
    """Yield the event hashes of the shards of one file; each only once if asked so."""
    if once and paths:
        yield np.unique(np.concatenate([_hashes(path) for path in paths]))
    else:
        yield from map(_hashes, paths)


def _hashes(path: Path) -> Hashes:
    """Return the event hashes of one shard file."""
    with pa.memory_map(str(path), "r") as source, pa.ipc.open_file(source) as file:
        # A copy: the map is closed on return.
        hashes: Hashes = np.array(file.read_all().column("hash").to_numpy())
    return hashes
