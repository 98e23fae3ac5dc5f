"""Turn files into shards: read, select, write, and account for every event."""

from __future__ import annotations

import concurrent.futures as cf
import math
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from transferline import __version__
from transferline.data.card import DataCard, data_card_markdown
from transferline.data.claim import claim, working_in
from transferline.data.cutflow import Cutflow, Step
from transferline.data.duplicates import count_duplicates
from transferline.data.file_ledger import file_rows, write_ledger
from transferline.data.generated_files import check_together
from transferline.data.layouts.shard_directory import CARD_PAGE, FILES, move_in, remove_ours
from transferline.data.layouts.shards import CARD
from transferline.data.lumimask import LumiMask
from transferline.data.parts import (
    Ledger,
    Unit,
    ledger_path,
    make_part,
    read_unit_ledger,
    units_of,
)
from transferline.data.prepare_memory import memory_line
from transferline.data.readers.addresses import is_url, public_name
from transferline.data.readers.base import (
    DuplicateEventsWarning,
    Reader,
    Source,
    UncertifiedDataWarning,
    warn_missing,
    warn_skipped,
    warn_unmatched,
)
from transferline.data.selections import (
    AnySelection,
    JetSelection,
    Selection,
    needed_columns,
    shard_columns,
)
from transferline.data.survey import Failure, Survey, look, nothing_usable
from transferline.errors import ConfigError, DataError
from transferline.executors import each, given_or_new, result_of
from transferline.files import (
    LOCK,
    file_hash,
    json_hash,
    resolved,
    write_json,
    write_text,
)
from transferline.progress import progress, say
from transferline.stopping import stop_when

__all__ = ["DataCard", "data_card_markdown", "prepare"]

UNIT_SIZE = 200_000
CHUNK_SIZE = 25_000
_LOOKS = 8  # remote files that are looked at together: a look waits more than it works
LAYOUT = 2  # raise it when the same input would give other shards

T = TypeVar("T")
R = TypeVar("R")


