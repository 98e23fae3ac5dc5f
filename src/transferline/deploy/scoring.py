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
from transferline.data.selections import Selection, apply
from transferline.deploy.batches import batch_of, widened
from transferline.deploy.friend import Columns
from transferline.errors import ConfigError, NumericalError
from transferline.models.checkpoint import Checkpoint
from transferline.models.heads import class_probability
from transferline.models.model import Model

_BATCH = 1024
_WIDTH_STEP = 8  # as batches of shards have it, so that equal events give equal bits
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
        parts = [self.model.latent(batch.to(self.device)).pooled for batch in batches(events)]
        pooled = torch.cat(parts)
        probability = class_probability(head(pooled).double())
        return probability.float().cpu().numpy(), pooled.float().cpu().numpy()


def batches(events: Events) -> Iterator[Batch]:
    """Yield selected events, in order, as batches that equal those of their shards.

    Raises:
        NumericalError: an object has a value that is not finite, which `prepare` refuses too.
    """
    for low in range(0, len(events), _BATCH):
        batch = batch_of(events[slice(low, low + _BATCH)])
        for name, values in {"four-momentum": batch.p4, **batch.columns}.items():
            if not torch.isfinite(values).all():
                raise NumericalError(f"a selected object has a {name} that is not finite.")
        yield widened(batch, -(-batch.is_real.shape[1] // _WIDTH_STEP) * _WIDTH_STEP)


@dataclass(frozen=True)
class ScoredChunk:
    """Columns with one row per entry, the events that were scored, and the cut-flow."""

    columns: Columns
    chosen: Events
    cutflow: Cutflow


@dataclass
class Predictor:
    """Turns chunks of events into columns, one row per entry.

    Attributes:
        scorers: one, or one per fold.
        folds: as many as scorers, or none.
        selection: what an event must pass to be scored; None where the input is selected.
        classes: names of the head's outputs.
        embeddings: give those of the backbone, too.
    """

    scorers: Sequence[Scorer]
    folds: Sequence[Fold]
    selection: Selection | None
    classes: Sequence[str]
    embeddings: bool = False
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.width = self.scorers[0].model.backbone.width
        if len(self.classes) < 2:
            raise ConfigError("the model has one output; scores need two classes or more.")

    def score_names(self) -> list[str]:
        """Return `score` for two classes (probability of the second), else one per class."""
        if len(self.classes) == 2:
            return ["score"]
        return [f"score_{name}" for name in self.classes]

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
        """Select and score one chunk; scores are NaN where an event is not selected."""
        if self.selection is None:
            chosen, passed, cutflow = events, np.ones(len(events), np.bool_), Cutflow()
        else:
            done = apply(self.selection, events, is_simulation=is_simulation)
            chosen, passed, cutflow = done.events, done.passed, done.cutflow
        identity = {n: np.ascontiguousarray(events.id[field]) for n, field in _IDENTITY.items()}
        fold = {"fold": self.fold(events).astype(np.int16)} if self.folds else {}
        columns = {**identity, "selected": passed, **fold, **self._scores(chosen, passed)}
        return ScoredChunk(columns, chosen, cutflow)

    def _scores(self, chosen: Events, passed: NDArray[np.bool_]) -> dict[str, Floats]:
        scores = np.full((len(passed), len(self.classes)), np.nan, np.float32)
        pooled = np.full((len(passed), self.width if self.embeddings else 0), np.nan, np.float32)
        places, fold = np.flatnonzero(passed), self.fold(chosen)
        for number in np.unique(fold):
            mine = np.flatnonzero(fold == number)
            found, embedded = self.scorers[number](chosen[mine])
            scores[places[mine]] = found
            if self.embeddings:
                pooled[places[mine]] = embedded
        first = 1 if len(self.classes) == 2 else 0
        named = {
            name: np.ascontiguousarray(scores[:, first + i])
            for i, name in enumerate(self.score_names())
        }
        return named | ({"embedding": pooled} if self.embeddings else {})
