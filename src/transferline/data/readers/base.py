"""The contract of all readers: named files in one format in, `Events` out."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_serializer

from transferline.config import Recipe
from transferline.data.events import Events
from transferline.data.readers.addresses import is_url, public_name
from transferline.data.readers.file_list import FileList, list_files
from transferline.data.readers.patience import DEFAULT_PATIENCE, Patience, UnreachableError
from transferline.errors import DataError

Columns = Mapping[str, Sequence[str]]
"""Collection -> columns; the collection `context` holds the per-event scalars. `label` of a reader
of jets names labels that must be there: `Events.labels` has all of them in any case."""

CHUNK_SIZE = 50_000


class MissingBranchWarning(UserWarning):
    """Triggers or filters that were asked for are not in some files."""


class SkippedFileWarning(UserWarning):
    """Damaged or unreachable files were left out because `skip_bad` allows it."""


class UnmatchedSkipWarning(UserWarning):
    """Entries of a skip list name none of the files."""


class DuplicateEventsWarning(UserWarning):
    """Some events are in a sample more than once."""


class UncertifiedDataWarning(UserWarning):
    """Collision data were selected without a golden JSON."""


@dataclass(frozen=True)
class Source:
    """One input file as it stands; a row of the data card's ledger.

    Attributes:
        path: as the user named it; a URL without its query, which may hold a key.
        entries: number of events.
        size, mtime_ns, etag: to notice that the file changed; None where a server does not tell.
        format: such as "NanoAODv9".
        is_simulation: True if the file holds generator weights.
        count, sum_weight, sum_weight2: events and (squared) weights before any cut; the sums
            are None where the file does not tell them.
        missing: triggers and filters that were asked for and are not there.
        provenance: what the program that made the file wrote about it, or None.
    """

    path: str
    entries: int
    format: str
    is_simulation: bool
    size: int | None = None
    mtime_ns: int | None = None
    count: int | None = None
    sum_weight: float | None = None
    sum_weight2: float | None = None
    missing: tuple[str, ...] = ()
    provenance: dict[str, Any] | None = None
    etag: str | None = None

    @property
    def stamp(self) -> list[Any]:
        """What differs when the file is another one."""
        return [self.path, self.entries, *self.file_stamp]

    @property
    def file_stamp(self) -> list[Any]:
        """The part of `stamp` that can be had without opening the file."""
        told = [self.size, self.mtime_ns]
        return told if self.etag is None else [*told, self.etag]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "missing": list(self.missing)}


def unit_sums(entries: int) -> dict[str, Any]:
    """Return the sums of a `Source` whose entries all have weight one and were never cut."""
    return {"count": entries, "sum_weight": float(entries), "sum_weight2": float(entries)}


class Reader(Recipe, ABC):
    """Frozen description of named files in one format; no physics choices, bounded memory.

    Attributes:
        kind: name in the table `READERS`.
        files: paths and URLs; `*`, `?` and `[...]` of paths are expanded and sorted; `@list.txt`
            stands for the lines of a text file.
        skip_bad: leave damaged and unreachable files out, with a warning, instead of raising.
        skip: files that are known to be bad, spelled as in `files`; a path that ends so is left
            out. In a text list, the comment behind ` #` is the reason.
        step: entries that `read` holds in memory at a time, at most.
    """

    step: ClassVar[int] = CHUNK_SIZE

    kind: str
    files: list[str] = Field(min_length=1)
    skip_bad: bool = False
    skip: list[str] = Field(default_factory=list)

    @field_serializer("files", "skip", when_used="json")
    def _without_secrets(self, names: list[str]) -> list[str]:
        return [public_name(name) for name in names]

    @property
    def patience(self) -> Patience:
        """How servers that fail are dealt with."""
        return DEFAULT_PATIENCE

    def content(self) -> dict[str, Any]:
        """Return the recipe without what changes no event: how to deal with bad servers."""
        how = {"retries", "timeout_s", "retry_wait_s", "skip"}
        return {key: value for key, value in self.to_dict().items() if key not in how}

    @abstractmethod
    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that one file has."""

    @abstractmethod
    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Open one file and describe it; raises DataError if it cannot give `columns`."""

    @abstractmethod
    def read(
        self,
        path: str,
        start: int,
        stop: int,
        columns: Columns | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[Events]:
        """Yield the entries `start` to `stop` (excluded) of one file, `chunk_size` at a time."""

    def listing(self) -> FileList:
        """Return the files to read, those to leave out, and entries of `skip` without a file.

        Raises:
            DataError: a wildcard matches nothing.
            ConfigError: a list of files cannot be read, or a URL has a wildcard.
        """
        return list_files(self.files, self.skip)

    def paths(self) -> list[str]:
        """Return the files to read, each once, in order; raises as `listing` does."""
        return self.listing().paths

    def columns(self) -> dict[str, list[str]]:
        """Return collection -> columns that the first usable file offers."""
        for path in self.paths():
            try:
                return self.offers(path)
            except DataError:
                if not self.skip_bad:
                    raise
        names = ", ".join(map(public_name, self.files[:8]))
        raise DataError(f"none of the {len(self.paths())} files can be read: {names}.")

    def chunks(
        self, columns: Columns | None = None, chunk_size: int = CHUNK_SIZE
    ) -> Iterator[Events]:
        """Yield all events of all files in order; `columns=None` reads all of `columns()`.

        Joined together, the chunks do not depend on `chunk_size`. At the end, one warning each
        counts the files that were skipped and the triggers or filters that were missing.

        Raises:
            DataError: a file is damaged (without `skip_bad`) or lacks a column. Damage found
                behind the first chunk of a file is raised even with `skip_bad`, because that
                chunk cannot be taken back; `prepare` leaves such files out as a whole.
        """
        listing = self.listing()
        warn_unmatched(listing.unmatched)
        wanted = self.columns() if columns is None else columns
        missing: Counter[str] = Counter()
        skipped: dict[str, str] = {}
        for path in listing.paths:
            try:
                source = self.source(path, wanted)
            except DataError as error:
                if not self.skip_bad:
                    raise
                skipped[path] = str(error)
                continue
            missing.update(source.missing)
            yield from self.read(path, 0, source.entries, wanted, chunk_size)
        warn_skipped(skipped)
        warn_missing(missing, len(listing.paths) - len(skipped))


def warn_unmatched(entries: Sequence[str]) -> None:
    """Warn once about entries of a skip list that match no file."""
    if entries:
        warnings.warn(
            f"entries of the skip list that match none of the files: "
            f"{first_rows(entries, 5, ', ')}",
            UnmatchedSkipWarning,
            stacklevel=3,
        )


def first_rows(rows: Sequence[str], limit: int = 8, joint: str = "\n  ") -> str:
    """Return the first rows joined, and how many more there are."""
    more = [f"... and {len(rows) - limit} more"] if len(rows) > limit else []
    return joint.join([*rows[:limit], *more])


def warn_missing(missing: Mapping[str, int], n_files: int) -> None:
    """Warn once about the branches in `missing` (name -> number of files without it)."""
    if missing:
        rows = ", ".join(f"{name} ({n} of {n_files} files)" for name, n in missing.items())
        warnings.warn(
            f"missing triggers count as not fired, missing filters as passed: {rows}.",
            MissingBranchWarning,
            stacklevel=3,
        )


def warn_skipped(skipped: Mapping[str, str]) -> None:
    """Warn once about the files in `skipped` (path -> reason)."""
    if skipped:
        warnings.warn(
            f"{len(skipped)} damaged or unreachable files left out:\n  "
            f"{first_rows(list(skipped.values()))}",
            SkippedFileWarning,
            stacklevel=3,
        )


def file_status(path: str) -> tuple[int | None, int | None]:
    """Return (size, mtime in ns) of a local file, (None, None) for a URL.

    Raises:
        DataError: there is no such file, or it is empty or a directory.
    """
    if is_url(path):
        return None, None
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UnreachableError(f"{path}: cannot be opened ({error.strerror}).") from error
    if Path(path).is_dir():
        raise DataError(f"{path}: is a directory, not a file.")
    if status.st_size == 0:
        raise DataError(f"{path}: is empty (0 bytes).")
    return status.st_size, status.st_mtime_ns
