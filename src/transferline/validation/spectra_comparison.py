"""Are spectra of two files the same? Means, shapes and rates, with verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.reporting.table import Table
from transferline.validation.check import UNKNOWN, Check, exactly
from transferline.validation.file_spectra import FileSpectra
from transferline.validation.histogram import Histogram
from transferline.validation.spectra_quantities import QUANTITIES
from transferline.validation.statistics import Floats
from transferline.validation.underlying_event import ratio

# Effective entries of a bin in either file, for a chi2 to be one; and of a whole histogram, for its
# mean to be nearly Gaussian.
_LEAST, _LEAST_OF_MEAN = 5.0, 20.0
_TOLERANCE = 0.02
# Quantities of the same events are correlated, so that the sum varies more than a chi2 does.
_CHI2_TOLERANCE = 0.2


class Shape(NamedTuple):
    """chi2 of two histograms at unit area, and its degrees of freedom."""

    chi2: float
    degrees: int

    @property
    def p(self) -> float:
        """Probability of a larger chi2, by its cube root, which is nearly Gaussian.

        Source: E. B. Wilson, M. M. Hilferty, PNAS 17 (1931) 684.
        """
        if self.degrees < 1:
            return math.nan
        width = 2.0 / (9.0 * self.degrees)
        z = ((self.chi2 / self.degrees) ** (1.0 / 3.0) - (1.0 - width)) / math.sqrt(width)
        return 0.5 * math.erfc(z / math.sqrt(2.0))


def shape(one: Histogram, other: Histogram) -> Shape:
    """Return the chi2 of two independent histograms with the same edges.

    Neighbouring bins are joined until each holds five effective entries of either file.
    """
    groups = list(_groups(one, other))
    if len(groups) < 2:
        return Shape(0.0, 0)
    contents = [_joined(h.content, groups) for h in (one, other)]
    variances = [_joined(h.variance, groups) for h in (one, other)]
    first, second = (c / c.sum() for c in contents)
    scaled = [v / c.sum() ** 2 for c, v in zip(contents, variances, strict=True)]
    chi2 = float(np.sum((first - second) ** 2 / (scaled[0] + scaled[1])))
    return Shape(chi2, len(groups) - 1)


def _joined(values: Floats, groups: Sequence[slice]) -> Floats:
    return np.array([values[group].sum() for group in groups])


def _groups(one: Histogram, other: Histogram) -> Iterator[slice]:
    start, bins = 0, len(one.content)
    for stop in range(1, bins + 1):
        if not _enough((one, other), slice(start, stop)):
            continue
        # What is left may not suffice for a bin of its own.
        if not _enough((one, other), slice(stop, bins)):
            stop = bins  # noqa: PLW2901
        yield slice(start, stop)
        if stop == bins:
            return
        start = stop


def _enough(histograms: Sequence[Histogram], group: slice, least: float = _LEAST) -> bool:
    for histogram in histograms:
        content, variance = histogram.content[group].sum(), histogram.variance[group].sum()
        if not (content > 0.0 and content**2 >= least * variance):
            return False
    return True


def checks(files: Sequence[FileSpectra]) -> list[Check]:
    """Return what must agree if all files are samples of one distribution, that of the first."""
    return [check for other in files[1:] for check in _checks(files[0], other)]


def _checks(first: FileSpectra, other: FileSpectra) -> list[Check]:
    pair = f"{other.file.name} / {first.file.name}"
    numbers: dict[str, Measurement] = {}
    if first.rate and other.rate:
        numbers["rate"] = ratio(other.rate, first.rate)
    pairs = {name: (other.histograms[name], one) for name, one in first.histograms.items()}
    for name, (one, known) in pairs.items():
        if _enough((one, known), slice(None), _LEAST_OF_MEAN):
            title = f"mean of {QUANTITIES[name].title}"
            numbers[title] = ratio(one.mean(), known.mean())
    result = [
        Check(f"{pair}: {what}", number, exactly(1.0), _TOLERANCE, first.file.name)
        for what, number in numbers.items()
    ]
    shapes = [shape(one, known) for one, known in pairs.values()]
    degrees = sum(one.degrees for one in shapes)
    value = UNKNOWN
    if degrees:
        value = Measurement(sum(one.chi2 for one in shapes) / degrees, math.sqrt(2.0 / degrees))
    title = f"{pair}: chi2 of all spectra per degree of freedom"
    return [*result, Check(title, value, exactly(1.0), _CHI2_TOLERANCE, first.file.name)]


def shape_table(files: Sequence[FileSpectra]) -> Table:
    """Return chi2 and its probability of every quantity, for every file but the first."""
    first, others = files[0], files[1:]
    header = ["Quantity"]
    for other in others:
        header += [f"{other.file.name}: chi2 / degrees", "p"]
    rows = []
    for name, histogram in first.histograms.items():
        cells = [QUANTITIES[name].title]
        for other in others:
            found = shape(histogram, other.histograms[name])
            cells += [f"{found.chi2:.1f} / {found.degrees}", _number(found.p)]
        rows.append(tuple(cells))
    note = f"Against {first.file.name}; bins with fewer than five effective entries are joined."
    return Table("Shapes", tuple(header), tuple(rows), note)


def _number(p: float) -> str:
    return "-" if math.isnan(p) else f"{p:.2g}"
