"""From the entries of a file to columns of scores: select, score, put back in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from transferline.data.batch import Batch
from transferline.data.cutflow import Cutflow
from transferline.data.events import ID_DTYPE, Events
from transferline.data.folds import Fold, fold_of
from transferline.data.jagged import flat_columns
from transferline.data.readers.shards import rounded
from transferline.data.selections import AnySelection, apply
from transferline.deploy.batch_sizes import cuts
from transferline.deploy.batches import batch_of, widened
from transferline.deploy.friend import Columns
from transferline.errors import ConfigError
from transferline.learning.source_rows import long_sets
from transferline.models.checkpoint import Checkpoint
from transferline.models.heads import class_probability
from transferline.models.model import Model

_IDENTITY = {"run": "run", "luminosityBlock": "lumi", "event": "event"}  # NanoAOD's names: ours

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scorer:
    """One trained model, in float32.

    Attributes:
        model: with its head, in evaluation mode.
        device: where it computes.
    """

    model: Model
    device: torch.device

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: torch.device) -> Scorer:
        """Build the model of a checkpoint."""
        return cls(checkpoint.model().to(device).eval(), device)

    @torch.no_grad()
    def __call__(self, events: Events) -> tuple[Floats, Floats]:
        """Return the probability of every class `[n, c]` and the pooled embedding `[n, d]`."""
        head = self.model.head
        assert head is not None  # trained_models
        pooled = torch.empty(len(events), self.model.backbone.width, device=self.device)
        for rows, batch in batches(events):
            found = self.model.latent(batch.to(self.device)).pooled
            pooled[torch.from_numpy(rows).to(self.device)] = found
        probability = class_probability(head(pooled).double())
        return probability.float().cpu().numpy(), pooled.float().cpu().numpy()


def batches(events: Events) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Yield the places of selected events, or jets, and these as batches of shards have them.

    In order; only where padding would cost much, those of similar length come together.
    """
    sizes = np.diff(flat_columns(events.particles["object"])[0])
    order = np.argsort(sizes, kind="stable") if long_sets(sizes) else np.arange(len(sizes))
    for places in cuts(sizes[order]):
        batch = batch_of(events[order[places]])
        # As wide as batches of shards, so that equal events give equal bits.
        yield order[places], widened(batch, rounded(batch.is_real.shape[1]))


