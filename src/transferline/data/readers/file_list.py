"""Which files a reader reads: wildcards, text lists, and lists of files to leave out."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from transferline.data.readers.addresses import check_url, is_url, public_name
from transferline.errors import ConfigError, DataError


@dataclass(frozen=True)
class Entry:
    """One line of a text list.

    Attributes:
        name: path, pattern or URL.
        comment: what stands behind ` #` on its line.
    """

    name: str
    comment: str = ""


@dataclass(frozen=True)
class FileList:
    """The files of a reader.

    Attributes:
        paths: files to read, each once, in order.
        left_out: path -> reason of the files that `skip` names.
        unmatched: entries of `skip` that match none of the files.
    """

    paths: list[str]
    left_out: dict[str, str]
    unmatched: list[str]


def list_files(files: Sequence[str], skip: Sequence[str] = ()) -> FileList:
    """Expand `files`, then take out what `skip` names.

    Args:
        files: paths, wildcards, URLs, and `@list.txt` with one of them per line. What is there
            under a name with `[` is meant by it.
        skip: paths, wildcards, URLs, and `@list.txt` likewise. A file is left out if its path
            ends so (`bad.root` and `run7/bad*.root` mean those in any directory); the comment
            on a line of the list is the reason. A list may name nothing.

    Raises:
        DataError: a wildcard matches nothing.
        ConfigError: a list cannot be read, a list of `files` is empty, or a URL has a wildcard.
    """
    places: dict[str, str] = {}
    for path in (path for entry in _entries(files) for path in _expand(entry.name)):
        places.setdefault(_place(path), path)  # one file by two names would count twice
    paths = list(places.values())
    left_out: dict[str, str] = {}
    unmatched: list[str] = []
    find = _Finder(paths)
    for entry in _entries(skip, may_be_empty=True):
        found = find(entry.name)
        why = f"named by the skip list: {entry.comment or 'no reason given'}"
        left_out |= {path: why for path in found if path not in left_out}
        if not found:
            unmatched.append(public_name(entry.name))
    return FileList([path for path in paths if path not in left_out], left_out, unmatched)


def named_files(files: Sequence[str]) -> list[str]:
    """Return `files` with text lists read, wildcards as they are; lists that are absent by name."""
    names: list[str] = []
    for name in files:
        known = not name.startswith("@") or Path(name[1:]).is_file()
        names += [entry.name for entry in _entries([name])] if known else [name]
    return names


def _entries(names: Sequence[str], *, may_be_empty: bool = False) -> Iterator[Entry]:
    for name in names:
        if name.startswith("@"):
            entries = _read_list(Path(name[1:]))
            if not entries and not may_be_empty:
                raise ConfigError(f"{name}: the list names no file.")
            yield from entries
        else:
            yield Entry(name)


def _read_list(path: Path) -> list[Entry]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"@{path}: the list of files cannot be read ({error}).") from error
    return [_entry(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _entry(line: str) -> Entry:
    # Only a '#' behind a blank begins a comment: it may stand in a file name.
    name, _, comment = line.replace("\t", " ").partition(" #")
    return Entry(name.strip(), comment.strip())


def _place(path: str) -> str:
    return path if is_url(path) else os.path.realpath(path)  # whatever a link does


def _expand(name: str) -> list[str]:
    if is_url(name):
        check_url(name)
        return [name]
    if not glob.has_magic(name) or os.path.exists(name):  # noqa: PTH110  long names are no error
        return [name]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  patterns may be absolute
    if not found:
        raise DataError(f"{name}: no file matches.")
    return found


class _Finder:
    """Finds the paths that an entry of a skip list means; made for thousands of both."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            for name in _names(path):
                self._by_name[name].append(path)

    def __call__(self, entry: str) -> list[str]:
        """Return the paths that end with `entry`, whole directories at a time."""
        wanted = PurePosixPath(public_name(entry))
        found = self._by_name.get(entry) or self._by_name.get(str(wanted), [])
        if not found and glob.has_magic(str(wanted)):
            found = [path for path in self._paths if _full(path).match(str(wanted))]
        return found


def _full(path: str) -> PurePosixPath:
    return PurePosixPath(public_name(path) if is_url(path) else Path(path).absolute())


def _names(path: str) -> set[str]:
    """The path as it is and every way to name it from the right: c.root, b/c.root, /a/b/c.root."""
    parts = _full(path).parts
    ends = {str(PurePosixPath(*parts[i:])) for i in range(len(parts))}
    return {path, str(PurePosixPath(public_name(path))), *ends}
