"""Opening ROOT files so that every kind of damage gets one clear error naming the file."""

from __future__ import annotations

import difflib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import uproot
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from transferline.data.readers.addresses import is_url, public_name, without_secrets
from transferline.data.readers.base import Reader, file_status
from transferline.data.readers.patience import DEFAULT_PATIENCE, Patience, UnreachableError
from transferline.data.readers.remote import open_remote, status_of
from transferline.data.readers.remote_source import RemoteSource
from transferline.data.readers.status import FileStatus
from transferline.errors import DataError, TransferlineError, shortened
from transferline.files import parse_json

PROVENANCE_KEY = "transferline"
_HEADER = 24  # bytes
_PACKAGE = Path(__file__).parents[2]


class RootReader(Reader):
    """A reader of ROOT files, local or remote.

    Attributes:
        retries: further attempts where a server is busy, silent or lets go; what is refused or
            not there fails at once.
        timeout_s: a server that sends nothing for so long has failed.
        retry_wait_s: before the first retry; doubled for every further one.
    """

    retries: int = Field(4, ge=0)
    timeout_s: float = Field(30.0, gt=0)
    retry_wait_s: float = Field(1.0, ge=0)

    @property
    def patience(self) -> Patience:
        """How servers that fail are dealt with."""
        return Patience(self.retries, self.timeout_s, self.retry_wait_s)


@contextmanager
def open_root(path: str, patience: Patience = DEFAULT_PATIENCE) -> Iterator[Any]:
    """Yield an open uproot file; a path or any URL.

    Raises:
        DataError: the file is missing, empty, not ROOT, truncated, or fails while it is read.
        ConfigError: nothing is installed that reads such URLs.
    """
    name = public_name(path)
    try:
        # Nothing is read twice: a cache of arrays would only hold up to 100 MB.
        with (
            _remote_source(path, patience) if is_url(path) else _local_source(path) as source,
            uproot.open({name: None}, array_cache=None, **source) as file,
        ):
            yield file
    except TransferlineError:
        raise
    except MemoryError as error:  # the machine's, or the file states a length that cannot be
        raise UnreachableError(f"{name}: cannot be read now (memory ran out: {error}).") from error
    except Exception as error:  # uproot raises many kinds on damage: all mean "cannot be read"
        if _raised_by_us(error):
            raise
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not the file's
            why = os.strerror(error.errno)
            raise UnreachableError(f"{name}: cannot be read now ({why}).") from error
        text = without_secrets(str(error).strip(), path)
        first = text.splitlines()[0] if text else ""
        raise DataError(
            f"{name}: cannot be read, it is damaged or unreachable "
            f"({type(error).__name__}: {first[:160]})."
        ) from error


def _raised_by_us(error: Exception) -> bool:
    """Tell whether the error began in our code: then it is a bug of ours, not damage."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(_PACKAGE) in frame.tb_frame.f_code.co_filename


@contextmanager
def _local_source(path: str) -> Iterator[dict[str, Any]]:
    size, _ = file_status(path)
    assert size is not None  # a local file has one
    try:
        with Path(path).open("rb") as handle:
            head = handle.read(_HEADER)
    except OSError as error:
        raise UnreachableError(f"{path}: cannot be opened ({error.strerror}).") from error
    _check_header(path, head, size)
    yield {}


@contextmanager
def _remote_source(path: str, patience: Patience) -> Iterator[dict[str, Any]]:
    with closing(open_remote(path, patience)) as remote:
        size = remote.status.size
        _check_header(remote.name, remote.read(0, min(_HEADER, size)), size)
        yield {"handler": RemoteSource, "remote": remote}


def opened_status(file: Any, path: str) -> FileStatus:
    """Return size, time and tag of the file that `open_root` opened, without asking again."""
    source = file.file.source
    if isinstance(source, RemoteSource):
        return source.remote.status
    return status_of(path, DEFAULT_PATIENCE)


def _check_header(name: str, head: bytes, size: int) -> None:
    """Compare the file's length with the end of file that its own header states (fEND)."""
    if size == 0:
        raise DataError(f"{name}: is empty (0 bytes).")
    if head[:4] != b"root":
        hint = " A web page came instead: must you log in?" if _is_page(head) else ""
        if head[:4] == b"PAR1":
            hint = " It is a Parquet file: jets of JetClass-II are read by --reader jetclass2."
        raise DataError(f"{name}: is not a ROOT file (it does not begin with 'root').{hint}")
    if len(head) < _HEADER:
        raise DataError(f"{name}: is truncated ({size} bytes, not even a whole header).")
    (version,) = struct.unpack(">i", head[4:8])
    (end,) = (
        struct.unpack(">q", head[12:20])
        if version >= 1_000_000
        else struct.unpack(">i", head[12:16])
    )
    if size < end:
        raise DataError(
            f"{name}: is truncated, {size} of {end} bytes are there. Copy or generate it again."
        )


