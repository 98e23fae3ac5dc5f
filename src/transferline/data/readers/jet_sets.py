"""Jets of constituents laid end to end, on their way to `Events`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import ID_DTYPE, Events, identity_hash
from transferline.data.jagged import records
from transferline.data.readers.base import Columns
from transferline.data.readers.jet_columns import CONSTITUENT, CONTEXT, JET, LABEL
from transferline.errors import DataError, did_you_mean

Values = NDArray[Any]

_PREFIX = "jet_"
_LABEL = f"{LABEL}_"


@dataclass(frozen=True)
class JetSets:
    """`m` jets.

    Attributes:
        offsets: `[m + 1]` bounds of the jets among the particles.
        constituents: column -> `[k]`.
        context, labels: column -> `[m]`.
        weight, id: `[m]`; jets of one event share its identity, and so its fold.
    """

    offsets: NDArray[np.int64]
    constituents: Mapping[str, Values]
    context: Mapping[str, Values]
    labels: Mapping[str, Values]
    weight: NDArray[np.float64]
    id: NDArray[np.void]

    def events(self) -> Events:
        """Return every jet as a set of its own, with the collection `constituent`."""
        found = {CONSTITUENT: records(self.offsets, self.constituents)} if self.constituents else {}
        return Events(
            particles=found,
            weight=self.weight,
            id=self.id,
            context=self.context,
            labels=self.labels,
        )

    def nested(
        self, bounds: NDArray[np.int64], weight: NDArray[np.float64], identity: NDArray[np.void]
    ) -> Events:
        """Return events of jets of constituents.

        `jet` holds `[n, var]` records with what is `context` and `labels` of single jets (`pt`
        for `jet_pt`, `label_x` for the label x), `constituent` holds `[n, var, var]` records:
        those of jet j of event i are `constituent[i, j]`.

        Args:
            bounds: `[n + 1]` bounds of the events among the jets.
            weight: of the events, `[n]`.
            identity: of the events, `[n]`.
        """
        jets = {name.removeprefix(_PREFIX): values for name, values in self.context.items()}
        jets |= {_LABEL + name: values for name, values in self.labels.items()}
        found = {JET: records(bounds, jets)} if jets else {}
        if self.constituents:
            inner = records(self.offsets, self.constituents).layout
            outer = ak.contents.ListOffsetArray(ak.index.Index64(bounds), inner)
            found[CONSTITUENT] = ak.Array(outer)
        return Events(particles=found, weight=weight, id=identity)


def nested_columns(columns: Columns, labels: Mapping[str, str]) -> dict[str, list[str]]:
    """Name the columns of single jets as those of events of jets.

    >>> nested_columns({"constituent": ["pt"], "context": ["jet_pt"]}, {"QCD": "label_QCD"})
    {'jet': ['pt', 'label_QCD'], 'constituent': ['pt'], 'context': []}
    """
    jets = [name.removeprefix(_PREFIX) for name in columns[CONTEXT]]
    return {
        JET: [*jets, *(_LABEL + name for name in labels)],
        CONSTITUENT: list(columns[CONSTITUENT]),
        CONTEXT: [],
    }


def single_columns(path: str, columns: Columns) -> dict[str, list[str]]:
    """Undo `nested_columns`; labels are a collection, see `Plan.make`.

    Raises:
        DataError: other collections are asked for, or numbers of the event; names the file `path`.

    >>> single_columns("a.root", {"jet": ["pt", "label_QCD"], "constituent": ["pt"]})
    {'constituent': ['pt'], 'context': ['jet_pt'], 'label': ['QCD']}
    """
    for name in columns:
        if name not in {JET, CONSTITUENT, CONTEXT}:
            hint = did_you_mean(name, [JET, CONSTITUENT])
            raise DataError(f"{path}: has no collection '{name}' in its events of jets.{hint}")
    if of_event := columns.get(CONTEXT):
        raise DataError(
            f"{path}: events of jets have no column '{CONTEXT}.{of_event[0]}'; numbers of the jets "
            f"are columns of '{JET}'."
        )
    jets = columns.get(JET, ())
    return {
        CONSTITUENT: list(columns.get(CONSTITUENT, ())),
        CONTEXT: [_PREFIX + name for name in jets if not name.startswith(_LABEL)],
        LABEL: [name.removeprefix(_LABEL) for name in jets if name.startswith(_LABEL)],
    }


def pieces(events: Events, size: int) -> Iterator[Events]:
    """Cut into parts of at most `size`."""
    for low in range(0, len(events), size):
        yield events[low : low + size]


def content_identity(*columns: Values) -> NDArray[np.void]:
    """Return (0, 0, hash of these numbers) for every row, `[n]` with `ID_DTYPE`.

    For files that do not say which event a row is from. A row number would make folds depend on
    how a data set was split into files, and would give the rows of all samples the same names.
    """
    identity = np.zeros(len(columns[0]), ID_DTYPE)
    for salt, values in enumerate(columns):
        # Adding zero turns -0.0 into 0.0.
        bits = np.ascontiguousarray(values.astype(np.float64) + 0.0).view(np.uint64)
        identity["event"] ^= bits
        identity["event"] = identity_hash(identity, salt)
    return identity
