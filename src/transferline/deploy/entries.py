"""The rows of one file, chunk by chunk, and what to do where one of them cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from transferline.data.events import Events
from transferline.data.readers.patience import UnreachableError
from transferline.deploy.inputs import Input, Inputs
from transferline.errors import DataError

MOST_UNUSABLE = 100
"""A file with more events that its reader refuses counts as damaged: each costs some readings."""

_Read = Callable[[int, int], Iterator[Events]]


class DamagedError(Exception):
    """A file turned out to be damaged when some of its entries were written."""

    def __init__(self, file: Input, reason: str) -> None:
        super().__init__(reason)
        self.file = file


@dataclass(frozen=True)
class Piece:
    """Rows of a file from number `first` on; if there is a `refusal`, their identity alone."""

    first: int
    events: Events
    refusal: str = ""


def pieces(file: Input, inputs: Inputs, size: int) -> Iterator[Piece]:
    """Yield all rows, at most `size` at a time: the entries, or the jets in the entries.

    With `skip_bad`, entries whose values the reader refuses are found by halving, and come alone.

    Raises:
        DamagedError: something cannot be read, or more than `MOST_UNUSABLE` entries are refused.
    """
    row = refused = 0
    try:
        for events, refusal in _parts(file, inputs, size):
            yield Piece(row, events, refusal)
            row += len(events)
            refused += bool(refusal)
            if refused > MOST_UNUSABLE:
                raise DataError(refusal)
    except DataError as error:
        raise DamagedError(file, str(error)) from error


def _parts(file: Input, inputs: Inputs, size: int) -> Iterator[tuple[Events, str]]:
    """Yield rows, and why they were refused, if they were."""

    def read(low: int, high: int) -> Iterator[Events]:
        return inputs.reader.read(file.address, low, high, inputs.columns, size)

    def identity(low: int, high: int) -> Iterator[Events]:
        nothing: dict[str, list[str]] = {name: [] for name in inputs.columns or {}}
        return inputs.reader.read(file.address, low, high, nothing, size)

    entry, stop = 0, file.source.entries
    if inputs.reader.skip_bad and not inputs.entries_are_rows:
        # Rows do not tell how many entries were read, so it must be known beforehand.
        for low in range(0, stop, size):
            yield from _halved(read, identity, low, min(low + size, stop))
        return
    while entry < stop:
        try:
            for events in read(entry, stop):
                yield events, ""
                entry += len(events)
        except DataError as error:
            if entry >= stop or not (inputs.reader.skip_bad and _is_refusal(error)):
                raise
        else:
            return
        end = min(entry + size, stop)
        yield from _halved(read, identity, entry, end)
        entry = end


def _is_refusal(error: DataError) -> bool:
    """Tell values that were read and make no sense from what could not be read.

    Of the latter, the error of the library that failed is the cause.
    """
    return error.__cause__ is None and not isinstance(error, UnreachableError)


def _halved(read: _Read, identity: _Read, low: int, high: int) -> Iterator[tuple[Events, str]]:
    try:
        found = list(read(low, high))
    except DataError as error:
        if not _is_refusal(error):
            raise
        if high - low == 1:
            yield from ((events, str(error)) for events in identity(low, high))
            return
    else:
        yield from ((events, "") for events in found)
        return
    middle = (low + high) // 2
    yield from _halved(read, identity, low, middle)
    yield from _halved(read, identity, middle, high)
