"""Selection of jets: which jets enter a sample, and how many of their constituents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from transferline.config import Recipe, added
from transferline.data.cutflow import Cutflow, Step
from transferline.data.events import Events
from transferline.data.jagged import flat_columns, offsets_of, records
from transferline.data.layouts.shards import P4_COLUMNS
from transferline.data.selections.apply import Selected, certified
from transferline.data.selections.flat import Mask
from transferline.errors import DataError, did_you_mean

CONSTITUENT, CONTEXT, LABEL = "constituent", "context", "label"

_TRACK = (("d0", "d0err"), ("dz", "dzerr"))


class JetSelection(Recipe):
    """Windows on the jets of a file, and what is kept of those that pass.

    Attributes:
        kind: `jets`; what sets this recipe apart from a selection of events.
        name, comment: what it is and where it comes from.
        golden_json: path of the certified luminosity blocks, applied to collision data only.
        pt_min, pt_max, abs_eta_max: window on the jet, GeV; null for none.
        sdmass_min, sdmass_max: window on the soft-drop mass, GeV.
        label: keep only jets of which this label is true, such as `isH` for those of a Higgs
            boson; for pre-trainings that know the class of every jet.
        min_constituents: jets with fewer are left out.
        max_constituents: jets with more keep the hardest by pt; the card counts them.
        particles: columns of constituents beside the momenta; null for all that the files have.
        context: columns of the jet; null for all that the files have.
    """

    kind: Literal["jets"]
    name: str
    comment: str = ""
    golden_json: str | None = None
    pt_min: float | None = Field(None, ge=0)
    pt_max: float | None = Field(None, gt=0)
    abs_eta_max: float | None = Field(None, gt=0)
    sdmass_min: float | None = None
    sdmass_max: float | None = None
    label: str | None = added(None)
    min_constituents: int = Field(1, ge=0)
    max_constituents: int = Field(128, ge=1)
    particles: tuple[str, ...] | None = None
    context: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _some_pass(self) -> JetSelection:
        for name in ("pt", "sdmass"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if low is not None and high is not None and low >= high:
                raise ValueError(f"no jet has a {name} above {low:g} and below {high:g}")
        if self.min_constituents > self.max_constituents:
            raise ValueError("min_constituents is above max_constituents")
        return self

    def resolved(self, offered: Mapping[str, Sequence[str]]) -> JetSelection:
        """Return the selection with its columns spelled out, for files that offer these."""
        if CONSTITUENT not in offered or "jet" in offered:
            names = ", ".join(offered)
            raise DataError(
                f"the selection '{self.name}' is one of jets, the reader gives {names}: choose a "
                "selection of events, or `--reader` for jets (`sets: jets`)."
            )
        given = [name for name in offered[CONSTITUENT] if name not in P4_COLUMNS]
        changes = {"particles": given, CONTEXT: offered[CONTEXT]}
        missing = {k: tuple(v) for k, v in changes.items() if getattr(self, k) is None}
        return self.model_copy(update=missing)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the particles in the shards."""
        return (*P4_COLUMNS, *(self.particles or ()))

    def windows(self) -> Iterator[tuple[str, str, float, float]]:
        """Yield (title, column, low, high) of every cut on the jet; bounds are left out."""
        for title, low, high in (
            ("pt", self.pt_min, self.pt_max),
            ("sdmass", self.sdmass_min, self.sdmass_max),
        ):
            if low is not None or high is not None:
                least, most = _bound(low, -np.inf), _bound(high, np.inf)
                yield f"{least:g} < jet {title} < {most:g} GeV", f"jet_{title}", least, most
        if self.abs_eta_max is not None:
            widest = self.abs_eta_max
            yield f"jet |eta| < {widest:g}", "jet_eta", -widest, widest


