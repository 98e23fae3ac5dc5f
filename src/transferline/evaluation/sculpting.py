"""How a cut on a score shapes the mass of the background that passes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.evaluation.measurement import Measurement
from transferline.evaluation.roc import Floats

PASSING = (1.0, 0.5, 0.1, 0.02)
"""Background efficiencies between which the slices of the score lie, from all of it on."""

HEADLINE = 10
"""Per cent of the background that pass the cut of the headline number."""

_BINS = 24
_RANGE = (0.005, 0.995)  # quantiles of the background's mass; what is outside joins the outer bins
_REPLICAS = 50
_SHUFFLES = 20


def divergence(one: Floats, other: Floats) -> float:
    r"""Return the Jensen-Shannon divergence of two histograms in bits, from 0 (equal) to 1.

    $D = \tfrac12 \sum_b \left[ p_b \log_2 \frac{2 p_b}{p_b + q_b}
    + q_b \log_2 \frac{2 q_b}{p_b + q_b} \right]$, p and q normalised; bins that signed weights
    make negative count as empty.

    >>> divergence(np.array([1.0, 0.0]), np.array([0.0, 2.0]))
    1.0
    >>> divergence(np.array([1.0, 3.0]), np.array([2.0, 6.0]))
    0.0
    """
    p, q = (np.maximum(h, 0.0) / np.maximum(h, 0.0).sum() for h in (one, other))
    middle = (p + q) / 2

    def relative(h: Floats) -> float:
        there = h > 0
        return float(np.sum(h[there] * np.log2(h[there] / middle[there])))

    return (relative(p) + relative(q)) / 2


class Sculpting:
    """The mass of background events in slices of their score.

    Args:
        scores: `[n]` of background events, higher is more signal-like.
        mass: `[n]` in GeV.
        weight: `[n]`, with a positive sum.
    """

    def __init__(self, scores: Floats, mass: Floats, weight: Floats) -> None:
        self._weight = weight
        # Events of one score, as trees of few events give them, stand sample by sample, and so by
        # mass: their order would be a cut on it.
        order = np.lexsort((np.random.default_rng(0).random(len(scores)), -scores))
        self._passing = self._above(order)
        low, high = np.quantile(mass, _RANGE)
        self.edges = np.geomspace(max(low, 1.0), max(high, 1.001 * max(low, 1.0)), _BINS + 1)
        inside = np.clip(mass, self.edges[0], self.edges[-1])
        self._bin = np.clip(np.searchsorted(self.edges, inside, "right") - 1, 0, _BINS - 1)

    def _above(self, order: NDArray[np.intp]) -> Floats:
        """Share of the background's weight that stands no later than each event, `[n]`."""
        passing = np.empty(len(order))
        passing[order] = np.cumsum(self._weight[order]) / self._weight.sum()
        return passing

    def measurement(self, seed: int = 0) -> Measurement:
        """Return the divergence between the background that passes the headline cut and the rest.

        Its error is that of a Poisson bootstrap over the events, the cut standing still. Not a
        number where no event passes, as where the first alone has more than the tenth of the
        weight. Few events differ by chance, too: see `floor`.
        """
        cut = self._passing <= HEADLINE / 100
        rng = np.random.default_rng(seed)
        counts = (rng.poisson(1.0, len(cut)) for _ in range(_REPLICAS))
        drawn = _finite(self._divergence(cut, self._weight * count) for count in counts)
        error = float(np.std(drawn, ddof=1)) if len(drawn) > 1 else math.inf
        return Measurement(self._divergence(cut, self._weight), error)

    def floor(self, seed: int = 0) -> float:
        """Return the mean divergence of random cuts: what so few events show without any cause.

        They let the same share of the weight pass, whatever number of events that is.
        """
        rng = np.random.default_rng(seed)
        shuffled = (self._above(rng.permutation(len(self._weight))) for _ in range(_SHUFFLES))
        found = (self._divergence(one <= HEADLINE / 100, self._weight) for one in shuffled)
        known = _finite(found)
        return float(np.mean(known)) if known else math.nan

    def slices(self) -> Iterator[dict[str, Any]]:
        """Yield, for each slice, its share of the background and the histogram of the mass."""
        # Signed weights, or rounding, lead a running share out of the range of the slices.
        passing = np.clip(self._passing, np.finfo(np.float64).tiny, 1.0)
        for high, low in zip(PASSING, (*PASSING[1:], 0.0), strict=True):
            chosen = (passing > low) & (passing <= high)
            squares = self._histogram(chosen, self._weight**2)
            yield {
                "passing": [low, high],
                "sum": _rounded(self._histogram(chosen, self._weight)),
                "error": _rounded(np.sqrt(squares)),
            }

    def details(self) -> dict[str, Any]:
        """Return everything that a figure needs, as JSON."""
        return {
            "edges": _rounded(self.edges),
            "slices": list(self.slices()),
            "floor": value if math.isfinite(value := self.floor()) else None,
        }

    def _divergence(self, cut: np.ndarray[Any, Any], weight: Floats) -> float:
        parts = [self._histogram(part, weight) for part in (cut, ~cut)]
        if min(part.sum() for part in parts) <= 0:
            return math.nan  # too few events for a slice
        return divergence(*parts)

    def _histogram(self, chosen: np.ndarray[Any, Any], weight: Floats) -> Floats:
        return np.bincount(self._bin[chosen], weight[chosen], _BINS).astype(np.float64)


def _finite(values: Iterable[float]) -> list[float]:
    """Those of cuts that something passes."""
    return [value for value in values if math.isfinite(value)]


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
