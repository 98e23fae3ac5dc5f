"""Mixtures of samples: what the members inherit, and the mixture that is kept once made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transferline.data.card import load_card, lost_part
from transferline.data.layouts.shards import CARD
from transferline.data.mix import PROTOCOL, mix
from transferline.files import file_hash, json_hash
from transferline.provenance import package_versions


def hand_down(value: Any, names: Sequence[str]) -> Any:
    """Lay what the recipe of a mixture says of `names` below those of its members.

    Members that are shards have theirs already. What is no such recipe is returned as it is:
    validation says what is wrong with it.
    """
    if not isinstance(value, dict) or not isinstance(value.get("mix"), dict):
        return value
    common = {name: value[name] for name in names if value.get(name) is not None}
    return {**value, "mix": {k: _inheriting(v, common) for k, v in value["mix"].items()}}


def _inheriting(value: Any, common: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict) or value.get("shards") is not None:
        return value
    own = {k: v for k, v in value.items() if not (k in common and v is None)}
    return {**common, **own}


def mixed(
    members: Mapping[str, Path],
    directory: Path,
    *,
    named: Callable[[str], str],
    sample: str,
    n: int | None,
    seed: int,
    cross_sections: Mapping[str, float] | None,
) -> Path:
    """Return the shards of a mixture, made if they are not there.

    Args:
        members: name -> prepared shards, which are there.
        directory: of the cache.
        named: gives the directory of the mixture in it, from the hash of all that made it.
        sample: name of the mixture on its card.
        n: events to draw, as many as there can be if None.
        seed: of the draws.
        cross_sections: name -> pb, in place of those on the cards.

    Raises:
        ConfigError, DataError: see `mix`.
    """
    made_of = {
        "protocol": PROTOCOL,
        "members": {name: file_hash(place / CARD) for name, place in members.items()},
        "cross_sections": cross_sections and dict(cross_sections),
        "n": n,
        "seed": seed,
        "transferline": package_versions(("transferline",)),
    }
    place = directory / named(json_hash(made_of))
    if not (place / CARD).is_file() or lost_part(place, load_card(place)) is not None:
        mix(members, place, n=n, seed=seed, cross_sections=cross_sections, sample=sample)
    return place
