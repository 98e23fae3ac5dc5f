"""Dropout whose mask is a function of a key and of each element's place: nothing to keep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch


class Dropout(NamedTuple):
    """What a kernel needs to know.

    Attributes:
        low: one half of the key.
        high: the other half.
        limit: elements whose random number in 0 .. 2^32 - 1 is below it become zero.
        scale: the others are multiplied by this.
    """

    low: np.uint32
    high: np.uint32
    limit: np.uint32
    scale: np.float32

    @classmethod
    def drawn(cls, probability: float, training: bool) -> Dropout:
        """Draw a key from torch's generator: what is seeded there can be repeated here."""
        if not training or probability == 0:
            return NO_DROPOUT
        low, high = torch.randint(2**32, (2,)).tolist()
        limit = np.uint32(round(probability * 2**32))
        return cls(np.uint32(low), np.uint32(high), limit, np.float32(1 / (1 - probability)))


NO_DROPOUT = Dropout(np.uint32(0), np.uint32(0), np.uint32(0), np.float32(1))
