"""Expected sensitivity of a binned score: discovery significance and limit on the signal strength.

`asimov_significance` is a formula; `fit` profiles the same likelihood with pyhf. They must agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from transferline.errors import ConfigError, NumericalError
from transferline.evaluation.bootstrap import REPLICAS, replica_weights
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.roc import Bools, Floats, Ints, check_inputs
from transferline.evaluation.tail import effective, unseen

_LEVEL = 0.05  # of the limit: one minus its confidence
_TRACE = 1e-6  # of a bin's background, where a replica of signed weights leaves none
_HIGHEST = 1000.0  # signal strength that is looked at, in units of the first guess at the limit


MISSING = "the fit of the expected sensitivity needs pyhf: pip install 'transferline[stats]'."


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
    bins: int = 20,
    least: float = 10.0,
    stratum: npt.ArrayLike | None = None,
) -> Binned:
    """Histogram scores in bins each of which holds half the background of the one below.

    The bin of the highest scores ends the halving where fewer than `least` effective background
    events, (sum w)^2 / sum w^2, would be left: a bin that simulation leaves empty would promise a
    sensitivity that nothing supports. A bin whose background is not positive or whose signal is
    negative, which signed weights can make, is joined with the one below.

    Args:
        scores: `[n]`, higher is more signal-like.
        target: `[n]`, 1 = signal, 0 = background.
        weight: `[n]`: events expected per simulated event.
        bins: at most so many.
        least: effective background events in a bin.
        stratum: `[n]` integers, the sample of each event. One of the background that is absent from
            a bin adds an event of its mean weight to the error there, see `tail.unseen`.

    Raises:
        DataError, NumericalError: as `transferline.evaluation.roc.check_inputs`.
    """
    s, is_signal, w = check_inputs(scores, target, weight)
    b_score, b_weight = s[~is_signal], w[~is_signal]
    sample = np.zeros(len(s), np.int64) if stratum is None else np.asarray(stratum)
    b_sample = sample[~is_signal]
    order = np.argsort(b_score, kind="stable")
    above = 1 - np.cumsum(b_weight[order]) / b_weight.sum()
    inner: list[float] = []
    for i in range(1, bins):
        edge = float(b_score[order][int(np.argmax(above <= 0.5**i))])
        passes = b_score >= edge
        if effective(b_weight[passes], _absent(b_weight, b_sample, passes)) < least:
            break
        # Trees of few events give many the same score: below the lowest there is no background.
        if edge > (inner[-1] if inner else b_score.min()):
            inner.append(edge)
    edges, place = _places(s, inner)

    def total(chosen: Bools, values: Floats) -> Floats:
        return np.bincount(place[chosen], values, len(edges) - 1).astype(np.float64)

    signal, background = total(is_signal, w[is_signal]), total(~is_signal, b_weight)
    while inner and (bad := (background <= 0) | (signal < 0)).any():
        # Joined with the bin below; the lowest with the one above.
        del inner[max(int(np.argmax(bad)) - 1, 0)]
        edges, place = _places(s, inner)
        signal, background = total(is_signal, w[is_signal]), total(~is_signal, b_weight)
    square = total(~is_signal, b_weight**2)
    b_place = place[~is_signal]
    square += [_absent(b_weight, b_sample, b_place == one) for one in range(len(square))]
    return Binned(signal, background, np.sqrt(square), edges)


def _places(scores: Floats, inner: list[float]) -> tuple[Floats, Ints]:
    """Return the edges of the bins, and which of them each score is in."""
    edges = np.array([-np.inf, *inner, np.inf])
    return edges, np.searchsorted(edges, scores, side="right") - 1


def _absent(weight: Floats, sample: Ints, passes: Bools) -> float:
    """What samples without an event that passes add to the sum of squared weights."""
    return float(np.sum(unseen(weight, sample, passes) ** 2))


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
    # The logarithm is of 1 + sb / (...), whose last part millions of background events make small.
    first = (s + b) * np.log1p(s * b / (b**2 + (s + b) * v))
    second = b**2 / v * np.log1p(v * s / (b * (b + v)))
    return float(np.sqrt(max(2 * np.sum(first - second), 0.0)))


def can_fit() -> bool:
    """Tell whether pyhf is there for `fit`."""
    return find_spec("pyhf") is not None


def expected(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    seed: int = 0,
    *,
    replicas: int = REPLICAS,
    stratum: npt.ArrayLike | None = None,
) -> dict[str, Measurement]:
    """Return `asimov_significance` and, where pyhf is there, `significance` and `limit`.

    Errors are those of the finite test set: a bootstrap of the formula in the same bins; the fit
    takes over its relative error.

    Args:
        scores: `[n]`, as for `binned`.
        target: `[n]`.
        weight: `[n]`, events expected.
        seed: of the bootstrap counts.
        replicas: number of bootstrap replicas.
        stratum: `[n]`, as for `binned`.

    Raises:
        DataError, NumericalError: as `binned` and `fit`.
    """
    found = binned(scores, target, weight, stratum=stratum)
    s, is_signal, w = check_inputs(scores, target, weight)
    place = np.searchsorted(found.edges, s, side="right") - 1
    drawn = [
        asimov_significance(replace(found, signal=signal, background=background))
        for other in replica_weights(is_signal, w, replicas, seed)
        for signal, background in [_sums(place, is_signal, other, found.background)]
    ]
    nominal, spread = asimov_significance(found), float(np.std(drawn, ddof=1))
    result = {"asimov_significance": Measurement(nominal, spread)}
    if can_fit():
        fitted, relative = fit(found), spread / nominal if nominal > 0 else 0.0
        result["significance"] = Measurement(fitted.significance, fitted.significance * relative)
        result["limit"] = Measurement(fitted.limit, fitted.limit * relative)
    return result


def _sums(
    place: npt.NDArray[np.intp], is_signal: Bools, weight: Floats, nominal: Floats
) -> tuple[Floats, Floats]:
    """Sums of weights of signal and background in each bin, none below a trace of the nominal."""
    both = [np.bincount(place[one], weight[one], len(nominal)) for one in (is_signal, ~is_signal)]
    return np.maximum(both[0], 0.0), np.maximum(both[1], _TRACE * nominal)


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
    r"""Profile the binned likelihood with pyhf.

    Each bin's background has a Poisson-constrained parameter of the size of its statistical
    error in simulation (`shapesys`). Test statistics q0 and q-tilde on Asimov data sets. The
    minimiser starts where the likelihood of such bins has its maximum, which is the root of a
    quadratic: of millions of expected events it would not find a signal of a few by itself.

    Raises:
        ConfigError: pyhf is not installed.
        NumericalError: no signal strength is excluded.
    """
    try:
        import pyhf  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(MISSING) from error
    if not found.signal.any():  # nothing to be seen, and nothing to be excluded
        return Sensitivity(0.0, math.inf, 0.0)
    return Sensitivity(
        significance=_significance(pyhf, found),
        limit=_limit(pyhf, found),
        asimov=asimov_significance(found),
    )


def _significance(pyhf: Any, found: Binned) -> float:
    return math.sqrt(max(_Asimov.of(pyhf, found, 1.0).distance(0.0), 0.0))


def _limit(pyhf: Any, found: Binned) -> float:
    r"""Return the signal strength whose expected CLs is 0.05.

    Without signal the median of CLb is one half, so that CLs = 0.05 where
    $\sqrt{\tilde q_\mu} = \Phi^{-1}(1 - 0.05 / 2) = 1.96$. The first guess is
    $1.96 \,\big(\sum_b s_b^2 / (b_b + \sigma_b^2)\big)^{-1/2}$, the limit of a Gaussian
    measurement; bins that expect less than one event have a higher one.
    """
    from scipy.optimize import brentq  # noqa: PLC0415
    from scipy.stats import norm  # noqa: PLC0415

    far = float(norm.isf(_LEVEL / 2))
    guess = far / math.sqrt(np.sum(found.signal**2 / (found.background + found.error**2)))
    nothing = _Asimov.of(pyhf, replace(found, signal=found.signal * guess), 0.0)

    def excess(strength: float) -> float:
        return math.sqrt(max(nothing.distance(strength), 0.0)) - far

    high = 1.0
    while excess(high) < 0:
        high *= 2
        if high > _HIGHEST:
            raise NumericalError("no signal strength is excluded at 95 % confidence.")
    low = high / 2
    while excess(low) > 0:  # it vanishes at no signal
        low /= 2
    return guess * float(brentq(excess, low, high, rtol=1e-3))


@dataclass(frozen=True)
class _Asimov:
    """The data set that a model expects, which its own parameters fit best."""

    pyhf: Any
    model: Any
    found: Binned
    truth: float
    data: Any
    best: float

    @classmethod
    def of(cls, pyhf: Any, found: Binned, strength: float) -> _Asimov:
        model = _model(pyhf, found)
        parameters = model.config.suggested_init()
        parameters[model.config.poi_index] = strength
        data = model.expected_data(parameters)
        best = float(pyhf.infer.mle.twice_nll(parameters, data, model)[0])
        return cls(pyhf, model, found, strength, data, best)

    def distance(self, strength: float) -> float:
        """Twice the log of the likelihood ratio of its own strength and another one."""
        start = self.model.config.suggested_init()
        start[self.model.config.poi_index] = strength
        start[self.model.config.par_slice("simulation")] = self._profiled(strength).tolist()
        _, fitted = self.pyhf.infer.mle.fixed_poi_fit(
            strength, self.data, self.model, init_pars=start, return_fitted_val=True
        )
        there = self.pyhf.infer.mle.twice_nll(start, self.data, self.model)[0]
        return min(float(fitted), float(there)) - self.best

    def _profiled(self, strength: float) -> Floats:
        r"""The factors $\gamma$ on the background of each bin that fit best at a strength.

        With n events seen, s and b expected and $\tau = (b / \sigma)^2$ in simulation,
        $n b / (\mu s + \gamma b) - b + \tau (1 / \gamma - 1) = 0$.
        """
        b = self.found.background
        s, seen = strength * self.found.signal, self.truth * self.found.signal + b
        tau = (b / self.found.error) ** 2
        linear = (b + tau) * s - (seen + tau) * b
        root = np.sqrt(linear**2 + 4 * (b + tau) * b * tau * s)
        found: Floats = (root - linear) / (2 * (b + tau) * b)
        return found


def _model(pyhf: Any, found: Binned) -> Any:
    strength = {"name": "mu", "type": "normfactor", "data": None}
    statistics = {"name": "simulation", "type": "shapesys", "data": found.error.tolist()}
    samples = [
        {"name": "signal", "data": found.signal.tolist(), "modifiers": [strength]},
        {"name": "background", "data": found.background.tolist(), "modifiers": [statistics]},
    ]
    highest = {"name": "mu", "inits": [1.0], "bounds": [[0.0, _HIGHEST]]}
    # Background may have to stand for all of the signal.
    most = 10.0 * (1.0 + float(np.max(found.signal / found.background)))
    factors = {"name": "simulation", "bounds": [[1e-10, most]] * len(found.signal)}
    return pyhf.Model(
        {"channels": [{"name": "score", "samples": samples}], "parameters": [highest, factors]},
        poi_name="mu",
        validate=False,  # it is built here; the check calls what jsonschema is about to drop
    )
