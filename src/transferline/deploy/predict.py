"""predict(): scores for the entries of files, and whether their models had seen them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferline.data.cutflow import Cutflow
from transferline.data.events import identity_hash
from transferline.data.readers.base import Reader, warn_skipped
from transferline.data.selections import Selection
from transferline.deploy.friend import score_file
from transferline.deploy.inputs import Input, Inputs, resolve_selection, survey_inputs
from transferline.deploy.outputs import (
    FORMATS,
    Output,
    check_free,
    check_not_read,
    is_one_file,
    plan_outputs,
)
from transferline.deploy.prediction_card import card_path, file_facts, model_facts, write_cards
from transferline.deploy.scoring import Predictor, ScoredChunk, Scorer
from transferline.deploy.trained import TrainedModels, trained_models
from transferline.errors import ConfigError, DataError, NumericalError
from transferline.learning.independence import Tally
from transferline.learning.optim import Optim
from transferline.models.seen import Level
from transferline.progress import Ticker, progress

CHUNK_SIZE = 25_000


@dataclass(frozen=True)
class Prediction:
    """What was written.

    Attributes:
        outputs: files of scores.
        card: JSON values of the card.
        card_file: the card for people; the JSON stands beside it.
    """

    outputs: list[Path]
    card: dict[str, Any]
    card_file: Path


def predict(
    place: Path | str,
    reader: Reader,
    out: Path,
    *,
    need_folds: bool = False,
    selection: Selection | None = None,
    golden_json: Path | None = None,
    embeddings: bool = False,
    file_format: str = "root",
    overwrite: bool = False,
    device: str = "auto",
    chunk_size: int = CHUNK_SIZE,
) -> Prediction:
    """Score every entry of the files of `reader`; the rows of the output are their entries.

    Columns: `run`, `luminosityBlock`, `event`; `selected`, whether the event passes the model's
    selection; `score` (probability of signal) for two classes, `score_<class>` for more, NaN
    where not selected; with folds `fold`; with `embeddings` the vector `embedding`. Computed in
    float32, chunk by chunk.

    Args:
        place: a run or a checkpoint. Where the run has folds, each event is scored by the model
            of its fold, which has not seen it.
        reader: the input files.
        out: `*.root` or `*.parquet`: one file with the entries of all input files, in their
            order. Else a directory: one file per input file, to be its friend.
        need_folds: refuse a run without folds.
        selection: in place of the model's own.
        golden_json: certified blocks of collision data, in place of the selection's.
        embeddings: also write the pooled embedding of every event.
        file_format: `root` or `parquet`, where `out` is a directory.
        overwrite: replace output that exists.
        device: `auto`, `cpu` or `cuda`.
        chunk_size: entries that are in memory at once.

    Raises:
        ConfigError: the model has no head or no selection, output exists, or names clash.
        DataError: an input or the model is damaged, or the model of a fold has trained on it.
        NumericalError: a selected object is not finite.
    """
    out = Path(out)
    if file_format not in FORMATS:
        raise ConfigError(f"--format {file_format}: is neither root nor parquet.")
    check_free([out] if is_one_file(out) else [], overwrite)
    models = trained_models(place, need_folds=need_folds)
    chosen = resolve_selection(models.checkpoints[0].selection, selection, golden_json, str(place))
    inputs = survey_inputs(reader, chosen)
    outputs = plan_outputs(out, inputs, file_format)
    targets = [output.path for output in outputs]
    check_not_read(targets, inputs)
    check_free(targets, overwrite)
    predictor = _predictor(models, inputs, embeddings, device)
    facts = model_facts(place, models, chosen, predictor)
    job = _Job(models, predictor, inputs, facts, chunk_size)
    written = job.run(outputs)
    card = job.card(written)
    return Prediction([o.path for o in written], card, write_cards(card, card_path(out)))


def _predictor(models: TrainedModels, inputs: Inputs, embeddings: bool, device: str) -> Predictor:
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: is not one of auto, cpu, cuda.")
    where = Optim.model_validate({"steps": 1, "device": device}).torch_device()
    first = models.checkpoints[0]
    outputs = first.recipe.n_outputs or 0
    names = first.provenance.get("classes") or []
    return Predictor(
        [Scorer.of(checkpoint, where) for checkpoint in models.checkpoints],
        models.folds,
        inputs.selection,
        names if len(names) == outputs else [str(i) for i in range(outputs)],
        embeddings,
    )


class _DamagedError(Exception):
    """A file turned out to be damaged when some of its entries were written."""

    def __init__(self, file: Input, reason: str) -> None:
        super().__init__(reason)
        self.file = file


@dataclass
class _Job:
    models: TrainedModels
    predictor: Predictor
    inputs: Inputs
    facts: dict[str, Any]
    chunk_size: int

    def run(self, outputs: Sequence[Output]) -> list[Output]:
        """Write all outputs; files that must be left out are, as if they had not been named."""
        total = sum(file.source.entries for file in self.inputs.files)
        written = []
        with progress(total, "predict") as ticker:
            for output in outputs:
                done = self._write_without_bad(output, ticker)
                if done is not None:
                    written.append(done)
        if not written:
            raise DataError(
                "no usable file is left:\n  " + "\n  ".join(self.inputs.skipped.values())
            )
        return written

    def _write_without_bad(self, output: Output, ticker: Ticker) -> Output | None:
        while output.inputs:
            try:
                self._write(output, ticker)
            except _DamagedError as error:
                if not self.inputs.reader.skip_bad:
                    raise DataError(str(error)) from error.__cause__
                # Rows cannot be taken back: begin again without the file.
                self.inputs.skipped[error.file.source.path] = str(error)
                warn_skipped({error.file.source.path: str(error)})
                left = [file for file in output.inputs if file is not error.file]
                output = Output(output.path, left)
            else:
                return output
        return None

    def _write(self, output: Output, ticker: Ticker) -> None:
        with score_file(output.path, self.predictor.empty()) as target:
            for file in output.inputs:
                entry = 0
                output.selected[file.source.path] = 0
                for chunk in self._chunks(file):
                    target.write(chunk.columns)
                    self._count(output, file, chunk, entry)
                    n = len(chunk.columns["event"])
                    entry += n
                    ticker.advance(n)
            target.finish(self.card([output]))

    def _chunks(self, file: Input) -> Iterator[ScoredChunk]:
        """Yield scored chunks; only damage of the input becomes `_DamagedError`."""
        source, reader = file.source, self.inputs.reader
        events = reader.read(file.address, 0, source.entries, self.inputs.columns, self.chunk_size)
        while True:
            try:
                chunk = next(events, None)
            except DataError as error:
                raise _DamagedError(file, str(error)) from error
            if chunk is None:
                return
            try:
                yield self.predictor(chunk, is_simulation=source.is_simulation)
            except NumericalError as error:
                raise NumericalError(f"{source.path}: {error}") from error

    def _count(self, output: Output, file: Input, chunk: ScoredChunk, first: int) -> None:
        """Keep the sums, and compare what was scored with what its model has seen."""
        output.cutflow = output.cutflow + chunk.cutflow
        output.selected[file.source.path] += len(chunk.chosen)
        entries = first + np.flatnonzero(chunk.columns["selected"])
        hashes = identity_hash(chunk.chosen.id)
        fold = self.predictor.fold(chunk.chosen)
        for origin, places in file.by_origin(entries):
            for number in np.unique(fold[places]):
                mine = places[fold[places] == number]
                tally = Tally()
                tally.add(self.models.checkpoints[number].saw(), hashes[mine], origin)
                self._check_fold(tally, number, file)
                output.tally.join(tally)

    def _check_fold(self, tally: Tally, number: int, file: Input) -> None:
        if self.models.folds and (n := tally.counts["training", Level.YES]):
            raise DataError(
                f"{self.models.names[number]}: has trained on {n} events of {file.source.path} "
                f"that are in its own fold ({self.models.folds[number]}), which it must never see. "
                "Train the folds again."
            )

    def card(self, outputs: Sequence[Output]) -> dict[str, Any]:
        """Return what is told about these outputs."""
        tally, cutflow = Tally(), Cutflow()
        for output in outputs:
            tally.join(output.tally)
            cutflow = cutflow + output.cutflow
        files = [file_facts(file, output.selected) for output in outputs for file in output.inputs]
        return {
            **self.facts,
            "independence": tally.to_dict(),
            "entries": sum(file["entries"] for file in files),
            "selected": sum(file["selected"] for file in files),
            "outputs": [output.path.name for output in outputs],
            "inputs": files,
            "skipped": dict(self.inputs.skipped),
            "cutflow": cutflow.to_list(),
        }