def _is_page(head: bytes) -> bool:
    return head.lstrip().lower().startswith((b"<!doctype", b"<html"))


def open_tree(file: Any, path: str, name: str) -> Any:
    """Return the tree `name`; raises DataError that lists the trees the file has instead."""
    classes = file.classnames(cycle=False)
    if not is_tree(classes.get(name, "")):
        raise DataError(f"{path}: has no tree '{name}'; it holds {describe_keys(classes)}.")
    return file[name]


def iterated(
    tree: Any, branches: Sequence[str], start: int, stop: int, step: int
) -> Iterator[dict[str, Any]]:
    """Yield branch -> array for `step` entries at a time, from `start` to `stop`.

    Not one `arrays` per chunk: `iterate` keeps the basket that reaches into the next.
    """
    yield from tree.iterate(
        list(branches), entry_start=start, entry_stop=stop, step_size=step, how=dict
    )


def is_tree(kind: str) -> bool:
    """Tell whether a class of ROOT is one that holds events."""
    return kind == "TTree" or "RNTuple" in kind


def describe_keys(classes: dict[str, str]) -> str:
    """Return "'name' (class), ..." of the objects in a file."""
    rows = [f"'{name}' ({kind})" for name, kind in classes.items()]
    return ", ".join(rows[:8]) + (" ..." if len(rows) > 8 else "") if rows else "nothing"


def missing_branches(
    path: str,
    lacking: Sequence[tuple[Sequence[str], str]],
    branches: Iterable[str],
    where: str = "tree 'Events'",
) -> str:
    """Return the text of the error about required branches that are not there.

    Args:
        path: the file.
        lacking: names that one branch can have, and what it is needed for.
        branches: those that the file has; the nearest are suggested.
        where: what of the file was looked at.
    """
    known = list(branches)
    rows = []
    for names, what in lacking:
        near = [match for name in names for match in difflib.get_close_matches(name, known, 3, 0.5)]
        hint = f" Nearest: {', '.join(dict.fromkeys(near))}." if near else ""
        rows.append(f"no branch {' or '.join(names)} ({what}).{hint}")
    return f"{path}: {where} has " + "\n  ".join(rows)


def read_provenance(file: Any, path: str) -> dict[str, Any] | None:
    """Return the JSON object that our writers leave in the file, or None."""
    if PROVENANCE_KEY not in file.keys(cycle=False):
        return None
    where = f"{path}: its '{PROVENANCE_KEY}' string"
    value = parse_json(str(file[PROVENANCE_KEY]), where)
    if not isinstance(value, dict):
        return None
    try:
        _MADE_BY.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        keys = ".".join(map(shortened, first["loc"]))
        raise DataError(f"{where} is not ours: {keys}: {first['msg']}.") from error
    return value


class _CrossSection(TypedDict, total=False):
    pb: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class _MadeBy(TypedDict, total=False):
    """What is read again of the provenance; the rest is only shown."""

    kind: str
    process: str
    seed: int
    n: int
    configuration: str
    lhe_sha256: str | None
    cross_section: _CrossSection | None


_MADE_BY = TypeAdapter(_MadeBy)
