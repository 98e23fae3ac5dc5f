"""A weighted histogram that is filled chunk by chunk and counts events, not entries."""

from __future__ import annotations

import math

import awkward as ak
import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.validation.check import UNKNOWN
from transferline.validation.kinematics import flat
from transferline.validation.statistics import Floats


class Histogram:
    """Entries of events in bins; what lies beyond the edges is in the first and last bin.

    An event may have several entries (its jets). They are not independent, so all errors are
    those of sums over events.

    Attributes:
        edges: of the bins, `[bins + 1]`, ascending.
        content: sum of signed weights per bin, `[bins]`.
        variance: of `content`, `[bins]`.
    """

    def __init__(self, edges: Floats) -> None:
        self.edges = np.asarray(edges, float)
        self.content = np.zeros(len(edges) - 1)
        self.variance = np.zeros(len(edges) - 1)
        self._entries = 0
        # Sums over events of w n and w T, and of w^2 times n^2, n T and T^2: n entries of sum T.
        self._first, self._second = np.zeros(2), np.zeros(3)

    def add(self, values: ak.Array, weight: Floats) -> None:
        """Fill with `values` `[n, var]` of events with signed weights `[n]`."""
        n, bins = len(weight), len(self.content)
        entries = np.asarray(flat(values), float)
        event = np.repeat(np.arange(n), ak.to_numpy(ak.num(values)))
        place = np.clip(np.searchsorted(self.edges, entries, side="right") - 1, 0, bins - 1)
        number = np.bincount(event * bins + place, minlength=n * bins).reshape(n, bins)
        self.content += weight @ number
        self.variance += weight**2 @ number**2
        count, total = number.sum(axis=1), np.bincount(event, entries, n)
        self._entries += len(entries)
        self._first += weight @ np.stack([count, total], axis=1)
        self._second += weight**2 @ np.stack([count**2, count * total, total**2], axis=1)

    def mean(self) -> Measurement:
        """Return the weighted mean of the entries, not of the bins."""
        count, total = self._first
        if self._entries < 2 or not count > 0.0:
            return UNKNOWN
        value = float(total / count)
        variance = float(self._second @ (value**2, -2.0 * value, 1.0))
        return Measurement(value, math.sqrt(max(variance, 0.0)) / float(count))

    def share_from(self, number: int) -> Measurement:
        """Return the share of counts that are `number` or more, of one entry per event.

        Bins are centred on whole numbers. The error is at least that of one more event, as in
        `statistics.share`.
        """
        total = float(self.content.sum())
        if not total > 0.0:
            return UNKNOWN
        passed = self.edges[:-1] > number - 1
        value = float(self.content[passed].sum()) / total
        distance = np.where(passed, 1.0 - value, value)
        error = math.sqrt(float(self.variance @ distance**2)) / total
        return Measurement(value, max(error, float(self.variance.sum()) / total**2))

    def density(self) -> tuple[Floats, Floats]:
        """Return height and error of every bin at unit area; not numbers where nothing is."""
        total = self.content.sum()
        scale = 1.0 / (total * np.diff(self.edges)) if total > 0.0 else np.nan
        return self.content * scale, np.sqrt(self.variance) * scale
