"""The work of a prediction: all files of scores, one after another, and what is told of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transferline.data.cutflow import Cutflow
from transferline.data.events import identity_hash
from transferline.data.readers.base import warn_skipped
from transferline.deploy.entries import DamagedError, Piece, pieces
from transferline.deploy.friend import ScoreFile, read_provenance, score_file
from transferline.deploy.inputs import Input, Inputs
from transferline.deploy.outputs import COUNTED, Counts, Output
from transferline.deploy.prediction_card import card_markdown, file_facts, write_cards
from transferline.deploy.scoring import Predictor, ScoredChunk
from transferline.deploy.trained import TrainedModels
from transferline.errors import DataError
from transferline.learning.independence import Tally
from transferline.models.seen import Level
from transferline.progress import Ticker, progress

_SKIP_BAD = "--skip-bad leaves damaged files out, and gives single bad events NaN as score."


class UnusableEventsWarning(UserWarning):
    """Events hold numbers that no model can take; their scores are NaN."""


@dataclass
class Job:
    """All that is needed to write files of scores.

    Attributes:
        models, predictor, inputs: which models score what.
        facts: what the card tells of them.
        digests: stored name of an input -> hash of all that decides its scores.
        chunk_size: rows that are in memory at once.
        allow_overlap: score events of a fold with a backbone that was pre-trained on them.
    """

    models: TrainedModels
    predictor: Predictor
    inputs: Inputs
    facts: dict[str, Any]
    digests: dict[str, str]
    chunk_size: int
    allow_overlap: bool

    def run(self, outputs: Sequence[Output]) -> list[Output]:
        """Write all outputs; files that must be left out are, as if they had not been named."""
        total = sum(file.source.entries for file in self.inputs.files)
        kept = sum(file.source.entries for o in outputs if o.kept for file in o.inputs)
        written = []
        with progress(total, "predict", done=kept) as ticker:
            for output in outputs:
                done = self._kept(output) if output.kept else self._written(output, ticker)
                if done is not None:
                    written.append(done)
                    _warn_unusable(done)
        if not written:
            raise DataError(
                "no usable file is left:\n  " + "\n  ".join(self.inputs.skipped.values())
            )
        return written

    def _kept(self, output: Output) -> Output:
        [file] = output.inputs
        self._check_folds(output.counts[file.source.path].tally, "the models", file)
        # The call may have ended between the scores and their card: it is absent, or of older ones.
        card = read_provenance(output.path)
        if not output.card.exists() or output.card.read_text("utf-8") != card_markdown(card):
            write_cards(card, output.card)
        return output

    def _written(self, output: Output, ticker: Ticker) -> Output | None:
        while output.inputs:
            try:
                self._write(output, ticker)
            except DamagedError as error:
                if not self.inputs.reader.skip_bad:
                    raise DataError(f"{error}\n{_SKIP_BAD}") from error.__cause__
                # Rows cannot be taken back: begin again without the file.
                self.inputs.skipped[error.file.source.path] = str(error)
                warn_skipped({error.file.source.path: str(error)})
                left = [file for file in output.inputs if file is not error.file]
                output = Output(output.path, left)
            else:
                write_cards(self.card([output]), output.card)
                return output
        return None

    def _write(self, output: Output, ticker: Ticker) -> None:
        with score_file(output.path, self.predictor.empty()) as target:
            for file in output.inputs:
                output.counts[file.source.path] = Counts()
                for piece in pieces(file, self.inputs, self.chunk_size):
                    self._score(piece, file, output, target)
                    ticker.advance(len(piece.events))
            target.finish(self.card([output]))

    def _score(self, piece: Piece, file: Input, output: Output, target: ScoreFile) -> None:
        if piece.refusal:
            chunk = self.predictor.unread(piece.events, piece.refusal)
        else:
            chunk = self.predictor(piece.events, is_simulation=file.source.is_simulation)
        self._check_usable(chunk, piece, file)
        target.write(chunk.columns)
        self._count(output, file, chunk, piece.first)

    def _check_usable(self, chunk: ScoredChunk, piece: Piece, file: Input) -> None:
        if len(chunk.unusable) and not self.inputs.reader.skip_bad:
            row = int(chunk.unusable[0])
            what = "jet" if self.facts["sets"] == "jets" else "entry"
            run, lumi, event = piece.events.id[row].tolist()
            raise DataError(
                f"{file.source.path}: {what} {piece.first + row} (run {run}, luminosityBlock "
                f"{lumi}, event {event}): {chunk.reason}.\n{_SKIP_BAD}"
            )

    def _count(self, output: Output, file: Input, chunk: ScoredChunk, first: int) -> None:
        """Keep the sums, and compare what was scored with what its model has seen."""
        output.cutflow = output.cutflow + chunk.cutflow
        counts = output.counts[file.source.path]
        counts.rows += len(chunk.columns["selected"])
        counts.selected += int(chunk.columns["selected"].sum())
        counts.scored += len(chunk.rows)
        counts.unusable += len(chunk.unusable)
        hashes, fold = identity_hash(chunk.scored.id), self.predictor.fold(chunk.scored)
        for origin, places in file.by_origin(first + chunk.rows):
            for number in np.unique(fold[places]):
                mine = places[fold[places] == number]
                tally = Tally()
                tally.add(self.models.checkpoints[number].saw(), hashes[mine], origin)
                self._check_folds(tally, self.models.names[number], file)
                counts.tally.join(tally)

    def _check_folds(self, tally: Tally, which: str, file: Input) -> None:
        """Where a run has folds, no model has seen what it scores: that is what they are for."""
        if not self.models.folds:
            return
        if n := tally.counts["training", Level.YES]:
            raise DataError(
                f"{which}: has trained on {n} events of {file.source.path} that are in its own "
                "fold, which it must never see. Train the folds again."
            )
        if (n := tally.counts["pretraining", Level.YES]) and not self.allow_overlap:
            raise DataError(
                f"{which}: its backbone was pre-trained on {n} or more events of "
                f"{file.source.path} that are in its own fold, so their scores would not be "
                "independent of it. Pre-train one backbone per fold (pretrain --folds K, then "
                "transfer --folds K); or accept it: --allow-overlap."
            )

    def card(self, outputs: Sequence[Output]) -> dict[str, Any]:
        """Return what is told about these outputs."""
        tally, cutflow = Tally(), Cutflow()
        for output in outputs:
            cutflow = cutflow + output.cutflow
            for file in output.inputs:
                tally.join(output.counts[file.source.path].tally)
        rows = [
            file_facts(file, output.counts[file.source.path], self.digests[file.source.path])
            for output in outputs
            for file in output.inputs
        ]
        sums = ("entries", *COUNTED)
        return {
            **self.facts,
            "independence": tally.to_dict(),
            **{name: sum(row[name] for row in rows) for name in sums},
            "outputs": [output.path.name for output in outputs],
            "inputs": rows,
            "skipped": dict(self.inputs.skipped),
            "cutflow": cutflow.to_list(),
        }


def _warn_unusable(output: Output) -> None:
    rows = {name: counts.unusable for name, counts in output.counts.items() if counts.unusable}
    if rows:
        named = ", ".join(f"{n} of {name}" for name, n in rows.items())
        warnings.warn(
            f"{output.path}: events that hold numbers which are not finite have the score NaN: "
            f"{named}.",
            UnusableEventsWarning,
            stacklevel=4,
        )
