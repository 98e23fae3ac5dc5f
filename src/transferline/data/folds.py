"""Folds for cross-fitting: which model may score which event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transferline.data.events import identity_hash, unit_interval

FOLD_SALT = 0x464F4C44
"""Other than that of the test and validation splits (0), so that folds cut across those."""


def fold_of(identity: NDArray[np.void], folds: int, salt: int = FOLD_SALT) -> NDArray[np.int64]:
    r"""Return the fold of every event, `[n]`, each in 0 .. `folds` - 1.

    $\lfloor K\,u \rfloor$ with $u \in [0, 1)$ a salted hash of (run, lumi, event): everything
    that is made of one event falls into one fold, whatever file or row it stands in.

    >>> from transferline.data.events import ID_DTYPE
    >>> int(fold_of(np.array([(1, 2, 3)], dtype=ID_DTYPE), 1)[0])
    0
    """
    return (unit_interval(identity_hash(identity, salt)) * folds).astype(np.int64)


@dataclass(frozen=True)
class Fold:
    """Fold `number` of `of`: the events that a model must not have seen."""

    number: int
    of: int
    salt: int = FOLD_SALT

    def holds(self, identity: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return which events are in this fold, `[n]`."""
        held: NDArray[np.bool_] = fold_of(identity, self.of, self.salt) == self.number
        return held

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"fold-{self.number}"

    def __str__(self) -> str:
        return f"fold {self.number} of {self.of}"
