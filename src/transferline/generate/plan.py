"""A sample in blocks: which are still to be made, and making them on an executor."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import uproot

from transferline.errors import DataError
from transferline.executors import each, given_or_new, result_of
from transferline.files import wait_for_files
from transferline.generate.block_files import BlockCount, read_count
from transferline.progress import progress


class Determined(Protocol):
    """Everything that determines the content of a sample, apart from its size."""

    @property
    def hash(self) -> str:
        """SHA-256 over all of it."""

    @property
    def block_size(self) -> int:
        """Largest size of a block."""


C = TypeVar("C", bound=Determined)
MakeBlock = Callable[[C, int, int, str], BlockCount]
"""From configuration, number of the block, its size and its file to its sums."""


@dataclass(frozen=True)
class Plan(Generic[C]):
    """`n` events (or jets) in blocks, whose files are kept in the directory `parts`."""

    configuration: C
    n: int
    parts: Path

    @property
    def sizes(self) -> list[int]:
        """Size of every block."""
        size = self.configuration.block_size
        return [min(size, self.n - first) for first in range(0, self.n, size)]

    def path(self, block: int) -> Path:
        """File of one block."""
        return self.parts / f"block-{block:05d}.npz"

    def paths(self) -> list[Path]:
        """Files of all blocks, once this machine sees them."""
        paths = [self.path(block) for block in range(len(self.sizes))]
        wait_for_files(paths)
        return paths

    def missing(self) -> list[int]:
        """Blocks still to be made; DataError if parts of another sample are in the way."""
        result = []
        for block, size in enumerate(self.sizes):
            path = self.path(block)
            if not path.exists():
                result.append(block)
                continue
            count, owner = read_count(path)
            if owner != self.configuration.hash:
                raise DataError(
                    f"{self.parts} holds blocks of another configuration (process, seed, settings "
                    "or version). Remove that directory, or choose another output file."
                )
            if count.asked != size:
                result.append(block)
        return result

    def make(
        self, make_block: MakeBlock[C], label: str, jobs: int, executor: futures.Executor | None
    ) -> None:
        """Make the blocks that are missing; says how to resume when it is interrupted."""
        try:
            self._make(make_block, label, jobs, executor)
        except KeyboardInterrupt:
            sys.stderr.write(
                f"\nStopped. Finished blocks are in {self.parts}; repeat the command to resume.\n"
            )
            raise

    def _make(
        self, make_block: MakeBlock[C], label: str, jobs: int, executor: futures.Executor | None
    ) -> None:
        missing, sizes = self.missing(), self.sizes
        ready = self.n - sum(sizes[b] for b in missing)
        self.parts.mkdir(parents=True, exist_ok=True)
        calls = [(self.configuration, b, sizes[b], str(self.path(b).absolute())) for b in missing]
        shown = progress(self.n, label, done=ready)
        with shown as ticker, given_or_new(executor, jobs) as pool:

            def done(i: int, future: futures.Future[BlockCount]) -> None:
                result_of(future)
                ticker.advance(sizes[missing[i]])

            each(pool, make_block, calls, done)

    def finished(
        self, out: Path, provenance: Callable[[Path], dict[str, Any]]
    ) -> dict[str, Any] | None:
        """Provenance of `out` if it is the sample asked for; DataError if it is something else."""
        if not out.exists():
            return None
        try:
            found = provenance(out)
            kept = found["configuration"], found["n"]
            what = f"{found['process']}, n = {found['n']}, seed = {found['seed']}"
        except (OSError, ValueError, KeyError, uproot.DeserializationError) as error:
            raise DataError(
                f"{out} exists and is not a generated sample: remove it first."
            ) from error
        if kept != (self.configuration.hash, self.n):
            raise DataError(
                f"{out} exists and was generated differently ({what}). Remove it, or choose "
                "another output file."
            )
        return found
