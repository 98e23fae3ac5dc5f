"""Turn files into shards: read, select, write, and account for every event."""

from __future__ import annotations

import concurrent.futures as cf
import multiprocessing
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from transferline import __version__
from transferline.data.card import DataCard, data_card_markdown, load_card
from transferline.data.cutflow import Cutflow, Step
from transferline.data.layouts.shards import CARD
from transferline.data.lumimask import LumiMask
from transferline.data.parts import (
    Failure,
    Ledger,
    Unit,
    ledger_path,
    make_part,
    part_hashes,
    read_ledger,
)
from transferline.data.readers.base import (
    DuplicateEventsWarning,
    Reader,
    Source,
    UncertifiedDataWarning,
    warn_missing,
    warn_skipped,
)
from transferline.data.selections import Selection, needed_columns
from transferline.data.selections.merge import OBJECT_COLUMNS
from transferline.errors import ConfigError, DataError
from transferline.files import file_hash, json_hash, write_json, write_text
from transferline.progress import progress

__all__ = ["DataCard", "data_card_markdown", "prepare"]

UNIT_SIZE = 200_000
CHUNK_SIZE = 25_000
_LAYOUT = 1  # raise it when the same input would give other shards

T = TypeVar("T")
R = TypeVar("R")


def prepare(
    reader: Reader,
    selection: Selection,
    out: Path,
    *,
    jobs: int = 1,
    executor: cf.Executor | None = None,
    labels: Mapping[str, float] | None = None,
    sample: str = "",
    cross_section_pb: float | None = None,
    overwrite: bool = False,
    unit_size: int = UNIT_SIZE,
) -> DataCard:
    """Apply `selection` to the files of `reader` and write shards and their card to `out`.

    One unit of work is an entry range of one file. Each unit writes its shard and a ledger
    atomically, so an interrupted call resumes where it stopped, and the result does not depend
    on the number of jobs. `card.json` is written last; without it `out` is not a data set.

    Args:
        reader: the input files.
        selection: objects and cuts.
        out: directory of the shards; on a cluster it must be on a file system that all see.
        jobs: processes on this machine, if no `executor` is given.
        executor: any `concurrent.futures.Executor`, for example Dask's; its workers must see
            the input files and `out` under the same (best absolute) paths.
        labels: event columns with one value for the whole sample, such as `{"signal": 1}`.
        sample: the user's name of the sample.
        cross_section_pb: of the sample; taken from the files' provenance if not given.
        overwrite: start anew if `out` holds something else.
        unit_size: entries per unit; also bounds the memory.

    Raises:
        DataError: a file is damaged (without `reader.skip_bad`) or lacks a needed branch.
        ConfigError: `out` holds another data set or foreign files.
    """
    out, labels = Path(out).resolve(), dict(labels or {})
    columns = needed_columns(selection)
    with _executor(jobs, executor) as pool:
        sources, skipped = _survey(reader, columns, pool)
        job = _Job(reader, selection, labels, sample, cross_section_pb, unit_size)
        config_hash = job.digest(sources)
        finished = _claim(out, config_hash, overwrite)
        if finished is not None:
            return finished
        units = _units(sources, unit_size, config_hash)
        ledgers, failed = _run(units, job, out, pool)
    skipped |= failed
    used = [source for source in sources if source.path not in failed]
    if not used:
        raise DataError("no usable file is left:\n  " + "\n  ".join(skipped.values()))
    warn_skipped(skipped)
    warn_missing(Counter(name for source in used for name in source.missing), len(used))
    whole = [ledger for ledger in ledgers if ledger.unit["path"] not in failed]
    card = job.card(used, skipped, whole, config_hash, _duplicates(out, whole))
    _warn(card, selection)
    _finish(out, units, card)
    return card


