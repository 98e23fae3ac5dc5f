"""What a report says of the samples: events, weights and cut-flow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from transferline.reporting import run_plots
from transferline.reporting.drawing import Drawing
from transferline.reporting.study_directory import Sample
from transferline.reporting.style import Label
from transferline.reporting.table import Table

_HEADER = (
    "Sample",
    "Kind",
    "Events that passed",
    "N_eff",
    "Negative weights",
    "Sum of weights before cuts",
    "Cross section in pb",
)


def sample_table(samples: Sequence[Sample]) -> Table:
    """Return size and weights of every sample, as its data card has them."""
    rows = [
        (
            _name(sample),
            _kind(sample.card),
            _number(sample.card.get("n_events"), ",.0f"),
            _number(sample.card.get("n_eff"), ",.1f"),
            _number(sample.card.get("negative_fraction"), ".2%"),
            _number(sample.card.get("sum_weight"), ",.6g"),
            _number(sample.card.get("cross_section_pb"), ".4g"),
        )
        for sample in samples
    ]
    note = "N_eff = (sum w)^2 / sum w^2 of the events that passed; weights are signed."
    return Table("Samples", _HEADER, tuple(rows), note)


def cut_flow_table(sample: Sample) -> Table:
    """Return events and sums of signed weights after every step."""
    steps = sample.cutflow.steps
    whole = steps[0].sum_weight
    rows = [
        (
            step.name,
            f"{step.events:,}",
            f"{step.sum_weight:,.6g}",
            f"{step.sum_weight / whole:.3%}" if whole else "–",
        )
        for step in steps
    ]
    header = ("Step", "Events", "Sum of weights", "Of all")
    return Table(f"Cut-flow of {_name(sample)}", header, tuple(rows))


def cut_flow(samples: Sequence[Sample]) -> Drawing:
    """Return the drawing of all cut-flows together."""
    labels = Counter(sample.label for sample in samples)
    shares = {
        # Samples of one label, such as two years of a process, are told apart by their names.
        sample.label if labels[sample.label] == 1 else _name(sample): [
            (step.name, step.sum_weight) for step in sample.cutflow.steps
        ]
        for sample in samples
    }
    kinds = sorted({_kind(sample.card) for sample in samples})
    label = Label(kind=" and ".join(kinds).capitalize())
    return Drawing("cut_flow", "Cut-flow.", lambda: run_plots.cut_flow(shares, label))


def _name(sample: Sample) -> str:
    return sample.name if sample.label == sample.name else f"{sample.label} ({sample.name})"


def _kind(card: dict[str, Any]) -> str:
    return "simulation" if card.get("is_simulation", True) else "collision data"


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "–"
