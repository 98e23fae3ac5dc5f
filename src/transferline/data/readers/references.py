"""Resolving references: the place of a particle from its event and its number there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def places_of(event: Ints, number: Ints, in_event: Ints, numbers: Ints) -> Ints:
    """Return where (event, number) is among (in_event, numbers), `[k]`; -1 where it is not.

    Args:
        event: of the references, `[k]`.
        number: of the references, `[k]`, of 32 bits.
        in_event: the events of the particles, `[p]`, in any order.
        numbers: of the particles, `[p]`, of 32 bits.

    >>> two = np.array([0, 1])
    >>> places_of(two, np.array([7, 7]), np.array([1, 0]), np.array([7, 7])).tolist()
    [1, 0]
    """
    if not len(numbers):
        return np.full(len(number), -1, np.int64)
    keys, wanted = _key(in_event, numbers), _key(event, number)
    order = np.argsort(keys, kind="stable")
    place = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
    return np.where(keys[place] == wanted, place, -1)


def _key(event: Ints, number: Ints) -> Ints:
    # References are written as signed numbers, the particles' own as unsigned ones.
    return (event << 32) | (number & 0xFFFFFFFF)
