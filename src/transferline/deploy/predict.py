"""predict(): scores for the entries of files, and whether their models had seen them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferline.data.readers.base import Reader
from transferline.data.selections import Selection
from transferline.deploy.finished import digest, finished
from transferline.deploy.inputs import Inputs, resolve_selection, survey_inputs
from transferline.deploy.job import Job
from transferline.deploy.outputs import (
    FORMATS,
    check_free,
    check_not_read,
    is_one_file,
    plan_outputs,
)
from transferline.deploy.prediction_card import card_path, model_facts, write_cards
from transferline.deploy.scoring import Predictor, Scorer
from transferline.deploy.trained import TrainedModels, class_names, trained_models
from transferline.errors import ConfigError
from transferline.learning.optim import Optim

CHUNK_SIZE = 25_000


@dataclass(frozen=True)
class Prediction:
    """What was written.

    Attributes:
        outputs: files of scores.
        card: JSON values of the card.
        card_file: the card for people; the JSON stands beside it.
        kept: outputs that an earlier call had finished.
    """

    outputs: list[Path]
    card: dict[str, Any]
    card_file: Path
    kept: list[Path] = field(default_factory=list)


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
    allow_overlap: bool = False,
    device: str = "auto",
    chunk_size: int = CHUNK_SIZE,
) -> Prediction:
    """Score every entry of the files of `reader`; the rows of the output are their entries.

    Columns: `run`, `luminosityBlock`, `event`; `selected`, whether the event passes the model's
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
        embeddings: also write the pooled embedding of every event.
        file_format: `root` or `parquet`, where `out` is a directory.
        overwrite: replace output that exists, finished or not.
        allow_overlap: accept folds whose backbone was pre-trained on events of its own fold.
        device: `auto`, `cpu` or `cuda`.
        chunk_size: entries that are in memory at once.

    Raises:
        ConfigError: the model has no head or no selection, output exists, or names clash.
        DataError: an input or the model is damaged, a number is not finite (without
            `reader.skip_bad`), or the model of a fold has seen its events.
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
    predictor = _predictor(models, inputs, embeddings, device)
    facts = model_facts(place, models, chosen, predictor)
    digests = {f.source.path: digest(f, facts, reader) for f in inputs.files}
    if not (overwrite or is_one_file(out)):
        outputs = finished(outputs, digests)
    job = Job(models, predictor, inputs, facts, digests, chunk_size, allow_overlap)
    written = job.run(outputs)
    card = job.card(written)
    kept = [output.path for output in written if output.kept]
    return Prediction([o.path for o in written], card, write_cards(card, card_path(out)), kept)


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
    )
