"""Ablation: pre-trainings that differ from a reference in one thing each, in one table."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from transferline.config import Recipe
from transferline.evaluation.comparison import paired_difference
from transferline.evaluation.learning_curve import Line, learning_curve
from transferline.evaluation.records import Record
from transferline.reporting.pretext_table import of_records
from transferline.reporting.result_tables import ALONE, difference_text
from transferline.reporting.table import Table

_PRETEXT = {"loss": "Loss of its task", "accuracy": "Accuracy", "counting_types": "Counting"}
_MODES = {"frozen": "Frozen", "finetuned": "Fine-tuned"}
_NONE = "–"
_NOTE = (
    "Loss and accuracy are those of the pre-training's own task in validation; not all variants "
    "have the same task, so that a lower loss is not a better pre-training. Counting: the best "
    "guess from the numbers of objects of each type. Differences are paired by seed, in brackets "
    "the p-value, by Student's t; of each variant there is one pre-training, and by how much two "
    f"of the same kind differ no error contains. {ALONE}"
)


class Ablation(Recipe):
    """Variants of a pre-training beside it.

    Attributes:
        title: of the table.
        task: as in the Records.
        n_train: labelled events.
        metric: of the columns and differences.
        reference: name of the pre-training that the others vary.
        variants: name of a pre-training -> what is different in it.
    """

    title: str
    task: str
    n_train: int
    metric: str = "auc"
    reference: str
    variants: dict[str, str] = Field(min_length=1)


def ablation_table(ablation: Ablation, records: Sequence[Record]) -> Table:
    """Return a row for the reference and one for every variant; what was not run is left open.

    Raises:
        DataError, NumericalError: as `learning_curve`, of the lines of the table.
    """
    named = {ablation.reference: "the reference", **ablation.variants}
    found = [
        record
        for record in records
        if (record.task, record.n_train) == (ablation.task, ablation.n_train)
        and ablation.metric in record.metrics
        and record.mode in _MODES
        and record.pretraining in named
    ]
    curves = learning_curve(found, ablation.metric) if found else []
    lines = {(line.mode, line.pretraining): line for line in curves}
    # A name may be another pre-training's elsewhere on the page.
    studies = {record.study for record in found}
    own = [r for r in records if r.task == ablation.task and (r.study in studies or not studies)]
    logged = of_records(own)
    rows = []
    for name, text in named.items():
        pretext = [logged.get(name, {}).get(key) for key in _PRETEXT]
        row = [text, *(_NONE if value is None else f"{value:.4f}" for value in pretext)]
        for mode in _MODES:
            row += _cells(lines.get((mode, name)), lines.get((mode, ablation.reference)))
        rows.append(tuple(row))
    transferred = [part for title in _MODES.values() for part in (title, "to the reference")]
    return Table(ablation.title, ("Variant", *_PRETEXT.values(), *transferred), tuple(rows), _NOTE)


def _cells(line: Line | None, reference: Line | None) -> tuple[str, str]:
    """The metric of a line and its difference to the reference."""
    if line is None:
        return _NONE, _NONE
    [point] = line.points
    value = f"{point.measurement} ({len(point.values)})"
    if reference is None or reference is line:
        return value, _NONE
    differences = paired_difference(line, reference)
    return value, difference_text(differences[0]) if differences else _NONE
