"""Angular distances, matching and invariant masses of awkward records."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def delta_phi(first: Any, second: Any) -> Any:
    """Return the difference of two azimuths, in [-pi, pi)."""
    return (first - second + np.pi) % (2.0 * np.pi) - np.pi


def nearest(first: ak.Array, second: ak.Array, cone: float) -> ak.Array:
    """Return for each of `first` its nearest of `second`, None beyond `cone`.

    Two of `first` may share a partner.
    """
    one, two = ak.unzip(ak.cartesian([first, second], nested=True))
    away = np.hypot(one.eta - two.eta, delta_phi(one.phi, two.phi))
    index = ak.argmin(away, axis=2, keepdims=True)
    close = ak.fill_none(ak.min(away, axis=2) < cone, False)
    return ak.mask(ak.firsts(two[index], axis=2), close)


def found(matched: ak.Array) -> ak.Array:
    """Tell which of `nearest` have a partner."""
    return ~ak.is_none(matched, axis=1)


def four_momentum(objects: ak.Array) -> ak.Array:
    """Return records of px, py, pz, energy."""
    return ak.zip(
        {
            "px": objects.pt * np.cos(objects.phi),
            "py": objects.pt * np.sin(objects.phi),
            "pz": objects.pt * np.sinh(objects.eta),
            "energy": np.hypot(objects.pt * np.cosh(objects.eta), objects.mass),
        }
    )


def invariant_mass(*objects: ak.Array) -> ak.Array:
    """Return the mass of the sum of objects that stand at the same places."""
    momenta = [four_momentum(one) for one in objects]
    px, py, pz, energy = (sum(p[k] for p in momenta) for k in ("px", "py", "pz", "energy"))
    return np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0))


def flat(values: ak.Array) -> Array:
    """Return all entries that are not None, end to end."""
    return np.asarray(ak.to_numpy(ak.drop_none(ak.flatten(values, axis=None))))


def spread(per_event: Array, like: ak.Array) -> Array:
    """Return one number per object of `like`, that of its event, end to end."""
    return np.repeat(per_event, ak.to_numpy(ak.num(like)))
