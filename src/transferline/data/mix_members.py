"""The processes of a mixture: how much of each there is, and whether they go together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.data.card import DataCard
from transferline.data.layouts.shards import CARD
from transferline.data.origins import Origin, Relation, RowOrigins, row_origins
from transferline.data.readers.shards import ShardSet
from transferline.data.unweighting import ceiling, lost_above, unweighted
from transferline.errors import ConfigError, DataError, did_you_mean
from transferline.files import file_hash

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Member:
    """One process of a mixture.

    Attributes:
        name: in the mixture.
        path: its shards.
        card: their card.
        cross_section_pb: before any cut.
        efficiency: sum of weights after the selection over that before any cut.
        efficiency_error: of it, sqrt(sum of w^2 after) over the sum before.
        selected: events after the selection.
        effective: (sum w)^2 / sum w^2 of those.
        ceiling: of their weights, see `unweighting.ceiling`; what has more counts as having it.
        truncated: share of the cross section that lies above it, and is missing.
    """

    name: str
    path: Path
    card: DataCard
    cross_section_pb: float
    efficiency: float
    efficiency_error: float
    selected: int
    effective: float
    ceiling: float
    truncated: float

    @property
    def visible_pb(self) -> float:
        """Cross section after the selection."""
        return self.cross_section_pb * self.efficiency

    @cached_property
    def card_sha256(self) -> str:
        """Hash of the card's file; through the hashes on it, of the events too."""
        return file_hash(self.path / CARD)

    @cached_property
    def origins(self) -> RowOrigins:
        """Where its rows come from."""
        return row_origins(self.path, self.card)

    def unweighted(self, random: np.random.Generator) -> Rows:
        """Return the rows that stand for equal shares of the cross section, rising."""
        return unweighted(ShardSet(self.path).weight, self.ceiling, random)

    def duplicates(self, rows: Rows) -> int:
        """Count those of `rows` whose (run, lumi, event) another one has already."""
        if not self.card.duplicates:
            return 0
        return len(rows) - len(np.unique(ShardSet(self.path).hash[rows]))


def open_members(
    places: Mapping[str, Path], cross_sections: Mapping[str, float] | None = None
) -> list[Member]:
    """Open the shards of every process, in the order of the names.

    Args:
        places: name -> directory of prepared shards.
        cross_sections: name -> pb, in place of the card's.

    Raises:
        ConfigError: a name or cross section is wrong, or two members hold the same events.
        DataError: shards are damaged, hold real collisions or negative weights, do not tell their
            cross section or sum of weights, or have another selection or other columns.
    """
    if not places:
        raise ConfigError("a mixture of nothing: name at least one directory of shards.")
    given = dict(cross_sections or {})
    for name, value in given.items():
        if name not in places:
            raise ConfigError(
                f"a cross section of '{name}', which is no member.{did_you_mean(name, places)}"
            )
        if not 0 < value < math.inf:
            raise ConfigError(f"a cross section of {value} pb for '{name}': give a number above 0.")
    members = [_open(name, Path(places[name]), given.get(name)) for name in sorted(places)]
    for other in members[1:]:
        _check_alike(members[0], other)
    for one, other in combinations(members, 2):
        _check_disjoint(one, other)
        _check_processes(one, other)
    return members


