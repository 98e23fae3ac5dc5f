"""How a p-value is said, in verdicts and tables alike."""

from __future__ import annotations

import math

_SMALLEST_P = 1e-4  # below, the tails of no error are known


def p_text(p: float) -> str:
    """Say a p-value with two digits.

    >>> p_text(0.0312), p_text(1e-7)
    ('p = 0.031', 'p < 0.0001')
    """
    if math.isnan(p):
        return "p unknown"
    return f"p = {p:.2g}" if p >= _SMALLEST_P else f"p < {_SMALLEST_P:.4f}"
