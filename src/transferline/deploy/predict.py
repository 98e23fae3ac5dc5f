"""predict(): scores for the entries of files, and whether their models had seen them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferline.data.readers.base import Reader
from transferline.data.readers.root_jets import RootJets
from transferline.data.selections import AnySelection, Selection
from transferline.deploy.finished import digest, finished
from transferline.deploy.inputs import Inputs, survey_inputs
from transferline.deploy.job import Job
from transferline.deploy.model_selection import resolve_selection
from transferline.deploy.outputs import (
    check_free,
    check_not_read,
    chosen_format,
    is_one_file,
    plan_outputs,
)
from transferline.deploy.prediction_card import model_facts
from transferline.deploy.scoring import Predictor, Scorer
from transferline.deploy.trained import TrainedModels, class_names, signal_class, trained_models
from transferline.errors import ConfigError
from transferline.learning.optim import Optim

CHUNK_SIZE = 25_000
JETS_CHUNK_SIZE = 5_000
"""Jets have some hundred particles, with three times the columns that objects of events have."""


@dataclass(frozen=True)
class Prediction:
    """What was written.

    Attributes:
        outputs: files of scores.
        card: JSON values of the cards, of all outputs together.
        cards: the card of each output, for people; its JSON stands beside it.
        friend_of: the tree whose entries are the rows, if there is one.
        kept: outputs that an earlier call had finished.
    """

    outputs: list[Path]
    card: dict[str, Any]
    cards: list[Path]
    friend_of: str | None
    kept: list[Path] = field(default_factory=list)


def predict(
    place: Path | str,
    reader: Reader,
    out: Path,
    *,
    need_folds: bool = False,
    selection: AnySelection | None = None,
    golden_json: Path | None = None,
    embeddings: bool = False,
    file_format: str | None = None,
    overwrite: bool = False,
    allow_overlap: bool = False,
    device: str = "auto",
    chunk_size: int | None = None,
) -> Prediction:
    """Score every entry of the files of `reader`; the rows of the output are their entries.

    For a model of jets, the rows are the jets in them, in order.

    Columns: `run`, `luminosityBlock`, `event`; `selected`, whether the row passes the model's
    selection; `score` (probability of signal) for two classes, `score_<class>` for more, NaN
    where not selected; with folds `fold`; with `embeddings` the vector `embedding`. Computed in
    float32, chunk by chunk.

    Into a directory, files that an earlier call has finished with the same model, input and
    options are kept. With `reader.skip_bad`, an event that holds a number which is not finite gets
    NaN and is counted; `selected` is then what the selection says, or False where the reader gives
    no more than the event's identity.

    Args:
        place: a run or a checkpoint. Where the run has folds, each event is scored by the model
            of its fold, which has not seen it.
        reader: the input files.
        out: `*.root` or `*.parquet`: one file with the entries of all input files, in their
            order. Else a directory: one file per input file, to be its friend.
        need_folds: refuse a run without folds.
        selection: in place of the model's own.
        golden_json: certified blocks of collision data, in place of the selection's.
        embeddings: also write the pooled embedding of every row.
        file_format: `root` or `parquet`, where `out` is a directory; by default `root`.
        overwrite: replace output that exists, finished or not.
        allow_overlap: accept folds whose backbone was pre-trained on events of its own fold.
        device: `auto`, `cpu` or `cuda`.
        chunk_size: rows that are in memory at once; 25,000 events or 5,000 jets by default.

    Raises:
        ConfigError: the model has no head, one of events of jets, or no selection; output exists;
            or names clash.
        DataError: an input or the model is damaged, a number is not finite (without
            `reader.skip_bad`), or the model of a fold has seen its events.
    """
    out = Path(out)
    file_format = chosen_format(out, file_format)
    check_free([out] if is_one_file(out) else [], overwrite)
    models = trained_models(place, need_folds=need_folds)
    own = models.checkpoints[0].selection
    chosen = resolve_selection(own, selection, golden_json, str(place), reader)
    inputs = survey_inputs(reader, chosen)
    outputs = plan_outputs(out, inputs, file_format)
    targets = [output.path for output in outputs]
    check_not_read(targets, inputs)
    predictor = _predictor(models, inputs, embeddings, device)
    facts = model_facts(place, models, chosen, predictor)
    digests = {f.source.path: digest(f, facts, reader) for f in inputs.files}
    if not (overwrite or is_one_file(out)):
        outputs = finished(outputs, digests)
    size = chunk_size or (CHUNK_SIZE if isinstance(chosen, Selection) else JETS_CHUNK_SIZE)
    job = Job(models, predictor, inputs, facts, digests, size, allow_overlap)
    written = job.run(outputs)
    card = job.card(written)
    return Prediction(
        [output.path for output in written],
        card,
        [output.card for output in written],
        _friend_of(inputs),
        [output.path for output in written if output.kept],
    )


def _friend_of(inputs: Inputs) -> str | None:
    """Name of the tree whose entries the rows stand beside, one by one; None without such a tree.

    Equal numbers do not tell: of three events one may have two jets and one none.
    """
    reader = inputs.reader
    if isinstance(reader, RootJets):
        entries = {file.source.format.partition(", one entry per ")[2] for file in inputs.files}
        per_jet = entries <= {"", "jet"}
        return reader.table.tree if per_jet else None
    return "Events" if reader.kind == "nanoaod" else None


def _predictor(models: TrainedModels, inputs: Inputs, embeddings: bool, device: str) -> Predictor:
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: is not one of auto, cpu, cuda.")
    where = Optim.model_validate({"steps": 1, "device": device}).torch_device()
    return Predictor(
        [Scorer.of(checkpoint, where) for checkpoint in models.checkpoints],
        models.folds,
        inputs.selection,
        class_names(models.checkpoints[0]),
        embeddings,
        signal_class(models.checkpoints[0]),
    )
