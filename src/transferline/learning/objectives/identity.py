"""The identity of a particle as one class: its species and the sign of its charge."""

from __future__ import annotations

from torch import Tensor

from transferline.data.batch import Batch

KINDS = 32 * 3


def identity(batch: Batch) -> Tensor:
    """Number the kinds, such as negative charged hadron, `[n, p]` int64 below `KINDS`."""
    kinds = 3 * batch.columns["species"] + 1
    if "charge" in batch.columns:
        kinds = kinds + batch.columns["charge"].sign().long()
    return kinds