def not_finite(events: Events) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which selected events have an object that is not finite, `[n]`, and in which columns.

    `prepare` refuses such events. Judged in float32, as a model sees them.
    """
    bad = np.zeros(len(events), np.bool_)
    names: list[str] = []
    if not len(events):
        return bad, names
    offsets, fields = flat_columns(events.particles["object"])
    owner = np.repeat(np.arange(len(events)), np.diff(offsets))
    for name, values in fields.items():
        with np.errstate(over="ignore"):
            broken = ~np.isfinite(values.astype(np.float32, copy=False))
        if broken.any():
            bad[owner[broken]] = True
            names.append(name)
    return bad, names


@dataclass(frozen=True)
class ScoredChunk:
    """What became of one chunk.

    Attributes:
        columns: with one row per entry.
        scored: the events that were scored, and their `rows`.
        cutflow: of the selection.
        unusable: rows that are selected and hold numbers that no model can take.
        reason: what is wrong with those.
    """

    columns: Columns
    scored: Events
    rows: NDArray[np.int64]
    cutflow: Cutflow
    unusable: NDArray[np.int64]
    reason: str


@dataclass
class Predictor:
    """Turns chunks of events into columns, one row per entry.

    Attributes:
        scorers: one, or one per fold.
        folds: as many as scorers, or none.
        selection: what events or jets must pass to be scored; None where the input is selected.
        classes: names of the head's outputs.
        embeddings: give those of the backbone, too.
        signal: which of two classes `score` is the probability of.
    """

    scorers: Sequence[Scorer]
    folds: Sequence[Fold]
    selection: AnySelection | None
    classes: Sequence[str]
    embeddings: bool = False
    signal: int = 1
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.width = self.scorers[0].model.backbone.width
        if len(self.classes) < 2:
            raise ConfigError("the model has one output; scores need two classes or more.")

    def score_names(self) -> list[str]:
        """Return `score` for two classes (probability of signal), else one per class."""
        return list(self.score_columns())

    def score_columns(self) -> dict[str, int]:
        """Return, for each of `score_names`, the number of its class."""
        if len(self.classes) == 2:
            return {"score": self.signal}
        return {f"score_{name}": i for i, name in enumerate(self.classes)}

    def fold(self, events: Events) -> NDArray[np.int64]:
        """Return the number of each event's model, `[n]`; 0 without folds."""
        if not self.folds:
            return np.zeros(len(events), np.int64)
        return fold_of(events.id, len(self.folds), self.folds[0].salt)

    def empty(self) -> Columns:
        """Return the columns without a row."""
        floats = {name: np.zeros(0, np.float32) for name in self.score_names()}
        fold = {"fold": np.zeros(0, np.int16)} if self.folds else {}
        pooled = {"embedding": np.zeros((0, self.width), np.float32)} if self.embeddings else {}
        identity = {name: np.zeros(0, ID_DTYPE[field]) for name, field in _IDENTITY.items()}
        return {**identity, "selected": np.zeros(0, np.bool_), **fold, **floats, **pooled}

    def __call__(self, events: Events, *, is_simulation: bool) -> ScoredChunk:
        """Select and score one chunk.

        Scores are NaN where an event is not selected, or holds a number that is not finite.
        """
        if self.selection is None:
            chosen, passed, cutflow = events, np.ones(len(events), np.bool_), Cutflow()
        else:
            done = apply(self.selection, events, is_simulation=is_simulation)
            chosen, passed, cutflow = done.events, done.passed, done.cutflow
        bad, names = not_finite(chosen)
        scored = chosen[~bad] if bad.any() else chosen
        places = np.flatnonzero(passed)
        rows, unusable = places[~bad], places[bad]
        columns = self._columns(events, passed, scored, rows)
        reason = f"a selected object has a {', '.join(names)} that is not finite"
        return ScoredChunk(columns, scored, rows, cutflow, unusable, reason)

    def unread(self, events: Events, reason: str) -> ScoredChunk:
        """Return the rows of entries that have an identity and nothing else that can be used."""
        none = np.zeros(len(events), np.bool_)
        rows = np.arange(0)
        columns = self._columns(events, none, events[none], rows)
        every = np.arange(len(events))
        return ScoredChunk(columns, events[none], rows, Cutflow(), every, reason)

    def _columns(
        self, events: Events, passed: NDArray[np.bool_], scored: Events, rows: NDArray[np.int64]
    ) -> Columns:
        identity = {n: np.ascontiguousarray(events.id[field]) for n, field in _IDENTITY.items()}
        fold = {"fold": self.fold(events).astype(np.int16)} if self.folds else {}
        scores = self._scores(len(events), scored, rows)
        return {**identity, "selected": passed, **fold, **scores}

    def _scores(self, n: int, scored: Events, rows: NDArray[np.int64]) -> dict[str, Floats]:
        scores = np.full((n, len(self.classes)), np.nan, np.float32)
        pooled = np.full((n, self.width if self.embeddings else 0), np.nan, np.float32)
        fold = self.fold(scored)
        for number in np.unique(fold):
            mine = np.flatnonzero(fold == number)
            found, embedded = self.scorers[number](scored[mine])
            scores[rows[mine]] = found
            if self.embeddings:
                pooled[rows[mine]] = embedded
        named = {
            name: np.ascontiguousarray(scores[:, i]) for name, i in self.score_columns().items()
        }
        return named | ({"embedding": pooled} if self.embeddings else {})
