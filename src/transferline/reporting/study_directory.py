"""What a study left on disk, read so that an absent part is named and not fatal."""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transferline.data.cutflow import Cutflow
from transferline.errors import DataError
from transferline.evaluation.records import Record, read
from transferline.evaluation.roc import Floats
from transferline.files import parse_json
from transferline.reporting.run_plots import Losses, Scores


@dataclass(frozen=True)
class Pretraining:
    """One pre-trained backbone: its resolved configuration, its card and its losses."""

    name: str
    config: Any
    card: str
    losses: Losses | None


@dataclass(frozen=True)
class Sample:
    """One prepared sample: its name, its label for people, its data card and cut-flow."""

    name: str
    label: str
    card: dict[str, Any]
    cutflow: Cutflow


@dataclass
class StudyDirectory:
    """A study on disk; `absent` collects what is missing or unreadable, in words.

    Layout: `study.json`, `records.jsonl`, `samples.json`, `pretrain/<name>/{config.json, card.md,
    metrics.jsonl}`, `runs/<key>/{scores.npz, metrics.jsonl, record.json}`.
    """

    path: Path
    config: Any = None
    records: list[Record] = field(default_factory=list)
    pretrainings: list[Pretraining] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> StudyDirectory:
        """Read everything small.

        Raises:
            DataError: `path` is not a directory, or not that of a study.
        """
        if not path.is_dir():
            raise DataError(f"{path}: is not a study directory.")
        if not (path / "study.json").exists() and not (path / "records.jsonl").exists():
            raise DataError(f"{path}: is no study, it has neither study.json nor records.jsonl.")
        study = cls(path)
        study.config = study._json(path / "study.json")
        study.records = study._read_records()
        study.samples = study._read_samples()
        study.pretrainings = [
            study._read_pretraining(place)
            for place in sorted((path / "pretrain").glob("*"))
            if place.is_dir() and not place.name.startswith(".")
        ]
        if not study.pretrainings:
            study.absent.append("pretrain/: no pre-training.")
        return study

    @property
    def name(self) -> str:
        """The study's title or name as recorded, else that of its directory."""
        known = self.config if isinstance(self.config, dict) else {}
        recorded = self.records[0].study if self.records else self.path.name
        return str(known.get("title") or known.get("name") or recorded)

    def scores(self, record: Record) -> tuple[Scores, Scores | None]:
        """Return the test scores of a run, and the training scores where they were kept.

        Raises:
            DataError: there are none, or the file is damaged.
        """
        file = self.path / "runs" / record.key() / "scores.npz"
        try:
            # Opened here: NumPy leaves a damaged file open.
            with file.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
                arrays = {name: np.asarray(stored[name]) for name in stored.files}
            return _scores(arrays, "test"), _scores(arrays, "train") if _trained(arrays) else None
        except FileNotFoundError as error:
            raise DataError(f"runs/{record.key()}/scores.npz: absent.") from error
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"runs/{record.key()}/scores.npz: cannot be read ({error}).") from error

    def losses(self, record: Record) -> Losses | None:
        """Return the losses of a run, None where there are none."""
        return self._losses(self.path / "runs" / record.key() / "metrics.jsonl")

    def _relative(self, file: Path) -> str:
        return str(file.relative_to(self.path))

    def _text(self, file: Path) -> str | None:
        try:
            return file.read_text(encoding="utf-8")
        except FileNotFoundError:
            self.absent.append(f"{self._relative(file)}: absent.")
        except (OSError, UnicodeDecodeError) as error:
            self.absent.append(f"{self._relative(file)}: cannot be read ({error}).")
        return None

    def _json(self, file: Path) -> Any:
        if (text := self._text(file)) is None:
            return None
        try:
            return parse_json(text, self._relative(file))
        except DataError as error:
            self.absent.append(str(error))
            return None

    def _read_records(self) -> list[Record]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                records = read(self.path / "records.jsonl")
            except DataError as error:
                self.absent.append(_without(self.path, str(error)))
                records = []
        self.absent += [_without(self.path, str(item.message)) for item in caught]
        return records

    def _read_samples(self) -> list[Sample]:
        listed = self._json(self.path / "samples.json")
        samples = []
        for item in listed if isinstance(listed, list) else []:
            try:
                samples.append(_sample(item))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self.absent.append(f"samples.json: an entry cannot be read ({error!r}).")
        return samples

    def _read_pretraining(self, place: Path) -> Pretraining:
        return Pretraining(
            place.name,
            self._json(place / "config.json"),
            self._text(place / "card.md") or "",
            self._losses(place / "metrics.jsonl"),
        )

    def _losses(self, file: Path) -> Losses | None:
        if (text := self._text(file)) is None:
            return None
        # A line still being written has no end yet.
        lines = text.split("\n")[:-1]
        try:
            rows = [parse_json(line, self._relative(file)) for line in lines if line.strip()]
            step, train, valid = (
                _column(rows, name) for name in ("step", "train_loss", "val_loss")
            )
        except (DataError, ValueError, TypeError, AttributeError) as error:
            self.absent.append(f"{self._relative(file)}: cannot be read ({error}).")
            return None
        return Losses(step, train, valid) if rows else None


def _column(rows: list[dict[str, Any]], name: str) -> Floats:
    values = [row.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _trained(arrays: dict[str, Any]) -> bool:
    return "train_score" in arrays and arrays["train_score"].size > 0


def _scores(arrays: dict[str, Any], part: str) -> Scores:
    score = np.asarray(arrays[f"{part}_score"], dtype=np.float64)
    weight = arrays.get(f"{part}_weight", np.ones_like(score))
    return Scores(score, arrays[f"{part}_target"] == 1, np.asarray(weight, dtype=np.float64))


def _sample(item: dict[str, Any]) -> Sample:
    card = item.get("card") or {}
    name = str(item["name"])
    label = str(item.get("label") or name)
    return Sample(name, label, card, Cutflow.from_list(card.get("cutflow", [])))


def _without(path: Path, text: str) -> str:
    """Return a message without the directory, which the page names once."""
    return text.replace(f"{path}/", "")
