"""What every reader promises."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np

from transferline.data.events import ID_DTYPE, Events
from transferline.data.readers.base import Reader
from transferline.errors import DataError
from transferline.testing.expectation import expect

_BEAM = 1e5  # GeV; no collider object has more
_RANGES: dict[str, tuple[float, float]] = {
    "pt": (0.0, _BEAM),
    "eta": (-20.0, 20.0),
    "phi": (-np.pi - 1e-3, np.pi + 1e-3),
    "mass": (-1.0, _BEAM),  # rounding to few bits can leave jets slightly below zero
    "charge": (-1.0, 1.0),
}


def check_reader(reader: Reader) -> None:
    """Check one reader on the (small) files it names.

    What it declares it delivers; momenta are in GeV and angles in rad; the result neither
    changes from one reading to the next nor with the size of chunks; a truncated file and a
    missing one are named in the error.

    Raises:
        ConformanceError: names the broken promise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # missing triggers are told to the user, not to us
        whole = _join(list(reader.chunks()))
        _check_columns(reader, whole)
        _check_units(whole)
        _check_same(whole, _join(list(reader.chunks())), "two readings give the same events")
        size = len(whole) // 3 + 1
        small = list(reader.chunks(chunk_size=size))
        expect(all(len(chunk) <= size for chunk in small), "no chunk is longer than chunk_size")
        _check_same(whole, _join(small), "the result does not depend on chunk_size")
    _check_bad_file(reader, _truncate)
    _check_bad_file(reader, _remove)


def _join(chunks: list[Events]) -> Events:
    expect(bool(chunks), "the files hold at least one event")
    return Events(
        particles={
            name: ak.concatenate([chunk.particles[name] for chunk in chunks])
            for name in chunks[0].particles
        },
        weight=np.concatenate([chunk.weight for chunk in chunks]),
        id=np.concatenate([chunk.id for chunk in chunks]),
        context={
            name: np.concatenate([chunk.context[name] for chunk in chunks])
            for name in chunks[0].context
        },
        labels={
            name: np.concatenate([chunk.labels[name] for chunk in chunks])
            for name in chunks[0].labels
        },
    )


def _check_columns(reader: Reader, events: Events) -> None:
    n = len(events)
    for collection, names in reader.columns().items():
        found = set(events.context)
        if collection != "context":
            expect(collection in events.particles, f"the declared collection {collection} exists")
            found = set(ak.fields(events.particles[collection]))
        for name in names:
            expect(name in found, f"the declared column {collection}.{name} exists")
    expect(events.id.dtype == ID_DTYPE, "id has ID_DTYPE")
    expect(events.weight.shape == (n,), "there is one weight per event")
    expect(bool(np.isfinite(events.weight).all()), "weights are finite")
    for name, array in events.particles.items():
        expect(len(array) == n, f"{name} has one list per event")


def _check_units(events: Events) -> None:
    for collection, array in events.particles.items():
        for name in set(_RANGES).intersection(ak.fields(array)):
            values = ak.to_numpy(ak.flatten(array[name], axis=None))
            low, high = _RANGES[name]
            expect(bool(np.isfinite(values).all()), f"{collection}.{name} is finite")
            inside = bool(((values >= low) & (values <= high)).all())
            expect(inside, f"{collection}.{name} lies in [{low:g}, {high:g}] (GeV, rad)")


def _check_same(one: Events, other: Events, promise: str) -> None:
    same = np.array_equal(one.id, other.id) and np.array_equal(one.weight, other.weight)
    for name, array in one.particles.items():
        same = same and bool(ak.array_equal(array, other.particles[name], equal_nan=True))
    for name, values in one.context.items():
        same = same and np.array_equal(values, other.context[name])
    expect(same, promise)


def _check_bad_file(reader: Reader, damage: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        original = Path(reader.paths()[0])
        copy = Path(folder) / original.name
        (shutil.copytree if original.is_dir() else shutil.copy)(original, copy)
        damage(copy)
        bad = reader.model_copy(update={"files": [str(copy)]})
        try:
            for _ in bad.chunks():
                continue
        except DataError as error:
            expect(copy.name in str(error), f"the error names the bad file: {error}")
            return
        expect(False, f"a file that was hit by {damage.__name__.strip('_')} is a DataError")


def _truncate(path: Path) -> None:
    """Cut off the second half, of the largest file where `path` is a directory."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        path = max(files, key=lambda file: file.stat().st_size)
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size // 2)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
