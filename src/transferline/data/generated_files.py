"""Whether generated files go together in one sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from transferline.data.card import filters_of
from transferline.data.duplicates import comparable
from transferline.data.origins import Origin, Relation
from transferline.data.readers.base import Source
from transferline.errors import ConfigError


def check_together(sources: Sequence[Source]) -> None:
    """Refuse generated files that no sum of weights and no number of events puts right.

    Raises:
        ConfigError: files are of one process with two filters, each with its whole cross section
            before the filter; or hold the same collisions with other settings.
    """
    _check_filters(sources)
    _check_collisions(sources)


def _check_filters(sources: Sequence[Source]) -> None:
    known: dict[tuple[str, str], tuple[str, Source]] = {}
    for source in sources:
        told = filters_of([source.provenance] if source.provenance else [])
        for made_of, names in told.items():
            (name,) = names
            first, file = known.setdefault(made_of, (name, source))
            if first != name:
                raise ConfigError(
                    f"{file.path} and {source.path}: are of one process ({made_of[0]}) with two "
                    f"filters ({first}, {name}): what passes both would count twice, and their "
                    "events not as the cross section has it. Prepare those of one filter, each by "
                    "itself if you need both."
                )


def _check_collisions(sources: Sequence[Source]) -> None:
    # Those of one key are told apart by their numbers: duplicates are counted.
    files = {
        comparable(origin): source
        for source in reversed(sources)
        if (origin := Origin.of_file(source.to_dict())).kind == "generated"
    }
    for one, other in combinations(files, 2):
        if one.relation(other) is Relation.RELATED:
            raise ConfigError(
                f"{files[other].path} and {files[one].path}: hold the same collisions with other "
                f"settings ({_shared(one)}). Generate one of them anew, or prepare each by itself."
            )


def _shared(origin: Origin) -> str:
    if origin.lhe is not None:
        return "one file of hard events, which every seed reads from its beginning"
    return f"process {origin.process}, seed {origin.seed}; another seed gives others"
