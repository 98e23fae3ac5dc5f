"""What compiled loops over particles share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transferline.compilation import compiled

__all__ = ["Array", "compiled", "log_normal", "wrap_phi"]

Array = npt.NDArray[Any]


@compiled
def wrap_phi(phi: float) -> float:
    """Bring an azimuthal angle in rad into [-pi, pi)."""
    return (phi + np.pi) % (2.0 * np.pi) - np.pi


@compiled
def log_normal(mean: float, sigma: float, rng: np.random.Generator) -> float:
    """Draw a positive number whose distribution has this mean and standard deviation.

    Unlike a Gaussian it never returns a negative energy; both agree for sigma << mean.
    """
    if mean <= 0.0:
        return 0.0
    width = np.sqrt(np.log(1.0 + (sigma / mean) ** 2))
    return float(mean * np.exp(width * rng.standard_normal() - 0.5 * width * width))
