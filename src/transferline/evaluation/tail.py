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


def rejection(
    background: float, drawn: Floats, passing: Floats, every: Floats, unseen: float = 0.0
) -> Measurement:
    r"""Return $1 / \epsilon_B$ with its error, or a lower limit.

    The error is the spread of the replicas to first order in $\epsilon_B$: a replica in which no
    event passes has no finite rejection. Of fewer than three effective events the limit is
    $N / \mu$, N the effective number of background events and $\mu$ the Poisson mean that
    would give as few passing ones or fewer in 5 % of all cases (3.0 where none passes).

    Args:
        background: efficiency of the background.
        drawn: `[replicas]` the same on the replicas of the test set.
        passing: weights of the background events that pass.
        every: weights of all background events.
        unseen: see the function of that name; it adds to the square of the error.
    """
    count = effective(passing, unseen)
    if background <= 0.0 or count < FEWEST:
        limit = effective(every) / _MOST[min(math.ceil(count), len(_MOST) - 1)]
        return Measurement(max(limit, 1.0), math.inf, "at least")
    value = 1.0 / background
    unknown = math.sqrt(unseen) / float(np.sum(every))
    return Measurement(value, value**2 * math.hypot(float(np.std(drawn, ddof=1)), unknown))


def over_seeds(found: Sequence[Measurement]) -> Measurement:
    r"""Return the rejection of several runs on one test set: that of their mean efficiency.

    The error is $\sqrt{s^2 / k + \bar\sigma^2}$ with s the spread over the k seeds and
    $\bar\sigma$ the mean error of the test set, which is common to all; a single seed leaves the
    spread out. A limit among them makes it a limit; it is infinite if no background passes.
    """
    value = np.array([one.value for one in found])
    passing = float(np.mean(1.0 / value))
    if passing == 0.0:
        return Measurement(math.inf, math.inf)
    whole = 1.0 / passing
    if any(one.bound for one in found):
        return Measurement(whole, math.inf, "at least")
    test = float(np.mean([one.error / one.value**2 for one in found if np.isfinite(one.value)]))
    seeds = float(np.std(1.0 / value, ddof=1)) / math.sqrt(len(value)) if len(value) > 1 else 0.0
    return Measurement(whole, whole**2 * math.hypot(seeds, test))


def unseen(weight: Floats, stratum: Ints, passes: Bools) -> float:
    """Return the sum of squared weights of one event of every stratum of which none passes.

    A sample of large weights, such as multijets of low momentum, may leave no event above a
    threshold. That it is absent is no knowledge: one event more or less would be as likely.

    >>> unseen(np.array([4.0, 4.0, 1.0]), np.array([0, 0, 1]), np.array([False, False, True]))
    16.0
    """
    absent = set(np.unique(stratum).tolist()) - set(np.unique(stratum[passes]).tolist())
    return float(sum(np.mean(weight[stratum == one]) ** 2 for one in absent))


def effective(weight: Floats, unseen: float = 0.0) -> float:
    r"""Return $(\sum w)^2 / \sum w^2$, the number of events of weight one that know as much.

    `unseen` adds to the sum of squares.

    >>> effective(np.array([2.0, 2.0, 2.0]))
    3.0
    """
    squares = float(np.sum(weight**2)) + unseen
    return float(np.sum(weight)) ** 2 / squares if squares > 0.0 else 0.0
