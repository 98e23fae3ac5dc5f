"""The metrics of a training: one JSON line and one CSV row per validation."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transferline.files import naming, write_text


class TrainingLog:
    """Appends to `metrics.jsonl`; `close` writes the same rows as `metrics.csv`."""

    def __init__(self, out: Path, from_step: int = 0) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._file = out / "metrics.jsonl"
        # A killed run may have logged beyond the state it resumes from.
        kept = [row for row in self.rows() if row["step"] <= from_step] if from_step else []
        write_text(self._file, "".join(json.dumps(row) + "\n" for row in kept))

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows; a half-written last line is left out."""
        return self.read(self._file)

    @staticmethod
    def read(file: Path) -> list[dict[str, Any]]:
        """Return the rows of a file of JSON lines; none if it is not there."""
        if not file.exists():
            return []
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def add(self, row: dict[str, Any]) -> None:
        """Append one row."""
        with naming(self._file), self._file.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Write the CSV file beside the JSON lines."""
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = self._file.with_suffix(".csv")
        with naming(table), table.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, names)
            writer.writeheader()
            writer.writerows(rows)


def history(file: Path, most: int | None = None) -> dict[str, list[float | None]]:
    """Return steps, training and validation losses of `metrics.jsonl`, rounded, for a Record.

    Of a long training every k-th validation and the last, so that there are about `most`.
    """
    rows = TrainingLog.read(file)
    if most is not None and len(rows) > most:
        rows = [*rows[: -1 : -(-len(rows) // most)], rows[-1]]
    return {
        name: [None if (v := row.get(key)) is None else float(f"{v:.5g}") for row in rows]
        for name, key in (("step", "step"), ("train", "train_loss"), ("valid", "val_loss"))
    }


def validated(file: Path, step: int) -> dict[str, float]:
    """Return what the validation at a step logged beside the loss, by name; empty if nothing."""
    rows = [row for row in TrainingLog.read(file) if row["step"] == step]
    found = rows[-1] if rows else {}
    parts = {name.removeprefix("val_"): value for name, value in found.items()
             if name.startswith("val_") and name != "val_loss"}  # fmt: skip
    return {name: value for name, value in parts.items() if value is not None}


def validation_numbers(provenance: Mapping[str, Any]) -> dict[str, float]:
    """Return what a checkpoint's provenance says of the loss and all else that was validated.

    Empty if no event validated.
    """
    loss = (provenance.get("result") or {}).get("best_loss")
    values = {"loss": loss, **(provenance.get("validation") or {})}
    return {n: value for n, value in values.items() if value is not None and math.isfinite(value)}


def validation_summary(provenance: Mapping[str, Any]) -> str:
    """Return what a pre-training's validation logged at the weights it left, in words.

    Beside the loss that is its accuracy, and of `replaced_object` what counting alone gets: a
    network that gets no more has learnt to count.
    """
    values = validation_numbers(provenance)
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items()) or "none"


class NoLog:
    """Stands in where another process keeps the log."""

    def add(self, row: dict[str, Any]) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Write nothing."""
