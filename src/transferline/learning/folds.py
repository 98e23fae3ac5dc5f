"""FoldSet: the models of K folds in one directory, model k made without the events of fold k."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from transferline.data.folds import FOLD_SALT, Fold
from transferline.errors import ConfigError, DataError
from transferline.files import write_json
from transferline.models.checkpoint import Checkpoint

FOLDS = "folds.json"


@dataclass(frozen=True)
class FoldSet:
    """What `folds.json` says; it is written last, so without it the folds are unfinished.

    Attributes:
        n: number of folds.
        models: directory of the checkpoint of every fold, below that of the file; none for
            boosted trees, which are measured and not kept.
        sha256: of the weights of each.
        salt: of the hash that the folds are cut from.
        facts: settings and results, for people.
    """

    n: int
    models: tuple[str, ...]
    sha256: tuple[str, ...]
    salt: int = FOLD_SALT
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, n: int, models: Sequence[str], facts: dict[str, Any]) -> Self:
        """Describe finished models."""
        hashes = tuple(Checkpoint.load(root / name).sha256 for name in models)
        return cls(n, tuple(models), hashes, facts=facts)

    @property
    def folds(self) -> list[Fold]:
        """The folds in order."""
        return every_fold(self.n, self.salt)

    def write(self, root: Path) -> None:
        """Write `folds.json`."""
        models = [
            {"fold": k, "checkpoint": name, "sha256": sha256}
            for k, (name, sha256) in enumerate(zip(self.models, self.sha256, strict=True))
        ]
        head = {"format": 1, "folds": self.n, "salt": self.salt, "models": models}
        write_json(root / FOLDS, {**head, **self.facts})

    @classmethod
    def read(cls, root: Path) -> Self | None:
        """Read `folds.json`; None where there is none.

        Raises:
            DataError: it is damaged or of another format.
        """
        file = root / FOLDS
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            models = content.pop("models")
            known = cls(
                int(content.pop("folds")),
                tuple(str(model["checkpoint"]) for model in models),
                tuple(str(model["sha256"]) for model in models),
                int(content.pop("salt")),
                content,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file}: is damaged ({error}).") from error
        if content.pop("format", None) != 1 or len(models) not in (0, known.n):
            raise DataError(f"{file}: is damaged, or of a version that is not known here.")
        return known

    def load(self, root: Path) -> list[Checkpoint]:
        """Load the checkpoints in order.

        Raises:
            ConfigError: the folds keep none (boosted trees).
            DataError: one is missing or damaged, or is another than the one of its fold.
        """
        if not self.models:
            raise ConfigError(f"{root}: holds no networks: boosted trees are measured, not kept.")
        found = []
        for name, sha256 in zip(self.models, self.sha256, strict=True):
            checkpoint = Checkpoint.load(root / name)
            if checkpoint.sha256 != sha256:
                raise DataError(
                    f"{root / name}: is not the model that {root / FOLDS} names for this fold. "
                    "Put it back, or train the folds again."
                )
            found.append(checkpoint)
        return found


def every_fold(folds: int, salt: int = FOLD_SALT) -> list[Fold]:
    """Return all folds of a number of them.

    Raises:
        ConfigError: there are fewer than two.
    """
    if folds < 2:
        raise ConfigError(f"--folds {folds}: needs at least two, or one would have no events.")
    return [Fold(number, folds, salt) for number in range(folds)]