@dataclass(frozen=True)
class _Job:
    """The arguments of `prepare` that determine the result."""

    reader: Reader
    selection: Selection
    labels: dict[str, float]
    sample: str
    cross_section_pb: float | None
    unit_size: int

    def digest(self, sources: Sequence[Source]) -> str:
        golden = self.selection.golden_json
        return json_hash(
            {
                "layout": _LAYOUT,
                "reader": {**self.reader.to_dict(), "files": []},
                "selection": self.selection.digest(),
                "golden_json": None if golden is None else _golden_hash(golden),
                "labels": self.labels,
                "sample": self.sample,
                "cross_section_pb": self.cross_section_pb,
                "unit_size": self.unit_size,
                "files": [[s.path, s.entries, s.size, s.mtime_ns] for s in sources],
            }
        )

    def card(
        self,
        sources: Sequence[Source],
        skipped: dict[str, str],
        ledgers: Sequence[Ledger],
        config_hash: str,
        duplicates: int,
    ) -> DataCard:
        passed = sum((Step(**x.passed) for x in ledgers), Step("passed", 0, 0.0, 0.0))
        cutflow = sum((Cutflow.from_list(x.cutflow) for x in ledgers), Cutflow())
        rows = Counter[str]()
        for ledger in ledgers:
            rows[ledger.unit["path"]] += ledger.rows
        parts = [
            {"file": Unit(**x.unit).name, "rows": x.rows, "sha256": x.sha256, "size": x.size}
            for x in ledgers
        ]
        provenance = [s.provenance for s in sources if s.provenance is not None]
        square = passed.sum_weight2
        return DataCard(
            sample=self.sample,
            version=__version__,
            n_events=passed.events,
            columns=list(OBJECT_COLUMNS),
            context=[],
            labels=self.labels,
            selection=self.selection.to_dict(),
            selection_hash=self.selection.digest(),
            reader=self.reader.to_dict(),
            is_simulation=sources[0].is_simulation,
            files=[{**s.to_dict(), "passed": rows[s.path]} for s in sources],
            skipped=skipped,
            count=_total([s.count for s in sources]),
            sum_weight=_total([s.sum_weight for s in sources]),
            sum_weight2=_total([s.sum_weight2 for s in sources]),
            cutflow=cutflow.to_list(),
            n_eff=passed.sum_weight**2 / square if square else 0.0,
            negative_fraction=sum(x.negative for x in ledgers) / max(passed.events, 1),
            capped=sum(x.capped for x in ledgers),
            duplicates=duplicates,
            parts=parts,
            content_hash=json_hash([part["sha256"] for part in parts]),
            config_hash=config_hash,
            cross_section_pb=_cross_section(self.cross_section_pb, provenance),
            provenance=provenance,
        )


def _duplicates(out: Path, ledgers: Sequence[Ledger]) -> int:
    """Count the events whose identity is in the shards already."""
    hashes = [part_hashes(out / Unit(**ledger.unit).name) for ledger in ledgers]
    joined = np.concatenate([np.empty(0, np.uint64), *hashes])
    return len(joined) - len(np.unique(joined))


def _warn(card: DataCard, selection: Selection) -> None:
    """Point out what makes a sample wrong, though it can be made."""
    if not card.is_simulation and selection.golden_json is None:
        warnings.warn(
            "collision data without a golden JSON: blocks that CMS did not certify are kept.",
            UncertifiedDataWarning,
            stacklevel=3,
        )
    if card.duplicates:
        warnings.warn(
            f"{card.duplicates} events have the run, luminosity block and event number of another "
            "one: is a file given twice, or do two primary data sets overlap (`veto_triggers`)?",
            DuplicateEventsWarning,
            stacklevel=3,
        )


def _golden_hash(path: str) -> str:
    LumiMask.read(path)  # a bad file must stop us before the work, not in the middle of it
    return file_hash(Path(path))


def _total(values: Sequence[Any]) -> Any:
    """Add up; one unknown makes the sum unknown."""
    return None if any(value is None for value in values) else sum(values)


