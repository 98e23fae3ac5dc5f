"""A continuous b-tag discriminant with given efficiencies at given scores.

For a jet of true flavour f and transverse momentum pT the card tells S_f(s, pT), the probability
that the discriminant lies above s, at a few scores s. Between them logit(S) is interpolated
linearly in logit(s), and extrapolated with the slope of the nearest interval. The discriminant is
drawn by solving S(s) = u for uniform u, so cutting at a working point gives its efficiency.
"""

from __future__ import annotations

import numpy as np

from transferline.generate.card import BTag, Row, Table
from transferline.generate.compiled import Array

_LARGEST_LOGIT = 14.0  # keeps the discriminant below 1 in single precision


def _logit(p: Array) -> Array:
    return np.asarray(np.log(p) - np.log1p(-p))


def survival_at(card: BTag, flavour: Array, pt: Array, eta: Array) -> Array:
    """Return the probabilities `[n, scores]` to lie above each of the card's scores."""
    tables = {5: card.b, 4: card.c, 0: card.light}
    result = np.empty((len(pt), len(card.scores)))
    for code, table in tables.items():
        chosen = flavour == code
        result[chosen] = _interpolate(card.pt, table, pt[chosen])
    result[np.abs(eta) >= card.eta_max] = card.forward
    return result


def _interpolate(knots: Row, table: Table, pt: Array) -> Array:
    columns = [np.interp(np.log(pt), np.log(knots), _logit(np.array(row))) for row in table]
    return 1.0 / (1.0 + np.exp(-np.stack(columns, axis=1)))


def tag_probability(card: BTag, score: float, flavour: Array, pt: Array, eta: Array) -> Array:
    """Return the probability of each jet that its discriminant lies above any `score`."""
    scores, place = _logit(np.array(card.scores)), float(_logit(np.array(score)))
    heights = _logit(survival_at(card, flavour, pt, eta))
    right = int(np.clip(np.searchsorted(scores, place), 1, len(scores) - 1))
    along = (place - scores[right - 1]) / (scores[right] - scores[right - 1])
    height = heights[:, right - 1] + along * (heights[:, right] - heights[:, right - 1])
    return np.asarray(1.0 / (1.0 + np.exp(-height)))


def draw_discriminant(
    card: BTag, flavour: Array, pt: Array, eta: Array, rng: np.random.Generator
) -> Array:
    """Draw the discriminant, in (0, 1), of jets with `flavour` in {0, 4, 5} and pT in GeV."""
    return discriminant(card, flavour, pt, eta, rng.random(len(pt)))


def discriminant(card: BTag, flavour: Array, pt: Array, eta: Array, u: Array) -> Array:
    """Return the discriminants that jets exceed with probabilities `u` `[n]` in (0, 1)."""
    scores = _logit(np.array(card.scores))
    heights = _logit(survival_at(card, flavour, pt, eta))
    drawn = _logit(np.clip(u, 1e-9, 1.0 - 1e-9))
    interval = np.clip((heights > drawn[:, None]).sum(axis=1), 1, len(scores) - 1)
    row = np.arange(len(pt))
    left, right = heights[row, interval - 1], heights[row, interval]
    along = (drawn - left) / (right - left)
    score = scores[interval - 1] + along * (scores[interval] - scores[interval - 1])
    score = np.clip(score, -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return np.asarray(1.0 / (1.0 + np.exp(-score)))