def prepare(
    reader: Reader,
    selection: AnySelection,
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
        selection: objects and cuts, of events, of jets or of events of jets; columns that one of
            jets leaves open are those of the first file that can be read.
        out: directory of the shards; on a cluster it must be on a file system that all see.
        jobs: processes on this machine, if no `executor` is given.
        executor: any `concurrent.futures.Executor`, best one of `transferline.executors`; its
            workers must see the input files and `out` under the same paths.
        labels: event columns with one value for the whole sample, such as `{"signal": 1}`.
        sample: the user's name of the sample.
        cross_section_pb: of the sample; taken from the files' provenance if not given.
        overwrite: replace the data set that `out` holds; it stays whole until the new one is.
        unit_size: entries per unit; also bounds the memory.

    Raises:
        DataError: files are damaged, unreachable or lack a needed branch (without
            `reader.skip_bad`); the first pass over the files names all of them. Or no event
            passes the selection: then no shards are left behind.
        ConfigError: `out` holds foreign files, another data set, or one that lacks files which
            could not be read then and may be now; or the cross section is no number above 0; or
            generated files do not go together, see `check_together`.
    """
    if cross_section_pb is not None and not 0 < cross_section_pb < math.inf:
        raise ConfigError(f"a cross section of {cross_section_pb} pb: give a number above 0.")
    out, labels = resolved(out), dict(labels or {})
    listing = reader.listing()
    warn_unmatched(listing.unmatched)
    left_out = {public_name(path): why for path, why in listing.left_out.items()}
    if not listing.paths:
        raise nothing_usable([f"{path}: {why}" for path, why in left_out.items()])
    # Held longer than a pool of its own: workers that are stopped still write in `out`.
    with ExitStack() as held, given_or_new(executor, jobs) as pool:
        if not isinstance(selection, Selection):
            selection = selection.resolved(_offered(reader, listing.paths, pool, executor))
        survey = _survey(reader, listing.paths, needed_columns(selection), pool, executor)
        if isinstance(selection, Selection):
            survey = survey.requiring_any(selection.triggers, selection.name)
        survey.check(skip_bad=reader.skip_bad)
        check_together(survey.sources)
        job = _Job(reader, selection, labels, sample, cross_section_pb, unit_size)
        config_hash = job.digest(survey.sources)
        held.enter_context(working_in(out, survey.addresses.values()))
        place = claim(out, config_hash, survey.sources, overwrite)
        if isinstance(place, DataCard):
            return place
        units = units_of(survey, unit_size, config_hash)
        say(memory_line(reader, survey.sources, CHUNK_SIZE, jobs))
        ledgers, failures = _run(units, job, place, pool)
        failures = [*survey.failures, *failures]
        broken = {failure.path: failure.reason for failure in failures}
        used = [source for source in survey.sources if source.path not in broken]
        if not used:
            raise nothing_usable(list(broken.values()))
        warn_skipped(broken)
        warn_missing(Counter(name for source in used for name in source.missing), len(used))
        whole = [ledger for ledger in ledgers if ledger.unit["path"] not in broken]
        _check_some_passed(out, place, whole, selection)
        twice = count_duplicates(place, used, whole, of_jets=isinstance(selection, JetSelection))
        card = job.card(used, broken | left_out, whole, config_hash, twice)
        _warn(card, selection)
        write_ledger(place, file_rows(survey, failures, left_out, whole))
        _finish(place, units, card)
        if place != out:
            move_in(out)
    return card


@dataclass(frozen=True)
class _Job:
    """The arguments of `prepare` that determine the result."""

    reader: Reader
    selection: AnySelection
    labels: dict[str, float]
    sample: str
    cross_section_pb: float | None
    unit_size: int

    def digest(self, sources: Sequence[Source]) -> str:
        golden = self.selection.golden_json
        return json_hash(
            {
                "layout": LAYOUT,
                "reader": {**self.reader.content(), "files": []},
                "selection": self.selection.digest(),
                "golden_json": None if golden is None else _golden_hash(golden),
                "labels": self.labels,
                "sample": self.sample,
                "cross_section_pb": self.cross_section_pb,
                "unit_size": self.unit_size,
                "files": [source.stamp for source in sources],
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
            {"file": x.name, "rows": x.rows, "sha256": x.sha256, "size": x.size} for x in ledgers
        ]
        provenance = [s.provenance for s in sources if s.provenance is not None]
        # Older files of ours have the catalogue's, whatever LHE events they hold.
        told = [p for p in provenance if p.get("lhe_sha256") is None]
        alike = len({p.get("process") for p in told}) == 1 and len(told) == len(sources)
        square, columns = passed.sum_weight2, shard_columns(self.selection)
        return DataCard(
            sample=self.sample,
            version=__version__,
            n_events=passed.events,
            columns=list(columns.particles),
            context=list(columns.context),
            constituents=list(columns.constituents),
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
            cross_section_pb=_cross_section(self.cross_section_pb, provenance if alike else []),
            provenance=provenance,
        )


def _warn(card: DataCard, selection: AnySelection) -> None:
    """Point out what makes a sample wrong, though it can be made."""
    if not card.is_simulation and selection.golden_json is None:
        warnings.warn(
            "collision data without a golden JSON: blocks that CMS did not certify are kept.",
            UncertifiedDataWarning,
            stacklevel=3,
        )
    if card.duplicates:
        veto = " (`veto_triggers`)" if isinstance(selection, Selection) else ""
        other = (
            "a sample beside a longer one of its seed, or are there two processes, numbered alike"
            if card.is_simulation
            else f"do two primary data sets overlap{veto}"
        )
        warnings.warn(
            f"{card.duplicates} events have the run, luminosity block and event number of another "
            f"one: is a file given twice, or {other}?",
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
    """Return the user's value, or the one that all files, generated of one process, agree on."""
    if given is not None:
        return given
    stated = {(p.get("cross_section") or {}).get("pb") for p in provenance}
    return float(value) if len(stated) == 1 and (value := stated.pop()) is not None else None


def _each(pool: cf.Executor, function: Callable[[T], R], items: Sequence[T], label: str) -> list[R]:
    """Map in any order of completion, return in the order of `items`, show progress."""
    results: dict[int, R] = {}
    with progress(len(items), label) as ticker:

        def done(i: int, future: cf.Future[R]) -> None:
            results[i] = result_of(future)
            ticker.advance()

        each(pool, function, [(item,) for item in items], done)
    return [results[i] for i in range(len(items))]


def _offered(
    reader: Reader, paths: Sequence[str], pool: cf.Executor, given: cf.Executor | None
) -> Mapping[str, Sequence[str]]:
    """Return the columns of the first usable file; raises as `Survey.check` does."""
    try:
        return reader.offers(paths[0])
    except DataError:  # the survey names all such files, and asks slow servers together
        survey = _survey(reader, paths, {}, pool, given)
        survey.check(skip_bad=reader.skip_bad)
        return reader.offers(survey.addresses[survey.sources[0].path])


def _survey(
    reader: Reader,
    paths: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    pool: cf.Executor,
    given: cf.Executor | None,
) -> Survey:
    """Open every file once: entries, sums of weights, and whether the columns are there."""
    work = partial(look, reader=reader, columns=columns)
    if given is None and any(map(is_url, paths)):
        with _threads() as threads:
            return Survey.of(paths, _each(threads, work, paths, "files"))
    return Survey.of(paths, _each(pool, work, paths, "files"))


@contextmanager
def _threads() -> Iterator[cf.Executor]:
    """Yield threads that stop waiting for servers if the block ends by an exception."""
    give_up = threading.Event()
    with stop_when(give_up), cf.ThreadPoolExecutor(_LOOKS) as threads:
        try:
            yield threads
        except BaseException:
            give_up.set()
            raise


def _check_some_passed(
    out: Path, place: Path, ledgers: Sequence[Ledger], selection: AnySelection
) -> None:
    """Raise if there is no event; `place` is then left empty, or not at all."""
    if any(ledger.rows for ledger in ledgers):
        return
    remove_ours(place)
    (place / LOCK).unlink(missing_ok=True)
    if not any(place.iterdir()):
        place.rmdir()
    flow = sum((Cutflow.from_list(x.cutflow) for x in ledgers), Cutflow())
    fatal = next((i for i, step in enumerate(flow.steps) if not step.events), 0)
    if fatal == 0:
        raise DataError(f"{out}: not written, the files hold no event.")
    raise DataError(
        f"{out}: not written, no event passes the selection '{selection.name}': the cut "
        f"'{flow.steps[fatal].name}' removes the last {flow.steps[fatal - 1].events:,}.\n"
        f"{flow.render()}"
    )


def _run(
    units: Sequence[Unit], job: _Job, out: Path, pool: cf.Executor
) -> tuple[list[Ledger], list[Failure]]:
    """Do the units that are not finished; return all ledgers in order, and damaged files."""
    done = {unit.index: ledger for unit in units if (ledger := read_unit_ledger(out, unit))}
    work = partial(
        make_part,
        reader=job.reader,
        selection=job.selection,
        labels=job.labels,
        out=out,
        chunk_size=CHUNK_SIZE,
    )
    results = _each(pool, work, [unit for unit in units if unit.index not in done], "prepare")
    failed = {x.path: x for x in results if isinstance(x, Failure)}  # one per file
    done |= {x.unit["index"]: x for x in results if isinstance(x, Ledger)}
    return [done[index] for index in sorted(done)], list(failed.values())


def _finish(place: Path, units: Sequence[Unit], card: DataCard) -> None:
    """Remove what does not belong to the data set, then write the card: now it is one."""
    wanted = [part["file"] for part in card.parts]
    # Gone: parts of another configuration, and half-written ones.
    remove_ours(place, but=[*wanted, FILES, *(ledger_path(place, unit).name for unit in units)])
    write_text(place / CARD_PAGE, data_card_markdown(card))
    write_json(place / CARD, card.to_dict())
    for unit in units:
        ledger_path(place, unit).unlink(missing_ok=True)
