"""Background rejection where few events, or none, are left to tell it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.evaluation.roc import Bools, Floats, Ints

FEWEST = 3.0
"""Effective background events below which a limit is quoted: an estimate from two is off by
70 % as often as not, and its error, itself made of two events, does not say so."""

# Poisson means that give at most 0, 1, 2, 3 events in 5 % of all cases: the 95 % upper limits of
# the review "Statistics" of the Particle Data Group.
_MOST = (3.00, 4.74, 6.30, 7.75)
_ONE_SIDED = 1.645  # standard deviations that a Gaussian exceeds in 5 % of all cases

_NONE: Floats = np.zeros(0)


def is_rejection(metric: str) -> bool:
    """Tell whether a metric is one over a background efficiency, by its name in the Records.

    >>> is_rejection("unweighted_rejection_90"), is_rejection("rejection_50_Hbb")
    (True, True)
    >>> is_rejection("auc")
    False
    """
    return metric.removeprefix("unweighted_").startswith("rejection_")


def rejection(
    background: float, drawn: Floats, passing: Floats, every: Floats, absent: Floats = _NONE
) -> Measurement:
    r"""Return $1 / \epsilon_B$ with its error, or a lower limit.

    The error is the spread of the replicas to first order in $\epsilon_B$: a replica in which no
    event passes has no finite rejection. Of fewer than three effective events it is a limit, see
    `most_passing`.

    Args:
        background: efficiency of the background.
        drawn: `[replicas]` the same on the replicas of the test set.
        passing: weights of the background events that pass.
        every: weights of all background events.
        absent: mean weights of the samples of which no event passes, see `unseen`.
    """
    square = float(np.sum(absent**2))
    if background <= 0.0 or effective(passing, square) < FEWEST:
        limit = float(np.sum(every)) / most_passing(passing, every, absent)
        if background > 0.0:
            limit = min(limit, 1.0 / background)
        return Measurement(max(limit, 1.0), math.inf, "at least")
    value = 1.0 / background
    unknown = math.sqrt(square) / float(np.sum(every))
    return Measurement(value, value**2 * math.hypot(float(np.std(drawn, ddof=1)), unknown))


def most_passing(passing: Floats, every: Floats, absent: Floats) -> float:
    r"""Return an upper limit at 95 % on the expected sum of weights that pass.

    Of n effective events with the weight $\bar w = \sum w^2 / \sum w$ it is $\mu(n) \, \bar w$,
    $\mu$ the Poisson mean that would give as few or fewer in 5 % of all cases (3.0 where none
    passes): a Poisson distribution scaled to the weights' mean and variance (G. Bohm and G. Zech,
    arXiv:1309.1287). Samples of which no event passes add three of their heaviest events; where
    there are none, and nothing passes, the weight is that of all events.
    """
    count = effective(passing)
    if count == 0.0:
        seen = 0.0 if absent.size else _MOST[0] * float(np.sum(every**2) / np.sum(every))
    elif count > len(_MOST) - 1:
        seen = float(np.sum(passing)) + _ONE_SIDED * math.sqrt(float(np.sum(passing**2)))
    else:
        total = float(np.sum(passing))  # negative weights may outweigh the others
        total = total if total > 0.0 else float(np.sum(np.abs(passing)))
        weight = float(np.sum(passing**2)) / total
        seen = _MOST[math.ceil(count)] * weight
    return seen + _MOST[0] * float(np.max(absent, initial=0.0))


def over_seeds(found: Sequence[Measurement]) -> Measurement:
    r"""Return the rejection of several runs on one test set: that of their mean efficiency.

    The error is $\sqrt{s^2 / k + \bar\sigma^2}$ with s the spread over the k seeds and
    $\bar\sigma$ the mean error of the test set, which is common to all; a single seed leaves the
    spread out. A limit among them makes it a limit, of the mean of the most that each lets pass at
    95 %; it is infinite if no background passes.
    """
    value = np.array([one.value for one in found])
    passing = float(np.mean(1.0 / value))
    if passing == 0.0:
        return Measurement(math.inf, math.inf)
    whole = 1.0 / passing
    if any(one.bound for one in found):
        most = [1.0 / one.value + _ONE_SIDED * _passing_error(one) for one in found]
        return Measurement(1.0 / float(np.mean(most)), math.inf, "at least")
    test = float(np.mean([one.error / one.value**2 for one in found if np.isfinite(one.value)]))
    seeds = float(np.std(1.0 / value, ddof=1)) / math.sqrt(len(value)) if len(value) > 1 else 0.0
    return Measurement(whole, whole**2 * math.hypot(seeds, test))


def _passing_error(one: Measurement) -> float:
    """Error of the efficiency of an estimate; a limit holds its own."""
    return one.error / one.value**2 if math.isfinite(one.error) else 0.0


def unseen(weight: Floats, stratum: Ints, passes: Bools) -> Floats:
    """Return the mean weight of every stratum of which no event passes.

    A sample of large weights, such as multijets of low momentum, may leave no event above a
    threshold. That it is absent is no knowledge: one event more or less would be as likely.

    >>> unseen(np.array([4.0, 4.0, 1.0]), np.array([0, 0, 1]), np.array([False, False, True]))
    array([4.])
    """
    absent = np.setdiff1d(np.unique(stratum), np.unique(stratum[passes]))
    return np.array([float(np.mean(weight[stratum == one])) for one in absent])


def effective(weight: Floats, unseen: float = 0.0) -> float:
    r"""Return $(\sum w)^2 / \sum w^2$, the number of events of weight one that know as much.

    `unseen` adds to the sum of squares.

    >>> effective(np.array([2.0, 2.0, 2.0]))
    3.0
    """
    squares = float(np.sum(weight**2)) + unseen
    return float(np.sum(weight)) ** 2 / squares if squares > 0.0 else 0.0
