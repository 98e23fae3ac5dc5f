"""What the table of a format of jets holds: which column is made from which branches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Ways = tuple[tuple[str, ...], ...]
"""Sets of branches, each of which suffices; the first that a file has is used."""


@dataclass(frozen=True)
class JetTable:
    """One format of jets of constituents.

    Attributes:
        format: its name for people.
        tree: where the branches are, empty where the format has no trees.
        constituents, context: column -> ways to make it.
        identity: branches that say which event, or which jet, an entry is. The first of them
            tells layouts apart: a number per entry, which is a jet, or a list, in an event.
        labels: column of `Events.labels` -> branch.
        label_prefix: branches that begin so are labels, too, named by what follows.
        particles: how branches of the particles begin, and no others.
    """

    format: str
    tree: str
    constituents: Mapping[str, Ways]
    context: Mapping[str, Ways]
    identity: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    label_prefix: str | None = None
    particles: str = ""

    @property
    def shape(self) -> str:
        """The branch that tells the layouts apart."""
        return self.identity[0]


def one(*branches: str) -> Ways:
    """Return a single way, by these branches together.

    >>> one("part_px", "part_py")
    (('part_px', 'part_py'),)
    """
    return (branches,)
