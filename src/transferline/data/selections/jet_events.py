"""Selection of events of jets: which jets count, and how many an event must have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from transferline.config import Recipe, added
from transferline.data.cutflow import Cutflow, Step
from transferline.data.events import Events
from transferline.data.jagged import flat_columns, flat_sets, nested_records, offsets_of, records
from transferline.data.layouts.shards import P4_COLUMNS
from transferline.data.selections.apply import Selected, certified
from transferline.data.selections.flat import Mask
from transferline.data.selections.jets import CONSTITUENT, hardest, measured
from transferline.errors import DataError

JET = "jet"
Columns = dict[str, NDArray[Any]]


class JetEventSelection(Recipe):
    """Windows on the jets of an event, how many there must be, and what is kept of them.

    Attributes:
        kind: `jet_events`; what sets this recipe apart from selections of events or of jets.
        name, comment: what it is and where it comes from.
        golden_json: path of the certified luminosity blocks, applied to collision data only.
        pt_min, abs_eta_max: jets outside are no jets of the event, GeV; null for none.
        min_constituents: so are jets with fewer.
        min_jets: events with fewer are left out; 0 keeps events without any.
        max_jets: events with more keep some of them.
        keep_jets: `hardest` keeps those and puts them by falling pt, `first` keeps jets as the
            file has them: replicas of one jet, say, of which none is to be preferred.
        max_constituents: jets with more keep the hardest by pt; the card counts the events that
            lost jets or constituents.
        particles: columns of constituents beside the momenta; null for all that the files have.
        jets: columns of jets beside the momenta; null for all that the files have.
    """

    kind: Literal["jet_events"]
    name: str
    comment: str = ""
    golden_json: str | None = None
    pt_min: float | None = Field(None, ge=0)
    abs_eta_max: float | None = Field(None, gt=0)
    min_constituents: int = Field(1, ge=0)
    min_jets: int = Field(2, ge=0)
    max_jets: int = Field(5, ge=1)
    keep_jets: Literal["hardest", "first"] = added("hardest")
    max_constituents: int = Field(100, ge=1)
    particles: tuple[str, ...] | None = None
    jets: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _some_pass(self) -> JetEventSelection:
        for what in ("jets", "constituents"):
            if getattr(self, f"min_{what}") > getattr(self, f"max_{what}"):
                raise ValueError(f"min_{what} is above max_{what}")
        return self

    def resolved(self, offered: Mapping[str, Sequence[str]]) -> JetEventSelection:
        """Return the selection with its columns spelled out, for files that offer these."""
        if CONSTITUENT not in offered or JET not in offered:
            names = ", ".join(offered)
            raise DataError(
                f"the selection '{self.name}' is one of events of jets of constituents, the reader "
                f"gives {names}: choose another selection, or a reader with `sets: events` "
                "(`--sets events`)."
            )
        given = {"particles": offered[CONSTITUENT], "jets": offered[JET]}
        rest = {k: tuple(n for n in v if n not in P4_COLUMNS) for k, v in given.items()}
        return self.model_copy(update={k: v for k, v in rest.items() if getattr(self, k) is None})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the jets in the shards."""
        return (*P4_COLUMNS, *(self.jets or ()))

    @property
    def constituents(self) -> tuple[str, ...]:
        """Columns of the constituents in the shards."""
        return (*P4_COLUMNS, *(self.particles or ()))


def jet_event_columns(selection: JetEventSelection) -> dict[str, list[str]]:
    """Return collection -> columns that `apply_jet_events` reads, for `Reader.chunks`."""
    return {
        JET: list(selection.columns),
        CONSTITUENT: list(selection.constituents),
        "context": [],
    }


