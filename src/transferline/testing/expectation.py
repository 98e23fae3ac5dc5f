"""How a conformance check says which promise is broken."""

from __future__ import annotations

import torch
from torch import Tensor


class ConformanceError(AssertionError):
    """A plug-in breaks a promise of its family."""


def expect(holds: bool | Tensor, promise: str) -> None:
    """Raise ConformanceError with `promise` unless it holds."""
    if not bool(holds):
        raise ConformanceError(promise)


def expect_close(found: Tensor, wanted: Tensor, promise: str, tolerance: float = 1e-4) -> None:
    """Raise ConformanceError unless both are equal to `tolerance` times the largest value."""
    difference = float((found - wanted).abs().max())
    allowed = tolerance * max(1.0, float(wanted.abs().max()))
    expect(difference <= allowed, f"{promise} (largest difference {difference:.2g})")


def expect_equal(found: Tensor, wanted: Tensor, promise: str) -> None:
    """Raise ConformanceError unless both are equal bit for bit."""
    expect(torch.equal(found, wanted), promise)
