"""Expected sensitivity of a binned score: discovery significance and limit on the signal strength.

`asimov_significance` is a formula; `fit` profiles the same likelihood with pyhf. They must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transferline.errors import ConfigError, DataError
from transferline.evaluation.roc import Bools, Floats, check_inputs

_HIGHEST = 1e4  # signal strengths that a limit is looked for in, in units of its first guess


@dataclass(frozen=True)
class Binned:
    """Expected events in each bin of a score, `[b]`.

    Attributes:
        signal, background: sums of weights.
        error: of the background, from its finite simulation, sqrt(sum w^2).
        edges: `[b + 1]` of the score, rising.
    """

    signal: Floats
    background: Floats
    error: Floats
    edges: Floats


def binned(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    bins: int = 8,
    least: float = 10.0,
) -> Binned:
    """Histogram scores in bins each of which holds half the background of the one below.

    The bin of the highest scores ends the halving where fewer than `least` effective background
    events, (sum w)^2 / sum w^2, would be left: a bin that simulation leaves empty would promise a
    sensitivity that nothing supports.

    Args:
        scores: `[n]`, higher is more signal-like.
        target: `[n]`, 1 = signal, 0 = background.
        weight: `[n]`: events expected per simulated event.
        bins: at most so many.
        least: effective background events in a bin.

    Raises:
        DataError, NumericalError: as `transferline.evaluation.roc.check_inputs`; or a bin's
            background is not positive, which signed weights can make.
    """
    s, is_signal, w = check_inputs(scores, target, weight)
    b_score, b_weight = s[~is_signal], w[~is_signal]
    order = np.argsort(b_score, kind="stable")
    above = 1 - np.cumsum(b_weight[order]) / b_weight.sum()
    inner: list[float] = []
    for i in range(1, bins):
        edge = float(b_score[order][int(np.argmax(above <= 0.5**i))])
        tail = b_weight[b_score >= edge]
        size = tail.sum() ** 2 / np.sum(tail**2) if len(tail) else 0.0
        if size < least:
            break
        if not inner or edge > inner[-1]:
            inner.append(edge)
    edges = np.array([-np.inf, *inner, np.inf])
    place = np.searchsorted(edges, s, side="right") - 1

    def total(chosen: Bools, values: Floats) -> Floats:
        return np.bincount(place[chosen], values, len(edges) - 1).astype(np.float64)

    signal = total(is_signal, w[is_signal])
    background, square = total(~is_signal, b_weight), total(~is_signal, b_weight**2)
    if (background <= 0).any():
        raise DataError("a bin of the score has no positive background; take fewer bins.")
    return Binned(np.maximum(signal, 0.0), background, np.sqrt(square), edges)


def asimov_significance(found: Binned) -> float:
    r"""Return the median discovery significance, bins in quadrature (arXiv:1007.1727, and Cowan).

    $Z^2 = 2 \left[ (s+b) \ln \frac{(s+b)(b+\sigma^2)}{b^2 + (s+b)\sigma^2}
    - \frac{b^2}{\sigma^2} \ln \left(1 + \frac{\sigma^2 s}{b(b+\sigma^2)}\right) \right]$
    with $\sigma$ the error of b; each bin has a nuisance parameter of its own.

    >>> one = np.ones(1)
    >>> round(asimov_significance(Binned(10 * one, 100 * one, 1e-3 * one, np.zeros(2))), 3)
    0.984
    """
    s, b, v = found.signal, found.background, found.error**2
    first = (s + b) * np.log((s + b) * (b + v) / (b**2 + (s + b) * v))
    second = b**2 / v * np.log1p(v * s / (b * (b + v)))
    return float(np.sqrt(max(2 * np.sum(first - second), 0.0)))


@dataclass(frozen=True)
class Sensitivity:
    """What an analysis may expect.

    Attributes:
        significance: median of a discovery if the signal is there with strength one.
        limit: median upper limit at 95 % CLs on the strength if it is not.
        asimov: the significance by the formula.
    """

    significance: float
    limit: float
    asimov: float


def fit(found: Binned) -> Sensitivity:
    """Profile the binned likelihood with pyhf.

    Each bin's background has a Poisson-constrained parameter of the size of its statistical
    error in simulation (`shapesys`). Test statistics q0 and q-tilde on Asimov data sets.

    Raises:
        ConfigError: pyhf is not installed.
    """
    try:
        import pyhf  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "the expected sensitivity needs pyhf: pip install 'transferline[stats]'."
        ) from error
    model = _model(pyhf, found)
    tail = float(
        pyhf.infer.hypotest(0.0, _asimov(model, 1.0), model, test_stat="q0")  # no signal
    )
    guess = 2.0 / max(asimov_significance(found), 1e-3)
    limit, _ = pyhf.infer.intervals.upper_limits.toms748_scan(
        _asimov(model, 0.0), model, guess * 1e-3, min(guess * 20, _HIGHEST), rtol=1e-4
    )
    return Sensitivity(_gaussian(tail), float(limit), asimov_significance(found))


def _model(pyhf: Any, found: Binned) -> Any:
    strength = {"name": "mu", "type": "normfactor", "data": None}
    statistics = {"name": "simulation", "type": "shapesys", "data": found.error.tolist()}
    samples = [
        {"name": "signal", "data": found.signal.tolist(), "modifiers": [strength]},
        {"name": "background", "data": found.background.tolist(), "modifiers": [statistics]},
    ]
    highest = {"name": "mu", "inits": [1.0], "bounds": [[0.0, _HIGHEST]]}
    return pyhf.Model(
        {"channels": [{"name": "score", "samples": samples}], "parameters": [highest]},
        poi_name="mu",
        validate=False,  # it is built here; the check calls what jsonschema is about to drop
    )


def _asimov(model: Any, strength: float) -> Any:
    parameters = model.config.suggested_init()
    parameters[model.config.poi_index] = strength
    return model.expected_data(parameters)


def _gaussian(tail: float) -> float:
    """Standard deviations of a one-sided tail probability."""
    from scipy.stats import norm  # noqa: PLC0415

    return float(norm.isf(tail))
