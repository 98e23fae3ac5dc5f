"""The one way this package compiles loops over particles: numba, cached on disk, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile `function` with numba in nopython mode and keep the machine code on disk."""
    return cast(Function, numba.njit(cache=True)(function))


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
