"""A figure to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """The name of a figure's file, its caption and the function that draws it."""

    stem: str
    caption: str
    make: Callable[[], Figure]
