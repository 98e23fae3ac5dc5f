"""Working points by data-taking era, from `btag_working_points.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from transferline.errors import did_you_mean

_FILE = Path(__file__).with_name("btag_working_points.yaml")

_PUID_BITS = {
    # Jet_puId as an integer of bits. 2016 UL: loose 1, medium 3, tight 7 (bits 0, 1, 2);
    # 2017 and 2018 UL: loose 4, medium 6, tight 7 (bits 2, 1, 0).
    # Source: JME recommendation quoted in the NanoAODv9 documentation of Jet_puId.
    "2016": {"loose": 0, "medium": 1, "tight": 2},
    "2017": {"loose": 2, "medium": 1, "tight": 0},
    "2018": {"loose": 2, "medium": 1, "tight": 0},
}


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


def jet_puid_bit(era: str, working_point: str) -> int:
    """Return the bit of `Jet_puId` that this working point sets.

    Raises:
        ValueError: the era's jets have no pile-up identification (PUPPI jets of Run 3).
    """
    year = era[:4]
    if year not in _PUID_BITS:
        raise ValueError(f"era '{era}' has no pile-up jet identification: write `pu_id: null`")
    return _PUID_BITS[year][working_point]