def _cross_section(given: float | None, provenance: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the user's value, or the one that all generated files agree on."""
    if given is not None:
        return given
    stated = {(p.get("cross_section") or {}).get("pb") for p in provenance}
    return float(value) if len(stated) == 1 and (value := stated.pop()) is not None else None


@contextmanager
def _executor(jobs: int, given: cf.Executor | None) -> Iterator[cf.Executor | None]:
    """Yield the user's executor, a process pool of our own, or None for this process."""
    if given is not None or jobs <= 1:
        yield given
        return
    # A forked child of a process with threads (Arrow, OpenMP) can hang: start afresh.
    context = multiprocessing.get_context("spawn")
    with cf.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield pool


def _each(
    pool: cf.Executor | None, function: Callable[[T], R], items: Sequence[T], label: str
) -> list[R]:
    """Map in any order of completion, return in the order of `items`, show progress."""
    with progress(len(items), label) as ticker:
        results: dict[int, R] = {}
        if pool is None:
            for i, item in enumerate(items):
                results[i] = function(item)
                ticker.advance()
        else:
            futures = {pool.submit(function, item): i for i, item in enumerate(items)}
            try:
                for future in cf.as_completed(futures):
                    results[futures[future]] = future.result()
                    ticker.advance()
            finally:
                for future in futures:
                    future.cancel()
    return [results[i] for i in range(len(items))]


def _look(path: str, reader: Reader, columns: Mapping[str, Sequence[str]]) -> Source | Failure:
    try:
        return reader.source(path, columns)
    except DataError as error:
        if not reader.skip_bad:
            raise
        return Failure(path, str(error))


def _survey(
    reader: Reader, columns: Mapping[str, Sequence[str]], pool: cf.Executor | None
) -> tuple[list[Source], dict[str, str]]:
    """Open every file once: entries, sums of weights, and whether the columns are there."""
    look = partial(_look, reader=reader, columns=columns)
    found = _each(pool, look, reader.paths(), "files")
    sources = [x for x in found if isinstance(x, Source)]
    skipped = {x.path: x.reason for x in found if isinstance(x, Failure)}
    if not sources:
        raise DataError("no usable file is left:\n  " + "\n  ".join(skipped.values()))
    kinds = {s.is_simulation: s.path for s in sources}
    if len(kinds) > 1:
        raise DataError(
            f"{kinds[True]} is simulation and {kinds[False]} collision data: "
            "prepare them as two samples."
        )
    return sources, skipped


def _units(sources: Sequence[Source], size: int, config_hash: str) -> list[Unit]:
    ranges = [
        (s, low, min(low + size, s.entries))
        for s in sources
        for low in range(0, max(s.entries, 1), size)
    ]
    return [
        Unit(i, s.path, low, high, s.is_simulation, config_hash)
        for i, (s, low, high) in enumerate(ranges)
    ]


def _claim(out: Path, config_hash: str, overwrite: bool) -> DataCard | None:
    """Make `out` ours; return its card if exactly this has been prepared there already."""
    if out.is_file():
        raise ConfigError(f"{out}: is a file; the shards need a directory of their own.")
    out.mkdir(parents=True, exist_ok=True)
    ours = [p for p in out.iterdir() if _is_ours(p)]
    foreign = [p.name for p in out.iterdir() if not _is_ours(p)]
    if foreign:
        raise ConfigError(f"{out}: holds other files ({foreign[0]}); choose a new directory.")
    if (out / CARD).exists() and not overwrite:
        card = load_card(out)
        if card.config_hash == config_hash:
            return card
        raise ConfigError(
            f"{out}: holds another data set ('{card.sample}', {card.n_events} events, selection "
            f"'{card.selection.get('name')}'). Choose a new directory, or overwrite it."
        )
    if overwrite:
        # The card goes first: from now on the directory is not a data set.
        for path in sorted(ours, key=lambda p: p.name != CARD):
            path.unlink()
    return None


def _is_ours(path: Path) -> bool:
    return path.name.lstrip(".").startswith(("part-", "card."))


def _run(
    units: Sequence[Unit], job: _Job, out: Path, pool: cf.Executor | None
) -> tuple[list[Ledger], dict[str, str]]:
    """Do the units that are not finished; return all ledgers in order, and damaged files."""
    done = {unit.index: ledger for unit in units if (ledger := read_ledger(out, unit))}
    work = partial(
        make_part,
        reader=job.reader,
        selection=job.selection,
        labels=job.labels,
        out=out,
        chunk_size=CHUNK_SIZE,
    )
    results = _each(pool, work, [unit for unit in units if unit.index not in done], "prepare")
    failed = {x.path: x.reason for x in results if isinstance(x, Failure)}
    done |= {x.unit["index"]: x for x in results if isinstance(x, Ledger)}
    return [done[index] for index in sorted(done)], failed


def _finish(out: Path, units: Sequence[Unit], card: DataCard) -> None:
    """Remove what does not belong to the data set, then write the card: now it is one."""
    wanted = {part["file"] for part in card.parts}
    wanted |= {ledger_path(out, unit).name for unit in units}
    for path in out.iterdir():
        if path.name not in wanted:  # parts of another configuration, and half-written ones
            path.unlink()
    write_text(out / "card.md", data_card_markdown(card))
    write_json(out / CARD, card.to_dict())
    for unit in units:
        ledger_path(out, unit).unlink(missing_ok=True)
