"""Whose directory it is: what `prepare` may do with what lies in the way."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from transferline.data.card import DataCard, load_card, lost_part
from transferline.data.file_ledger import FileRow, read_ledger, usable_again
from transferline.data.layouts.shard_directory import NEXT, check_ours, is_replacing, move_in
from transferline.data.layouts.shards import CARD
from transferline.data.readers.addresses import is_url
from transferline.data.readers.base import Source
from transferline.errors import ConfigError
from transferline.files import alone_in, resolved
from transferline.progress import say


@contextmanager
def working_in(out: Path, inputs: Iterable[str] = ()) -> Iterator[None]:
    """Hold the directory of a data set, waiting for a process that makes it.

    One that may not be written to is read, or refused by what is tried next.

    Args:
        out: the directory.
        inputs: what is read; `out` must not hold any of it.

    Raises:
        ConfigError: it is a file, or holds other files than ours, or what is read.
    """
    if out.is_file():
        raise ConfigError(f"{out}: is a file; the shards need a directory of their own.")
    for path in (path for path in inputs if not is_url(path)):
        if resolved(path).is_relative_to(out):
            raise ConfigError(f"{out}: holds the input {path}; choose another directory.")
    out.mkdir(parents=True, exist_ok=True)
    check_ours(out)
    with alone_in(out, wait=True, tidy=True) if os.access(out, os.W_OK) else nullcontext():
        yield


def claim(
    out: Path, config_hash: str, sources: Sequence[Source], overwrite: bool
) -> Path | DataCard:
    """Return the directory to work in, or the card if exactly this has been prepared already.

    Args:
        out: the directory that the user names.
        config_hash: of everything that decides the content.
        sources: the files as they are now.
        overwrite: make a new data set beside the one in `out`, to be moved in when it is whole.

    Raises:
        ConfigError: `out` holds another data set, or lacks files that may be read
            now, and `overwrite` is off.
    """
    if is_replacing(out):
        move_in(out)
        overwrite = overwrite and _objection(out, config_hash, sources) is not None
    if not (out / CARD).exists():
        return out
    if overwrite:
        return _successor(out, config_hash, sources)
    objection = _objection(out, config_hash, sources)
    if objection is not None:
        raise ConfigError(objection)
    return load_card(out) if _is_whole(out) else out


def _successor(out: Path, config_hash: str, sources: Sequence[Source]) -> Path | DataCard:
    """Return where to make a new data set while `out` holds one, or its card if it is whole."""
    place = out / NEXT
    place.mkdir(exist_ok=True)
    if not (place / CARD).exists() or not _is_whole(place):
        return place
    if _objection(place, config_hash, sources) is None:
        move_in(out)
        return load_card(out)
    (place / CARD).unlink()
    return place


def _is_whole(place: Path) -> bool:
    """Tell whether a data set is there; the card of one that has lost a part is removed.

    Raises:
        DataError: the card is damaged.
    """
    if (lost := lost_part(place, load_card(place))) is not None:
        say(f"{place / lost}: is gone or not as it was prepared; {place} is prepared again.")
        (place / CARD).unlink()
        return False
    return True


def _objection(out: Path, config_hash: str, sources: Sequence[Source]) -> str | None:
    """Say why the shards in `out` are not those that are wanted; None if they are."""
    card = load_card(out)
    stamps = {source.path: source.file_stamp for source in sources}
    back = _left_out(usable_again(read_ledger(out, card), stamps))
    advice = (
        "--overwrite (`overwrite=True`) prepares anew; what is there stays until the new shards "
        "are whole."
    )
    if card.config_hash == config_hash:
        return f"{out}: was prepared{back}. {advice}" if back else None
    return (
        f"{out}: holds another data set ('{card.sample}', {card.n_events} events, selection "
        f"'{card.selection.get('name')}'){back}. Choose a new directory, or {advice}"
    )


def _left_out(rows: Sequence[FileRow]) -> str:
    if not rows:
        return ""
    more = f" and {len(rows) - 1} more" if rows[1:] else ""
    return f" without {rows[0].path}{more} ({rows[0].status} then), which may be read now"
