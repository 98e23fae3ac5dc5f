"""Working points by data-taking era, from `btag_working_points.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from transferline.errors import did_you_mean

_FILE = Path(__file__).with_name("btag_working_points.yaml")

# Jet_puId is an integer of nested bits, whose order is not always the same: of 2016 UL in NanoAODv9
# loose 1, medium 3, tight 7, elsewhere 4, 6, 7 (JME recommendation quoted in the NanoAODv9
# documentation of Jet_puId). How many are set tells the working point in either.
_PUID_BITS = {"loose": 1, "medium": 2, "tight": 3}
_WITH_PUID = ("2016", "2017", "2018")


@cache
def working_points() -> dict[str, dict[str, dict[str, Any]]]:
    """Return tagger -> era -> {loose, medium, tight, source}."""
    content: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(
        _FILE.read_text(encoding="utf-8")
    )
    return content


def btag_threshold(era: str, tagger: str, working_point: str) -> float:
    """Return the smallest discriminant of a b-jet.

    Raises:
        ValueError: the table has no such tagger or era; the text names the nearest.
    """
    table = working_points()
    if tagger not in table:
        raise ValueError(f"no working points for tagger '{tagger}'.{did_you_mean(tagger, table)}")
    if era not in table[tagger]:
        hint = did_you_mean(era, table[tagger])
        raise ValueError(f"no working points of {tagger} for era '{era}'.{hint}")
    return float(table[tagger][era][working_point])


def jet_puid_bits(era: str, working_point: str) -> int:
    """Return how many bits of `Jet_puId` a jet that passes this working point has at least.

    Raises:
        ValueError: the era's jets have no pile-up identification (PUPPI jets of Run 3).
    """
    if era[:4] not in _WITH_PUID:
        raise ValueError(f"era '{era}' has no pile-up jet identification: write `pu_id: null`")
    return _PUID_BITS[working_point]