def apply_jet_events(
    selection: JetEventSelection, events: Events, *, is_simulation: bool
) -> Selected:
    """Return the events that pass, with their jets as `object` and the nested `constituent`.

    Jets come by falling pt, unless the `first` are kept, and constituents always do. Impact
    parameters that are not finite become 0, as in `apply_jets`; an event with a jet one of whose
    columns is not finite is left out, and counted in the cut-flow.

    Args:
        selection: the recipe, its columns spelled out.
        events: as read with `jet_event_columns(selection)`.
        is_simulation: the golden JSON applies to collision data only.
    """
    _, jets = flat_columns(events.particles[JET])
    bounds, offsets, parts = flat_sets(events.particles[CONSTITUENT])
    event = np.repeat(np.arange(len(events)), np.diff(bounds))
    lengths = np.diff(offsets)
    good = np.flatnonzero(_good(selection, jets, lengths))
    counts = np.bincount(event[good], minlength=len(events))
    passed = np.ones(len(events), np.bool_)
    steps = [Step.of("all events", events.weight)]
    table = np.stack([jets[name].astype(np.float64) for name in selection.columns])
    finite = np.asarray(np.isfinite(table).all(0))
    broken = np.bincount(event[good][~finite[good]], minlength=len(events)) > 0
    for name, mask in _steps(selection, events, counts, broken, is_simulation=is_simulation):
        passed &= mask
        steps.append(Step.of(name, events.weight[passed]))
    # Equal keys stay in the order of the file.
    rank = jets["pt"][good] if selection.keep_jets == "hardest" else np.zeros(len(good))
    rows = good[hardest(rank, counts, passed, selection.max_jets)]
    kept = np.minimum(counts[passed], selection.max_jets)
    chosen = Events(
        particles={
            "object": records(
                offsets_of(kept), {n: jets[n][rows].astype(np.float32) for n in selection.columns}
            ),
            CONSTITUENT: _constituents(selection, rows, kept, offsets, parts),
        },
        weight=events.weight[passed],
        id=events.id[passed],
        context={},
        labels={name: values[passed] for name, values in events.labels.items()},
    )
    lost = counts > selection.max_jets
    lost[event[rows[lengths[rows] > selection.max_constituents]]] = True
    return Selected(chosen, passed, Cutflow(tuple(steps)), int((lost & passed).sum()))


def _good(selection: JetEventSelection, jets: Columns, lengths: NDArray[np.int64]) -> Mask:
    """Which jets count."""
    good: Mask = lengths >= selection.min_constituents
    if selection.pt_min is not None:
        good &= jets["pt"] > selection.pt_min
    if selection.abs_eta_max is not None:
        good &= np.abs(jets["eta"]) < selection.abs_eta_max
    return good


def _steps(
    selection: JetEventSelection,
    events: Events,
    counts: NDArray[np.int64],
    broken: Mask,
    *,
    is_simulation: bool,
) -> Iterator[tuple[str, Mask]]:
    """Yield the cuts in order, each with the events that pass it alone."""
    if selection.golden_json is not None:
        yield "golden JSON", certified(selection.golden_json, events, is_simulation)
    if selection.min_jets:
        yield f"jets >= {selection.min_jets}", counts >= selection.min_jets
    yield "finite columns of the jets", ~broken


def _constituents(
    selection: JetEventSelection,
    rows: NDArray[np.intp],
    kept: NDArray[np.int64],
    offsets: NDArray[np.int64],
    parts: Columns,
) -> Any:
    """Return the constituents of the jets `rows`, `kept` jets in each event."""
    lengths = np.diff(offsets)[rows]
    before = np.cumsum(lengths) - lengths
    inside = np.repeat(offsets[rows] - before, lengths) + np.arange(lengths.sum())
    limit = selection.max_constituents
    inside = inside[hardest(parts["pt"][inside], lengths, np.ones(len(rows), np.bool_), limit)]
    values = {name: parts[name][inside].astype(np.float32) for name in selection.constituents}
    inner = offsets_of(np.minimum(lengths, limit))
    return nested_records(offsets_of(kept), inner, measured(values))
