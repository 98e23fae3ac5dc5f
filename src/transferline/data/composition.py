"""The composition of a mixture: how much of each process it holds, and why so much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """One process of a mixture.

    Attributes:
        name: of the process in the mixture.
        sample: its name on its own card.
        cross_section_pb: before any cut.
        efficiency: sum of weights after the selection over that before any cut.
        efficiency_error: of it, sqrt(sum of w^2 after) over the sum before.
        share: of the mixture that is expected, cross section x efficiency over their sum.
        events: drawn.
        available: that could have been drawn; fewer than `selected` if it had to be unweighted.
        selected: events in its shards, `effective` their (sum w)^2 / sum w^2.
        truncated: share of its cross section that unweighting left out, in a tail of the weights.
        card_sha256, content_hash: of its shards.
    """

    name: str
    sample: str
    cross_section_pb: float
    efficiency: float
    efficiency_error: float
    share: float
    events: int
    available: int
    selected: int
    effective: float
    truncated: float
    card_sha256: str
    content_hash: str


def scarcest(rows: Sequence[Share]) -> tuple[Share, int]:
    """Return the process that limits a mixture, and the events that it suffices for."""
    row = min(rows, key=lambda row: row.available / row.share)
    return row, int(row.available / row.share)


def markdown(rows: Sequence[Share], luminosity_invpb: float, origins: str) -> list[str]:
    """Return the lines of a data card; `origins` is the file that tells the events apart."""
    return [
        "## Composition",
        "",
        f"A mixture, as {luminosity_invpb / 1000:.4g} /fb of collisions give it. Its events bear "
        f"no label; `{origins}` tells which file each is from, and is read only to ask whether a "
        "model has seen an event. Sums before cuts and the cut-flow are those that this luminosity "
        "leads one to expect.",
        "",
        "| process | cross section in pb | efficiency | expected share | events | available "
        "| in the tail of weights, left out | card |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row.name} | {row.cross_section_pb:.6g} | {row.efficiency:.4e} "
            f"+- {row.efficiency_error:.1e} | {row.share:.4%} | {row.events:,} "
            f"| {row.available:,} | {row.truncated:.2%} | `{row.card_sha256[:16]}` |"
            for row in rows
        ),
        "",
    ]
