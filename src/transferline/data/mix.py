"""Mix processes as collisions do: in proportion to cross section x efficiency, without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transferline.data.card import DataCard, data_card_markdown
from transferline.data.claim import claim, working_in
from transferline.data.file_ledger import USED, FileRow, write_ledger
from transferline.data.layouts.shard_directory import (
    CARD_PAGE,
    ORIGINS,
    move_in,
    remove_ours,
)
from transferline.data.layouts.shards import CARD
from transferline.data.mix_card import mixture_card
from transferline.data.mix_draw import MemberDraw, Processes, draw_members
from transferline.data.mix_members import open_members
from transferline.data.origins import Origin
from transferline.data.parts import part_name
from transferline.files import atomic_path, file_hash, json_hash, resolved, write_json, write_text
from transferline.progress import progress
from transferline.stopping import check_stop

Index = NDArray[np.unsignedinteger[Any]]

PART_SIZE = 200_000
PROTOCOL = 2
"""Raised when the same members would be mixed differently."""


def mix(
    members: Mapping[str, Path | str],
    out: Path,
    *,
    n: int | None = None,
    seed: int = 1,
    cross_sections: Mapping[str, float] | None = None,
    sample: str = "mixture",
    overwrite: bool = False,
    part_size: int = PART_SIZE,
) -> DataCard:
    r"""Draw `n` events from the shards of several processes and write them as one set of shards.

    Every event is of process i with probability $\sigma_i \epsilon_i / \sum_j \sigma_j
    \epsilon_j$, with the cross section $\sigma$ and the efficiency $\epsilon$ = (sum of weights
    after the selection) / (sum before any cut), and is an event of that process that has not been
    drawn yet. So the order is random, any first k events are a fair sample of the whole, and a
    mixture is the beginning of every larger one of the same shards and seed.

    What comes out has weight one and neither label nor process. An input with unequal weights is
    unweighted first (`unweighting`: half a percent of a cross section may be left out, in the tail
    of large weights, and stands in the composition). Negative weights are refused. The card's
    `composition` tells what went in; run, luminosity section and event number stay, and the file
    `origins.npy` tells which file each event is from, so that one can still ask whether a model has
    seen it.

    Shards are mapped and read part by part; what is held of all events is about 20 bytes each. The
    card is written last; interrupted, the mixture is made anew.

    Args:
        members: name of a process -> directory of its prepared shards.
        out: directory of the mixture.
        n: events to draw; as many as the scarcest member allows, if not given.
        seed: of the draws and of the order.
        cross_sections: name -> pb, where a card has none or another one is meant.
        sample: the user's name of the mixture.
        overwrite: replace the data set that `out` holds; it stays whole until the new one is.
        part_size: events per file.

    Raises:
        ConfigError: a name or cross section is wrong, two members hold the same events, or `out`
            holds foreign files, another data set or a member.
        DataError: a member is damaged, has too few events, other cuts or columns, negative
            weights, real collisions, or tells neither cross section nor sum of weights.
    """
    out = resolved(out)
    places = {name: resolved(path) for name, path in members.items()}
    opened = open_members(places, cross_sections)
    processes, draws = draw_members(opened, n, seed)
    config_hash = json_hash(
        {
            "protocol": PROTOCOL,
            "members": {m.name: [m.card_sha256, m.cross_section_pb] for m in opened},
            "n": len(processes),
            "seed": seed,
            "sample": sample,
            "part_size": part_size,
        }
    )
    with working_in(out, map(str, places.values())):
        place = claim(out, config_hash, [], overwrite)
        if isinstance(place, DataCard):
            return place
        parts, origins = _write(place, processes, draws, part_size)
        card = mixture_card(
            draws,
            sample=sample,
            seed=seed,
            parts=parts,
            origins=origins,
            origins_sha256=_write_origins(place / ORIGINS, origins),
            config_hash=config_hash,
        )
        _finish(place, card)
        if place != out:
            move_in(out)
        return card


def _write(
    place: Path, processes: Processes, draws: Sequence[MemberDraw], size: int
) -> tuple[list[dict[str, Any]], Index]:
    """Write the files; return what the card says of them, and the origin of every event."""
    files = _file_numbers(draws)
    origins = np.empty(len(processes), np.min_scalar_type(max(int(x.max()) for x in files)))
    parts: list[dict[str, Any]] = []
    with progress(len(processes), "mix") as ticker:
        for low in range(0, len(processes), size):
            check_stop()
            wanted = processes[low : low + size]
            path = place / part_name(len(parts))
            _write_part(path, _batch(wanted, draws, files, origins[low : low + size]))
            facts = {"rows": len(wanted), "sha256": file_hash(path), "size": path.stat().st_size}
            parts.append({"file": path.name, **facts})
            ticker.advance(len(wanted))
    return parts, origins


def _file_numbers(draws: Sequence[MemberDraw]) -> list[NDArray[np.int64]]:
    """For each member: origin -> row of the mixture's `files`, or one behind the last."""
    first, last = 0, sum(len(draw.member.card.files) for draw in draws)
    numbers = []
    for member in (draw.member for draw in draws):
        of_files = tuple(Origin.of_file(row) for row in member.card.files)
        known, n = member.origins.origins == of_files, len(member.origins.origins)
        numbers.append(np.arange(first, first + n) if known else np.full(n, last))
        first += len(of_files)
    return numbers


def _batch(
    wanted: Processes,
    draws: Sequence[MemberDraw],
    files: Sequence[NDArray[np.int64]],
    origins: Index,
) -> pa.RecordBatch:
    """Return the events of one part in their order; `origins` is filled."""
    tables, places = [], []
    for number, draw in enumerate(draws):
        mine = np.flatnonzero(wanted == number)
        rows = draw.next(len(mine))
        origins[mine] = files[number][draw.member.origins.which(rows)]
        rising = np.argsort(rows)
        tables.append(draw.take(rows[rising]))
        places.append(mine[rising])
    order = np.argsort(np.concatenate(places))
    return pa.concat_tables(tables).combine_chunks().to_batches()[0].take(pa.array(order))


def _write_part(target: Path, batch: pa.RecordBatch) -> None:
    with (
        atomic_path(target) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def _write_origins(target: Path, origins: Index) -> str:
    """Write the origin of every event; return the hash of the file."""
    with atomic_path(target) as temporary:
        np.save(temporary, origins)
    return file_hash(target)


def _finish(place: Path, card: DataCard) -> None:
    """Remove what does not belong to the mixture, then write the card: now it is one."""
    remove_ours(place, but=[*(part["file"] for part in card.parts), ORIGINS])
    rows = [FileRow.of(row, status=USED, passed=row["passed"]) for row in card.files]
    write_ledger(place, rows)
    write_text(place / CARD_PAGE, data_card_markdown(card))
    write_json(place / CARD, card.to_dict())
