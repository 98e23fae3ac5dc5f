"""StudyConfig: a grid of tasks, modes, sizes and seeds in one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from transferline.config import Recipe, Seed, one_of
from transferline.errors import did_you_mean
from transferline.learning.baselines import Trees
from transferline.learning.modes import Mode
from transferline.learning.network_run import Adaptation
from transferline.learning.objectives import OBJECTIVES
from transferline.learning.optim import Optim
from transferline.learning.pretraining import PretrainConfig
from transferline.learning.tasks import TASKS
from transferline.models.backbones import BACKBONES
from transferline.models.features import Features
from transferline.samples import Sample

# It names directories and files, none of which may lead elsewhere.
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=60)]


class Variant(Recipe):
    """One pre-training: either made by the study, or an existing `checkpoint`.

    Attributes:
        checkpoint: a checkpoint directory, or `shipped` for one inside the package.
        samples: names of the study's samples, taken without their labels.
        features, backbone, objective, optim, seed, n_train, valid_share: see `PretrainConfig`.
    """

    checkpoint: str | None = None
    samples: tuple[str, ...] = ()
    features: Features = Features()
    backbone: one_of(BACKBONES) | None = None  # type: ignore[valid-type]  # registry-driven
    objective: one_of(OBJECTIVES) | None = None  # type: ignore[valid-type]  # registry-driven
    optim: Optim | None = None
    seed: Seed = 0
    n_train: int | None = None
    valid_share: float = 0.05

    @model_validator(mode="after")
    def _check(self) -> Self:
        made = {"samples", "backbone", "objective", "optim"}
        given = {name for name in made if getattr(self, name)}
        if self.checkpoint is not None and given:
            raise ValueError(f"checkpoint stands beside {', '.join(sorted(given))}: give one.")
        if self.checkpoint is None and given != made:
            missing = ", ".join(sorted(made - given))
            raise ValueError(f"needs either `checkpoint`, or also: {missing}.")
        return self

    def config(self, shards: list[Path]) -> PretrainConfig:
        """Return the pre-training on these shards."""
        rest = self.to_dict()
        del rest["checkpoint"], rest["samples"]
        data = {"kind": "shards", "files": [str(path) for path in shards]}
        return PretrainConfig.model_validate({"data": data, **rest})


class Grid(Recipe):
    """The runs: modes x sizes x seeds.

    Attributes:
        modes: `scratch`, `frozen`, `finetuned`, `trees`.
        n_train: numbers of labelled events, all classes together, selecting ones included.
        seeds: runs per point, with the seeds 0, 1, ...
        fewer_seeds: size -> seeds from this size on, where the full number is too dear.
    """

    modes: tuple[Mode, ...] = Field(("scratch", "frozen", "finetuned", "trees"), min_length=1)
    n_train: tuple[Annotated[int, Field(ge=2, le=10**12)], ...] = Field(min_length=1)
    seeds: int = Field(5, gt=0, le=1000)
    fewer_seeds: dict[int, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)

    def seeds_at(self, n_train: int) -> range:
        """Return the seeds of one size."""
        fewer = [self.fewer_seeds[n] for n in sorted(self.fewer_seeds) if n <= n_train]
        return range(min([self.seeds, *fewer[-1:]]))


class StudyConfig(Recipe):
    """A study: `transferline study study.yaml --out DIR`.

    Attributes:
        name: in Records; letters, digits, `_` and `-`.
        title: for people.
        scale: which of the four scales this is.
        samples: name -> sample.
        pretrain: name of the variant -> pre-training.
        task: the downstream question; its signal and background are names of samples.
        grid: the runs.
        scratch, frozen, finetuned: training of the networks in each mode.
        trees: settings of the baseline.
        budget: CPU hours that the grid should stay within; a warning is printed otherwise.
        keep_checkpoints: save every trained model.
        allow_overlap: let a pre-training see events of the task, even its test events.
    """

    name: _Name
    title: str
    scale: Literal["smoke", "cpu", "extended", "paper"]
    samples: dict[str, Sample] = Field(min_length=1)
    pretrain: dict[_Name, Variant] = Field(min_length=1)
    task: one_of(TASKS)  # type: ignore[valid-type]  # a registry-driven field type
    grid: Grid
    scratch: Adaptation | None = None
    frozen: Adaptation | None = None
    finetuned: Adaptation | None = None
    trees: Trees = Trees()
    budget: float | None = Field(None, gt=0)
    keep_checkpoints: bool = False
    allow_overlap: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        for mode in self.grid.modes:
            if self.how(mode) is None:
                raise ValueError(f"grid.modes names {mode}, but there are no settings `{mode}:`.")
        for name in (*self.task.samples(), *self.unlabelled()):
            if name not in self.samples:
                raise ValueError(f"no sample '{name}'.{did_you_mean(name, self.samples)}")
        if not self.allow_overlap:
            self._check_disjoint()
        return self

    def _check_disjoint(self) -> None:
        """Events of a task must not have been seen in the pre-training that it judges."""
        for seen in self.unlabelled():
            for judged in self.task.samples():
                if self.samples[seen].shares_events_with(self.samples[judged]):
                    raise ValueError(
                        f"the samples '{seen}' (pre-training) and '{judged}' (task) hold the "
                        "same events; generate one of them with another seed, or take other files "
                        "(or accept it with allow_overlap: true)."
                    )

    def unlabelled(self) -> list[str]:
        """Names of the samples that some pre-training sees, each once."""
        return list(dict.fromkeys(n for v in self.pretrain.values() for n in v.samples))

    def how(self, mode: Mode) -> Adaptation | Trees | None:
        """Return the settings of a mode."""
        found: Adaptation | Trees | None = getattr(self, mode)
        return found
