"""Scores beside their events or jets: a friend tree, or Parquet, written chunk by chunk."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot
from numpy.typing import NDArray

from transferline.data.readers.rootfile import PROVENANCE_KEY, open_root
from transferline.errors import ConfigError, DataError, shortened
from transferline.files import atomic_path, parse_json

TREE = "Scores"
Columns = Mapping[str, NDArray[Any]]


class ScoreFile(ABC):
    """One output file; every row is one event, or one jet, of the input."""

    @abstractmethod
    def write(self, columns: Columns) -> None:
        """Append rows: name -> `[n]`, or `[n, d]`; always with the types of the first call."""

    @abstractmethod
    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Store where the scores come from."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


@contextmanager
def score_file(target: Path, empty: Columns) -> Iterator[ScoreFile]:
    """Yield a file that is renamed to `target` when the block ends; else nothing is left.

    Args:
        target: ends in `.root` or `.parquet`.
        empty: the columns with no row, which fix names and types.

    Raises:
        ConfigError: another ending.
    """
    if target.suffix not in _KINDS:
        raise ConfigError(f"{target}: scores are written to .root or .parquet.")
    with atomic_path(target) as temporary:
        file = _KINDS[target.suffix](temporary, empty)
        try:
            yield file
        finally:
            file.close()


def read_provenance(file: Path) -> dict[str, Any]:
    """Return what `finish` stored in a file of scores.

    Raises:
        DataError: it is damaged, or none of ours.
    """
    try:
        if file.suffix == ".parquet":
            text = (pq.read_metadata(file).metadata or {})[PROVENANCE_KEY.encode()]
        else:
            with open_root(str(file)) as content:
                text = str(content[PROVENANCE_KEY])
    except (KeyError, OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: is no whole file of scores ({shortened(error)}).") from error
    value = parse_json(text, str(file))
    if not isinstance(value, dict):
        raise DataError(f"{file}: is no file of scores of ours.")
    return value


class _RootScores(ScoreFile):
    """A TTree, not an RNTuple: analyses of today add it to `Events` with `AddFriend`."""

    def __init__(self, path: Path, empty: Columns) -> None:
        self._file = uproot.recreate(path)
        types = {n: np.dtype((v.dtype, v.shape[1:])) for n, v in empty.items()}
        self._tree = self._file.mktree(
            TREE, types, title="scores, one row per event or jet, in the order of the input"
        )

    def write(self, columns: Columns) -> None:
        self._tree.extend(dict(columns))

    def finish(self, provenance: Mapping[str, Any]) -> None:
        self._file[PROVENANCE_KEY] = json.dumps(provenance)

    def close(self) -> None:
        self._file.close()


class _ParquetScores(ScoreFile):
    def __init__(self, path: Path, empty: Columns) -> None:
        self._schema = _table(empty).schema
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, columns: Columns) -> None:
        self._writer.write_table(_table(columns).cast(self._schema))

    def finish(self, provenance: Mapping[str, Any]) -> None:
        self._writer.add_key_value_metadata({PROVENANCE_KEY: json.dumps(provenance)})

    def close(self) -> None:
        self._writer.close()


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: _arrow(values) for name, values in columns.items()})


def _arrow(values: NDArray[Any]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


_KINDS: dict[str, type[_RootScores] | type[_ParquetScores]] = {
    ".root": _RootScores,
    ".parquet": _ParquetScores,
}
