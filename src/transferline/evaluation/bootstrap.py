"""The Poisson bootstrap: every replica weights each test event by a Poisson(1) count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transferline.evaluation.roc import Bools, Floats

# A hundred replicas know an error to 7 %.
REPLICAS = 100


@dataclass(frozen=True)
class Replicas:
    """A metric on replicas of one test set, kept so that later runs can be compared in pairs.

    Two models scored on the same test set with the same seed saw the same Poisson counts, so the
    spread of the difference of their replicas is the error of their difference: what is common
    to both cancels, without a second look at the scores.

    Args:
        test_set: fingerprint of targets and weights in their order.
        seed: seed of the counts.
        values: metric -> one value per replica.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {
        "extra": "forbid",
        "ser_json_inf_nan": "strings",
    }

    test_set: str
    seed: int
    values: Mapping[str, tuple[float, ...]]

    def paired_with(self, other: Replicas) -> bool:
        """Tell whether both were drawn on the same test set with the same counts."""
        return (self.test_set, self.seed) == (other.test_set, other.seed)


def fingerprint(target: NDArray[np.generic], weight: Floats) -> str:
    """Return 16 hexadecimal digits that name a test set: targets and weights in their order."""
    digest = hashlib.sha256(np.ascontiguousarray(target).tobytes())
    digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:16]


def replica_weights(is_signal: Bools, weight: Floats, replicas: int, seed: int) -> Iterator[Floats]:
    """Yield `replicas` arrays `[n]`: the weights times Poisson(1) counts.

    The classes are strata: each is normalised to its own sum by the efficiencies that follow, so
    a fluctuation in the number of events of a class is no error of the curve. The counts depend
    on the seed and the test set only, never on the scores.
    Both classes need a positive sum of weights. Replicas in which one has none are drawn again.
    """
    rng = np.random.default_rng(seed)
    for _ in range(replicas):
        yield _one_replica(rng, is_signal, weight)


def _one_replica(rng: np.random.Generator, is_signal: Bools, weight: Floats) -> Floats:
    # A draw without a positive sum in a class has no efficiencies. The mean sum is positive, so
    # a good draw comes with a probability of order one, even for a single event per class.
    while True:
        drawn = weight * rng.poisson(1.0, weight.size)
        signal = float(drawn[is_signal].sum())
        if signal > 0.0 and float(drawn.sum()) - signal > 0.0:
            return drawn
