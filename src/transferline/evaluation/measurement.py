"""A number with its error, and how to print it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Measurement:
    """A value with its one-standard-deviation error.

    Args:
        value: the number.
        error: its standard deviation, in the unit of the value; infinite where it cannot be known.
        bound: `at least` where `value` is no estimate but a lower limit, at 95 % confidence.
    """

    # Records hold these as pydantic fields: a misspelt key must not be dropped in silence.
    __pydantic_config__: ClassVar[dict[str, str]] = {
        "extra": "forbid",
        "ser_json_inf_nan": "strings",
    }

    value: float
    error: float
    bound: Literal["at least"] | None = None

    def __str__(self) -> str:
        if self.bound is not None:
            return f"> {self.value:.3g}" if self.value < 1000 else f"> {self.value:.0f}"
        return format_measurement(self.value, self.error)


def format_measurement(value: float, error: float) -> str:
    """Print a value to the digits that its error supports: two significant ones of the error.

    >>> format_measurement(0.821314, 0.00118)
    '0.8213 ± 0.0012'
    >>> format_measurement(152.34, 4.06)
    '152.3 ± 4.1'
    >>> format_measurement(15234.0, 412.0)
    '15230 ± 410'
    >>> format_measurement(float("inf"), float("inf"))
    '∞'
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if not math.isfinite(error):
        return f"{value:.4g} ± ?"
    if error == 0.0:
        return f"{value:.4g} ± 0"
    decimals = _decimals(error)
    shown = max(decimals, 0)
    return f"{round(value, decimals):.{shown}f} ± {round(error, decimals):.{shown}f}"


def _decimals(error: float) -> int:
    # Through the printed form, so that 0.0996 counts as 0.10 and not as 0.0996.
    return 1 - int(f"{abs(error):.1e}".partition("e")[2])
