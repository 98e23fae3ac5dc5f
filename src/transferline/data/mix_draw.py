"""Drawing a mixture: which process comes next, and which of its events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transferline.data.layouts.shards import shard_schema
from transferline.data.mix_members import Member, Rows
from transferline.errors import DataError

Processes = NDArray[np.uint16]

_CHUNK = 1 << 20
_SEQUENCE, _MEMBER = 0, 1  # streams of random numbers


def _random(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *key])))


def process_sequence(
    shares: NDArray[np.float64], available: NDArray[np.int64], seed: int, n: int | None = None
) -> Processes:
    r"""Draw the process of every event, each by itself: $P(i) = s_i / \sum_j s_j$.

    The sequence goes on until a process is wanted of which no event is left, or until there are
    `n`. It depends on nothing but shares and seed up to there, so that a short one is the
    beginning of every longer one.

    Args:
        shares: `[m]`, those of the processes, in any unit.
        available: `[m]`, their events.
        seed: of the draws.
        n: length that suffices.

    Returns:
        `[n]` or shorter, number of the process of each event.
    """
    ends = np.cumsum(shares, dtype=np.float64)
    ends /= ends[-1]
    random, left = _random(seed, _SEQUENCE), np.array(available, np.int64)
    pieces: list[Processes] = []
    # One more than there are cannot be had.
    missing = int(left.sum()) + 1 if n is None else n
    while missing > 0:
        numbers = random.random(min(missing, _CHUNK))
        drawn = np.searchsorted(ends, numbers, side="right").astype(np.uint16)
        suffices = _suffices(drawn, left)
        pieces.append(drawn[:suffices])
        if suffices < len(drawn):
            break
        left -= np.bincount(drawn, minlength=len(left))
        missing -= len(drawn)
    return np.concatenate([np.empty(0, np.uint16), *pieces])


def _suffices(drawn: Processes, left: NDArray[np.int64]) -> int:
    """Return how many of the draws can be had."""
    stop = len(drawn)
    for number, n in enumerate(left.tolist()):
        places = np.flatnonzero(drawn == number)
        if len(places) > n:
            stop = min(stop, int(places[n]))
    return stop


class MemberDraw:
    """The events of one member in a seeded order, each handed out once.

    Rows are numbers in memory, 8 bytes per event; what they hold stays in the map of the files
    until it is taken.
    """

    def __init__(self, member: Member, number: int, seed: int) -> None:
        """Unweight and shuffle.

        Args:
            member: whose events.
            number: of the member in the mixture; each has its own random numbers.
            seed: of the mixture.
        """
        random = _random(seed, _MEMBER, number)
        self.member = member
        self.rows: Rows = random.permutation(member.unweighted(random))
        self._used = 0
        self._batches = _batches(member)
        sizes = [batch.num_rows for batch in self._batches]
        self._starts = np.cumsum([0, *sizes], dtype=np.int64)
        self._schema = stored_schema(member)

    @property
    def available(self) -> int:
        """Events that can be drawn."""
        return len(self.rows)

    @property
    def drawn(self) -> Rows:
        """Rows that have been handed out."""
        return self.rows[: self._used]

    def next(self, n: int) -> Rows:
        """Hand out the next `n` rows, in their random order."""
        rows = self.rows[self._used : self._used + n]
        self._used += n
        return rows

    def take(self, rows: Rows) -> pa.Table:
        """Return the events in these rows, with weight one and without labels.

        The rows must rise, so that neighbours on the disk are read together.
        """
        bounds = np.searchsorted(rows, self._starts)
        names = self._schema.names
        taken = [
            batch.select(names).take(pa.array(rows[low:high] - start))
            for batch, start, low, high in zip(
                self._batches, self._starts[:-1], bounds[:-1], bounds[1:], strict=True
            )
            if high > low
        ]
        batches = [pa.RecordBatch.from_arrays(b.columns, schema=self._schema) for b in taken]
        table = pa.Table.from_batches(batches, self._schema)
        place = self._schema.get_field_index("weight")
        return table.set_column(place, self._schema.field(place), pa.array(np.ones(len(rows))))


def stored_schema(member: Member) -> pa.Schema:
    """Return the schema of the mixture's shards: that of the member's without its labels."""
    return shard_schema(member.card.columns, member.card.context)


def _batches(member: Member) -> list[pa.RecordBatch]:
    """Map the files of a member, which have been verified."""
    batches: list[pa.RecordBatch] = []
    for part in member.card.parts:
        file = pa.ipc.open_file(pa.memory_map(str(member.path / part["file"]), "r"))
        batches += [file.get_batch(i) for i in range(file.num_record_batches)]
    return batches


def draw_members(
    members: list[Member], n: int | None, seed: int
) -> tuple[Processes, list[MemberDraw]]:
    """Return the process of every event, and the members to take it from.

    Raises:
        DataError: there are no `n` events, or none at all; names the process that runs out.
    """
    draws = [MemberDraw(member, number, seed) for number, member in enumerate(members)]
    shares = np.array([member.visible_pb for member in members])
    available = np.array([draw.available for draw in draws])
    sequence = process_sequence(shares, available, seed, n)
    if (n is not None and len(sequence) < n) or not len(sequence):
        raise _scarce(draws, shares, sequence, n or 1)
    return sequence, draws


def _scarce(
    draws: list[MemberDraw], shares: NDArray[np.float64], sequence: Processes, n: int
) -> DataError:
    """Blame the process of which all events are drawn, and the most are missing."""
    counts = np.bincount(sequence, minlength=len(draws))
    wanted = n * shares / shares.sum()
    lack: list[Any] = [
        want / max(draw.available, 1) if count == draw.available else 0.0
        for draw, count, want in zip(draws, counts, wanted, strict=True)
    ]
    number = int(np.argmax(lack))
    draw = draws[number]
    return DataError(
        f"{draw.member.path}: has {draw.available:,} events of '{draw.member.name}' to draw from"
        f"{_cost(draw)}; a mixture of {n:,} takes about {wanted[number]:,.0f}. Generate more of "
        f"it, or draw at most {len(sequence):,}."
    )


def _cost(draw: MemberDraw) -> str:
    lost = draw.member.selected - draw.available
    return f" ({lost:,} more went into unweighting)" if lost else ""