def _bound(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def jet_columns(selection: JetSelection) -> dict[str, list[str]]:
    """Return collection -> columns that `apply_jets` reads, for `Reader.chunks`.

    Readers give all labels, but one that jets are kept by is the collection `label`: then files
    without it are named when they are looked at.
    """
    cut = [column for _, column, _, _ in selection.windows()]
    context = dict.fromkeys([*(selection.context or ()), *cut])
    label = {} if selection.label is None else {LABEL: [selection.label]}
    return {CONSTITUENT: list(selection.columns), CONTEXT: list(context), **label}


def apply_jets(selection: JetSelection, events: Events, *, is_simulation: bool) -> Selected:
    """Return the jets that pass, their constituents by falling pt as the collection `object`.

    Impact parameters or errors that are not finite are taken for not measured: value and error
    become 0, as they are where there is no track. A jet with a number of its own (`context`)
    that is not finite is left out, and counted in the cut-flow.

    Args:
        selection: the recipe, its columns spelled out.
        events: as read with `jet_columns(selection)`.
        is_simulation: the golden JSON applies to collision data only.
    """
    offsets, columns = flat_columns(events.particles[CONSTITUENT])
    counts = np.diff(offsets)
    passed = np.ones(len(events), np.bool_)
    steps = [Step.of("all jets", events.weight)]
    for name, mask in _steps(selection, events, counts, is_simulation):
        passed &= mask
        steps.append(Step.of(name, events.weight[passed]))
    rows = hardest(columns["pt"], counts, passed, selection.max_constituents)
    kept = np.minimum(counts[passed], selection.max_constituents)
    values = {name: columns[name][rows].astype(np.float32) for name in selection.columns}
    chosen = Events(
        particles={"object": records(offsets_of(kept), measured(values))},
        weight=events.weight[passed],
        id=events.id[passed],
        context={name: events.context[name][passed] for name in selection.context or ()},
        labels={name: values[passed] for name, values in events.labels.items()},
    )
    capped = int((counts[passed] > selection.max_constituents).sum())
    return Selected(chosen, passed, Cutflow(tuple(steps)), capped)


def _steps(
    selection: JetSelection, events: Events, counts: NDArray[np.int64], is_simulation: bool
) -> Iterator[tuple[str, Mask]]:
    """Yield the cuts in order, each with the jets that pass it alone."""
    if selection.golden_json is not None:
        yield "golden JSON", certified(selection.golden_json, events, is_simulation)
    for title, column, low, high in selection.windows():
        values: NDArray[np.floating[Any]] = np.asarray(events.context[column], np.float64)
        yield title, (values > low) & (values < high)
    if selection.label is not None:
        yield f"label {selection.label}", _labelled(selection, events)
    least = selection.min_constituents
    if least:
        yield f"constituents >= {least}", counts >= least
    finite = np.ones(len(events), np.bool_)
    for name in selection.context or ():
        finite &= np.isfinite(events.context[name].astype(np.float64))
    yield "finite columns of the jet", finite


def _labelled(selection: JetSelection, events: Events) -> Mask:
    name = selection.label or ""
    if name not in events.labels:
        raise DataError(
            f"the selection '{selection.name}' asks for the label '{name}', which these files "
            f"have not; they have {', '.join(sorted(events.labels)) or 'none'}."
            f"{did_you_mean(name, events.labels)}"
        )
    found: Mask = np.asarray(events.labels[name]) > 0
    return found


def hardest(
    pt: NDArray[Any], counts: NDArray[np.int64], passed: Mask, limit: int
) -> NDArray[np.intp]:
    """Return the rows of the hardest `limit` constituents of the jets that passed, by falling pt.

    Of equal ones the first of the file comes first. The bits of a positive float rise with it,
    so one integer holds jet and pt; files keep constituents by falling pt, so that these are
    almost sorted.
    """
    jet = np.repeat(np.arange(len(counts)), counts)
    rows = np.flatnonzero(passed[jet])
    falling = np.uint64(2**32 - 1) - pt[rows].astype(np.float32).view(np.uint32)
    keys = (jet[rows].astype(np.uint64) << np.uint64(32)) | falling
    rows = rows[np.argsort(keys, kind="stable")]
    few = counts[passed]
    place = np.arange(len(rows)) - np.repeat(np.cumsum(few) - few, few)
    return rows[place < limit]


def measured(values: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Set impact parameters to 0 where they, or their errors, are not finite."""
    for names in _TRACK:
        here = [name for name in names if name in values]
        bad = np.zeros(len(values["pt"]), np.bool_)
        for name in here:
            bad |= ~np.isfinite(values[name])
        for name in here if bad.any() else ():
            values[name] = np.where(bad, np.float32(0), values[name])
    return values