def _open(name: str, path: Path, cross_section_pb: float | None) -> Member:
    shards = ShardSet(path)
    shards.verify()
    card, weight = shards.cards[0], shards.weight
    if card.composition:
        raise ConfigError(f"{path}: is a mixture itself; name its members in its place.")
    if card.constituents:
        raise DataError(f"{path}: holds events of jets of constituents, which are not mixed.")
    if not card.is_simulation:
        raise DataError(
            f"{path}: holds real collisions, which are a mixture already and have no cross "
            "section. `prepare` takes several data sets together."
        )
    _check_weights(name, path, weight)
    sigma = card.cross_section_pb if cross_section_pb is None else cross_section_pb
    if sigma is None:
        raise DataError(
            f"{path}: its card names no cross section; give that of '{name}' in pb "
            f"(--cross-section {name}=PB, in a study cross_sections: {{{name}: PB}})."
        )
    if not card.sum_weight:
        raise DataError(
            f"{path}: the sum of weights before cuts is not known (a file has no 'Runs' tree), so "
            f"nothing tells how much of '{name}' belongs into a mixture."
        )
    total, squares, top = float(weight.sum()), float(np.square(weight).sum()), ceiling(weight)
    return Member(
        name=name,
        path=path,
        card=card,
        cross_section_pb=sigma,
        efficiency=total / card.sum_weight,
        efficiency_error=math.sqrt(squares) / card.sum_weight,
        selected=len(weight),
        effective=total**2 / squares,
        ceiling=top,
        truncated=lost_above(weight, top),
    )


def _check_weights(name: str, path: Path, weight: NDArray[np.float64]) -> None:
    negative = int((weight < 0).sum())
    if negative:
        raise DataError(
            f"{path}: {negative / len(weight):.2%} of the events of '{name}' have a negative "
            "weight. What is drawn into a mixture is there once or not at all, so a negative "
            "event cannot take away what a positive one adds. Take a sample without (leading "
            "order, or made with positive weights), or rid this one of them first (resampling, "
            "arXiv:2109.07851)."
        )
    if not weight.any():
        raise DataError(f"{path}: holds no event of '{name}' with a weight above zero.")


def _check_alike(one: Member, other: Member) -> None:
    """What a network sees must not tell members apart by how they were prepared."""
    if _cuts(one.card) != _cuts(other.card):
        names = [str(member.card.selection.get("name")) for member in (one, other)]
        how = f"'{names[1]}', not '{names[0]}'" if names[0] != names[1] else "another version"
        raise DataError(
            f"{other.path}: passed {how} of the selection of {one.path}; the members of a mixture "
            "pass a common one. Prepare both with the same."
        )
    for what in ("columns", "context"):
        mine, its = getattr(one.card, what), getattr(other.card, what)
        if mine != its:
            raise DataError(
                f"{other.path}: has the {what} {its}, but {one.path} has {mine}. Prepare both "
                "with the same version."
            )


def _cuts(card: DataCard) -> dict[str, Any]:
    """The selection without the certified blocks, which concern real collisions only."""
    return {**card.selection, "golden_json": None}


def _check_disjoint(one: Member, other: Member) -> None:
    """No collision may be drawn twice, once from each of two members."""
    if one.card.content_hash == other.card.content_hash or _overlap(
        one.origins.origins, other.origins.origins
    ):
        raise ConfigError(
            f"{one.path} and {other.path}: '{one.name}' and '{other.name}' hold the same events; "
            "generate one of them with another seed, or take other files."
        )


def _check_processes(one: Member, other: Member) -> None:
    """Two members of one process would count it twice, each with the whole cross section.

    Slices, which have cross sections of their own, do not.
    """
    if one.cross_section_pb != other.cross_section_pb:
        return
    if one.card.counts_again(other.card):
        raise ConfigError(
            f"{one.path} and {other.path}: '{one.name}' and '{other.name}' are of one process with "
            "two filters: what passes both would count twice. Leave one out, or, where their "
            "events cannot be the same, give them the cross sections of their parts."
        )
    made = one.card.generated()
    if made and made == other.card.generated():
        raise ConfigError(
            f"{one.path} and {other.path}: '{one.name}' and '{other.name}' are of one process "
            f"({', '.join(sorted({process for process, _, _ in made}))}), which would count "
            "twice. Prepare their files together, as one member."
        )


def _overlap(one: Sequence[Origin], other: Sequence[Origin]) -> bool:
    same = {Relation.SAME, Relation.RELATED}
    # Those of other simulation may be thousands, and are the same only if they are equal.
    if any(origin.relation(origin) in same for origin in set(one) & set(other)):
        return True
    made = [{o for o in origins if o.kind == "generated"} for origins in (one, other)]
    return any(a.relation(b) in same for a in made[0] for b in made[1])
