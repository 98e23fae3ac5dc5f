"""The card of a mixture: its composition, and what its luminosity leads one to expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline import __version__
from transferline.data.card import DataCard
from transferline.data.composition import Share
from transferline.data.cutflow import Cutflow, Step
from transferline.data.mix_draw import MemberDraw
from transferline.data.mix_members import Member
from transferline.files import json_hash


def composition(draws: Sequence[MemberDraw]) -> list[Share]:
    """Return one row per process, the largest expected share first."""
    visible = sum(draw.member.visible_pb for draw in draws)
    rows = [_share(draw, visible) for draw in draws]
    return sorted(rows, key=lambda row: -row.share)


def _share(draw: MemberDraw, visible: float) -> Share:
    member = draw.member
    return Share(
        name=member.name,
        sample=member.card.sample,
        cross_section_pb=member.cross_section_pb,
        efficiency=member.efficiency,
        efficiency_error=member.efficiency_error,
        share=member.visible_pb / visible,
        events=len(draw.drawn),
        available=draw.available,
        selected=member.selected,
        effective=member.effective,
        truncated=member.truncated,
        card_sha256=member.card_sha256,
        content_hash=member.card.content_hash,
    )


def mixture_card(
    draws: Sequence[MemberDraw],
    *,
    sample: str,
    seed: int,
    parts: list[dict[str, Any]],
    origins: NDArray[np.unsignedinteger[Any]],
    origins_sha256: str,
    config_hash: str,
) -> DataCard:
    """Return the card.

    Args:
        draws: the members, drawn from.
        sample: name of the mixture.
        seed: of the mixture.
        parts: its files.
        origins: `[n]`, which of the members' files each event is from.
        origins_sha256: of the file that holds them.
        config_hash: of everything that decides the content.
    """
    members = [draw.member for draw in draws]
    n = sum(len(draw.drawn) for draw in draws)
    luminosity = n / sum(member.visible_pb for member in members)
    sigma = sum(member.cross_section_pb for member in members)
    files = [row for member in members for row in member.card.files]
    drawn = np.bincount(origins, minlength=len(files)).tolist()
    return DataCard(
        sample=sample,
        version=__version__,
        n_events=n,
        columns=list(members[0].card.columns),
        context=list(members[0].card.context),
        labels={},
        selection=members[0].card.selection,
        selection_hash=members[0].card.selection_hash,
        reader={"kind": "mixture", "seed": seed},
        is_simulation=True,
        files=[{**row, "passed": drawn[i]} for i, row in enumerate(files)],
        skipped={path: why for m in members for path, why in m.card.skipped.items()},
        count=round(luminosity * sigma),
        sum_weight=luminosity * sigma,
        sum_weight2=luminosity * sigma,
        cutflow=_expected(members, luminosity).to_list(),
        n_eff=float(n),
        negative_fraction=0.0,
        capped=round(sum(d.member.card.capped * len(d.drawn) / d.member.selected for d in draws)),
        duplicates=sum(draw.member.duplicates(draw.drawn) for draw in draws),
        parts=parts,
        content_hash=json_hash([part["sha256"] for part in parts]),
        config_hash=config_hash,
        cross_section_pb=sigma,
        provenance=[made for member in members for made in member.card.provenance],
        composition=[asdict(row) for row in composition(draws)],
        origins_sha256=origins_sha256,
    )


def _expected(members: Sequence[Member], luminosity: float) -> Cutflow:
    """Add the members' cut-flows, each scaled to the luminosity; steps that all of them have."""
    flows = [Cutflow.from_list(member.card.cutflow) for member in members]
    names = [{step.name for step in flow.steps} for flow in flows]
    yields: dict[str, float] = {
        step.name: 0.0 for step in flows[0].steps if step.name in set.intersection(*names)
    }
    for member, flow in zip(members, flows, strict=True):
        factor = luminosity * member.card.normalisation(member.cross_section_pb)
        for step in flow.steps:
            if step.name in yields:
                yields[step.name] += factor * step.sum_weight
    return Cutflow(tuple(Step(name, round(y), y, y) for name, y in yields.items()))
