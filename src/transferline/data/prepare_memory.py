"""What `prepare` takes at most, told before it reads: how much depends on the entries of a step."""

from __future__ import annotations

from collections.abc import Sequence

from transferline.data.readers.base import Reader, Source

_PROCESS = 130e6  # bytes of Python and its libraries
_UNPACKED = 16  # bytes of arrays, at their most, per byte of a file; 10 to 13 were measured


def prepare_memory(sources: Sequence[Source], step: int) -> float | None:
    """Return the bytes that one process takes at most, about; None if files tell no size.

    Selected events wait on disk, so neither the size of a file nor the number of files enters.
    """
    if any(source.size is None for source in sources):
        return None
    densest = max(
        (source.size or 0) / max(source.entries, 1) * min(source.entries, step)
        for source in sources
    )
    return _PROCESS + _UNPACKED * densest


def memory_line(reader: Reader, sources: Sequence[Source], chunk_size: int, jobs: int) -> str:
    """Return the line for people."""
    step = min(reader.step, chunk_size)
    at_a_time = f"prepare: {step:,} entries are read at a time"
    size = prepare_memory(sources, step)
    if size is None:
        return f"{at_a_time}."
    processes = f", {jobs} processes" if jobs > 1 else ""
    return f"{at_a_time}, at most about {size / 1e6:,.0f} MB of memory per process{processes}."
