"""Golden JSON: the certified luminosity blocks of collision data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.errors import DataError, shortened
from transferline.files import read_json

Keys = NDArray[np.uint64]


def _key(run: NDArray[np.uint32], lumi: NDArray[np.uint32]) -> Keys:
    return (run.astype(np.uint64) << np.uint64(32)) | lumi.astype(np.uint64)


def _number(value: Any) -> int:
    number = int(value)
    if not 0 <= number < 2**32:
        raise ValueError(f"{shortened(value, 40)} is no number of a run or block")
    return number


def _block(run: str, value: Any) -> int:
    if isinstance(value, bool | float | str):  # all of which `int` would take
        raise ValueError(
            f"run {shortened(run, 20)}: {shortened(value, 20)} is no number of a block"
        )
    return _number(value)


def _each_once(path: Path | str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the intervals of every run; a dict would keep those that stand last."""
    for run, n in Counter(name for name, _ in pairs).items():
        if n > 1:
            raise DataError(
                f"{path}: run {shortened(run, 20)} stands there {n} times; join its intervals."
            )
    return dict(pairs)


@dataclass(frozen=True)
class LumiMask:
    """Certified blocks as intervals of the number (run, luminosity block), sorted and disjoint."""

    first: Keys
    last: Keys

    @classmethod
    def read(cls, path: Path | str) -> LumiMask:
        """Read CMS's format, `{"run": [[first lumi, last lumi], ...], ...}`, ends included.

        Raises:
            DataError: the file cannot be read, has another shape, or names a run twice.
        """
        content = read_json(Path(path), partial(_each_once, path))
        try:
            rows = [
                (_number(run), _block(run, first), _block(run, last))
                for run, intervals in content.items()
                for first, last in intervals
            ]
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{path}: is not a golden JSON, {{run: [[first, last], ...]}} ({shortened(error)})."
            ) from error
        turned = [run for run, first, last in rows if first > last]
        if turned:
            raise DataError(f"{path}: run {turned[0]} has an interval that ends before it begins.")
        table = np.array(sorted(rows), dtype=np.uint32).reshape(-1, 3)
        first, last = _key(table[:, 0], table[:, 1]), _key(table[:, 0], table[:, 2])
        # Overlapping intervals would hide each other from the binary search.
        return cls(first, np.maximum.accumulate(last) if len(last) else last)

    def __call__(self, run: NDArray[np.uint32], lumi: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return which (run, luminosity block) are certified, shape `[n]`."""
        if len(self.first) == 0:
            return np.zeros(len(run), dtype=np.bool_)
        key = _key(run, lumi)
        place = np.searchsorted(self.first, key, side="right") - 1
        return (place >= 0) & (key <= self.last[np.maximum(place, 0)])
