"""StudyConfig: a grid of tasks, modes, sizes and seeds in one YAML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from transferline.config import Recipe, Seed, added, one_of
from transferline.errors import ConfigError, did_you_mean
from transferline.learning.baselines import Trees
from transferline.learning.modes import Mode
from transferline.learning.network_run import Adaptation
from transferline.learning.objectives import OBJECTIVES
from transferline.learning.optim import Optim
from transferline.learning.pretraining import PretrainConfig
from transferline.learning.tasks import TASKS
from transferline.learning.tasks.base import Task
from transferline.learning.tokenizing import TokenizeConfig
from transferline.models.backbones import BACKBONES
from transferline.models.features import Features
from transferline.models.heads import Head
from transferline.models.tokenizers import TOKENIZERS
from transferline.samples import Sample

# It names directories and files, none of which may lead elsewhere.
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=60)]


class Part(Recipe):
    """A part of the grid.

    Attributes:
        modes: those of the grid's modes that are done; all unless given.
        largest: its largest size.
        seeds: its largest number of seeds.
        sizes: mode -> its sizes, where it is not done at all of them.
    """

    modes: tuple[Mode, ...] = ()
    largest: int | None = Field(None, gt=0)
    seeds: int | None = Field(None, gt=0)
    sizes: dict[Mode, tuple[int, ...]] = added({})

    def holds(self, mode: Mode, n_train: int, seed: int) -> bool:
        """Tell whether a run of the grid belongs to the part."""
        return (
            mode in (self.modes or (mode,))
            and n_train <= (self.largest or n_train)
            and n_train in self.sizes.get(mode, (n_train,))
            and seed < (self.seeds or seed + 1)
        )


class Only(Part):
    """The part of the grid that is run for one pre-training.

    Attributes:
        modes, largest, seeds, sizes: see `Part`.
        tasks: names of the tasks that it is used for; all unless given.
        scratch: another pre-training, with whose scratch runs this one is compared in place of
            its own; architecture, inputs and settings must be the same, the constants of the
            inputs, which come from other events, need not.
    """

    tasks: tuple[str, ...] = added(())
    scratch: str | None = None


class Variant(Recipe):
    """One pre-training: either made by the study, or an existing `checkpoint`.

    Variants may share their pre-training and differ in how it is adapted: it is made once.

    Attributes:
        checkpoint: a checkpoint directory, or `shipped` for one inside the package.
        samples: names of the study's samples, taken without their labels.
        classes: class -> some of these samples, for objectives that need labels.
        features, backbone, objective, head, optim, seed, n_train, valid_share: see
            `PretrainConfig`.
        start: name of another pre-training, which has no `start` itself; this one goes on from its
            weights.
        scratch, frozen, fixed, finetuned: training of the networks of this architecture, in
            place of the study's.
        only: the part of the grid that is run for it, where all of it is too dear. Scratch runs
            that several pre-trainings are compared with are done for each one that wants them.
    """

    checkpoint: str | None = None
    samples: tuple[str, ...] = ()
    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    head: Head = Head()
    features: Features = Features()
    backbone: one_of(BACKBONES) | None = None  # type: ignore[valid-type]  # registry-driven
    objective: one_of(OBJECTIVES) | None = None  # type: ignore[valid-type]  # registry-driven
    optim: Optim | None = None
    seed: Seed = 0
    start: str | None = added(None)
    n_train: int | None = None
    valid_share: float = 0.05
    scratch: Adaptation | None = None
    frozen: Adaptation | None = None
    fixed: Adaptation | None = None
    finetuned: Adaptation | None = None
    only: Only = Only()

    @model_validator(mode="after")
    def _check(self) -> Self:
        made = {"samples", "backbone", "objective", "optim"}
        given = {name for name in made if getattr(self, name)}
        given |= {"start"} if self.start is not None and self.checkpoint is not None else set()
        if self.checkpoint is not None:
            fields = type(self).model_fields
            given |= {
                name
                for name in ("classes", "features", "head", "n_train", "seed", "valid_share")
                if getattr(self, name) != fields[name].get_default(call_default_factory=True)
            }
        if self.checkpoint is not None and given:
            raise ValueError(f"checkpoint stands beside {', '.join(sorted(given))}: give one.")
        if self.checkpoint is None and given != made:
            missing = ", ".join(sorted(made - given))
            raise ValueError(f"needs either `checkpoint`, or also: {missing}.")
        for name in (name for names in self.classes.values() for name in names):
            if name not in self.samples:
                hint = did_you_mean(name, self.samples)
                raise ValueError(f"classes: '{name}' is none of the `samples`.{hint}")
        if self.checkpoint is None:
            self.config({name: Path(name) for name in self.samples})
        return self

    def config(self, places: Mapping[str, Path]) -> PretrainConfig:
        """Return the pre-training on the shards of its samples, `places[name]`.

        Raises:
            ValueError: the settings do not go together.
        """
        rest = self.to_dict()
        for name in ("checkpoint", "samples", "scratch", "frozen", "fixed", "finetuned", "only"):
            del rest[name]
        rest["classes"] = {
            label: [str(places[name]) for name in names] for label, names in self.classes.items()
        }
        data = {"kind": "shards", "files": [str(places[name]) for name in self.samples]}
        return PretrainConfig.model_validate({"data": data, **rest})


class StudyTokenizer(Recipe):
    """A tokenizer that the study makes; objectives take it by its name.

    Attributes:
        samples: names of the study's samples, taken without their labels.
        features, tokenizer, optim, particles, seed, n_train, valid_share: see `TokenizeConfig`.
    """

    samples: tuple[str, ...] = Field(min_length=1)
    features: Features = TokenizeConfig.model_fields["features"].default
    tokenizer: one_of(TOKENIZERS)  # type: ignore[valid-type]  # registry-driven
    optim: Optim | None = None
    particles: int = 1_000_000
    seed: Seed = 0
    n_train: int | None = None
    valid_share: float = 0.05

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.config({name: Path(name) for name in self.samples})
        return self

    def config(self, places: Mapping[str, Path]) -> TokenizeConfig:
        """Return the making of it from the shards of its samples, `places[name]`.

        Raises:
            ValueError: the settings do not go together.
        """
        rest = self.to_dict()
        files = [str(places[name]) for name in rest.pop("samples")]
        return TokenizeConfig.model_validate({"data": {"kind": "shards", "files": files}, **rest})


class Grid(Recipe):
    """The runs: modes x sizes x seeds.

    Attributes:
        modes: `scratch`, `frozen`, `fixed`, `finetuned`, `trees`; `fixed` is done for backbones
            with BatchNorm.
        n_train: numbers of labelled events, all classes together, selecting ones included.
        seeds: runs per point, with the seeds 0, 1, ...
        fewer_seeds: size -> seeds from this size on, where the full number is too dear.
        largest: task -> its largest size, where its events do not suffice for more.
        only: task -> the part of the grid that is done for it.
    """

    modes: tuple[Mode, ...] = Field(("scratch", "frozen", "finetuned", "trees"), min_length=1)
    n_train: tuple[Annotated[int, Field(ge=2, le=10**12)], ...] = Field(min_length=1)
    seeds: int = Field(5, gt=0, le=1000)
    fewer_seeds: dict[int, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    largest: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    only: dict[str, Part] = added({})

    @model_validator(mode="after")
    def _check_repeats(self) -> Self:
        if len(set(self.n_train)) < len(self.n_train):
            raise ValueError("n_train: names a size twice.")
        if len(set(self.modes)) < len(self.modes):
            raise ValueError("modes: names a mode twice.")
        return self

    def sizes(self, task: str) -> list[int]:
        """Return the sizes of one task, rising."""
        return sorted(n for n in self.n_train if n <= self.largest.get(task, n))

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
        tokenizers: name -> tokenizer, made before the pre-trainings.
        pretrain: name of the variant -> pre-training.
        task: the downstream question; its signal and background are names of samples.
        tasks: several questions, each with a name of its own, in place of one.
        grid: the runs.
        scratch, frozen, fixed, finetuned: training of the networks in each mode.
        trees: settings of the baseline.
        budget: CPU hours that the grid should stay within; a warning is printed otherwise.
        keep_checkpoints: save every trained model.
        allow_overlap: let a pre-training see events of the task, even its test events.
    """

    name: _Name
    title: str
    scale: Literal["smoke", "cpu", "extended", "paper"]
    samples: dict[str, Sample] = Field(min_length=1)
    tokenizers: dict[_Name, StudyTokenizer] = added({})
    pretrain: dict[_Name, Variant] = Field(min_length=1)
    task: one_of(TASKS) | None = None  # type: ignore[valid-type]  # registry-driven
    tasks: tuple[one_of(TASKS), ...] = ()  # type: ignore[valid-type]  # registry-driven
    grid: Grid
    scratch: Adaptation | None = None
    frozen: Adaptation | None = None
    fixed: Adaptation | None = None
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
        self._check_questions()
        for name, variant in self.pretrain.items():
            if name == "none":
                raise ValueError("pretrain.none: that name means runs without a pre-training.")
            self._check_part(f"pretrain.{name}.only", variant.only)
            other = variant.only.scratch
            if other is not None:
                self._check_scratch(name, other)
            if variant.start is not None:
                self._check_start(name, variant.start)
            self._check_tokenizers(name, variant)
        for name in self.used():
            if name not in self.samples:
                raise ValueError(f"no sample '{name}'.{did_you_mean(name, self.samples)}")
        if not self.allow_overlap:
            self._check_disjoint()
        return self

    def _check_part(self, where: str, part: Part) -> None:
        for mode in (*part.modes, *part.sizes):
            if mode not in self.grid.modes:
                raise ValueError(f"{where}: grid.modes does not name {mode}.")
        for size in (size for sizes in part.sizes.values() for size in sizes):
            if size not in self.grid.n_train:
                raise ValueError(f"{where}: sizes: grid.n_train has no {size}.")

    def _check_scratch(self, name: str, other: str) -> None:
        where = f"pretrain.{name}.only.scratch"
        if other not in self.pretrain:
            raise ValueError(
                f"{where}: no pre-training '{other}'.{did_you_mean(other, self.pretrain)}"
            )
        if self.pretrain[other].only.scratch is not None:
            raise ValueError(f"{where}: '{other}' has no scratch runs of its own.")

    def _check_start(self, name: str, other: str) -> None:
        where = f"pretrain.{name}.start"
        if other not in self.pretrain:
            raise ValueError(
                f"{where}: no pre-training '{other}'.{did_you_mean(other, self.pretrain)}"
            )
        first, second = self.pretrain[other], self.pretrain[name]
        if first.start is not None or other == name:
            raise ValueError(f"{where}: '{other}' goes on from another one itself.")
        if first.checkpoint is not None:
            return  # it is compared when it is read
        for part in ("features", "backbone"):
            if getattr(first, part) != getattr(second, part):
                raise ValueError(f"{where}: '{other}' has other {part}; both must be the same.")

    def _check_tokenizers(self, name: str, variant: Variant) -> None:
        """They are opened once all samples are generated, which may have taken hours."""
        asked = {} if variant.objective is None else variant.objective.ingredients()
        for tokenizer in asked.values():
            if tokenizer not in self.tokenizers and not Path(tokenizer).is_dir():
                raise ValueError(
                    f"pretrain.{name}.objective: '{tokenizer}' is none of the `tokenizers`, and no "
                    f"directory.{did_you_mean(tokenizer, self.tokenizers)}"
                )

    def _check_questions(self) -> None:
        if (self.task is None) == (not self.tasks):
            raise ValueError("needs either `task`, or `tasks` with one or more of them.")
        names = [task.name for task in self.questions()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"tasks: the name '{twice[0]}' stands twice; Records go by it.")
        named = {"grid.largest": list(self.grid.largest), "grid.only": list(self.grid.only)}
        named |= {f"pretrain.{key}.only": list(v.only.tasks) for key, v in self.pretrain.items()}
        for task, part in self.grid.only.items():
            self._check_part(f"grid.only: {task}", part)
        for where, tasks in named.items():
            for name in tasks:
                if name not in names:
                    raise ValueError(f"{where}: no task '{name}'.{did_you_mean(name, names)}")

    def _check_disjoint(self) -> None:
        """Events of a task must not have been seen in the pre-training that it judges."""
        tasks = {task.name: task.samples() for task in self.questions()}
        tokenized = [name for tokenizer in self.tokenizers.values() for name in tokenizer.samples]
        pairs = dict.fromkeys(
            (seen, judged)
            for variant in self.pretrain.values()
            for task in variant.only.tasks or tasks
            for judged in tasks[task]
            for seen in (*self._begun_with(variant), *variant.samples, *tokenized)
        )
        for seen, judged in pairs:
            if self.samples[seen].shares_events_with(self.samples[judged]):
                raise ValueError(
                    f"the samples '{seen}' (pre-training) and '{judged}' (task) hold the "
                    "same events; generate one of them with another seed, or take other files "
                    "(or accept it with allow_overlap: true)."
                )

    def _begun_with(self, variant: Variant) -> tuple[str, ...]:
        return () if variant.start is None else tuple(self.pretrain[variant.start].samples)

    def questions(self) -> tuple[Task, ...]:
        """Return the tasks, be it one or several."""
        return self.tasks if self.task is None else (self.task,)

    def _labelled(self) -> list[str]:
        """Names of the samples that some task asks about, each once."""
        return list(dict.fromkeys(n for task in self.questions() for n in task.samples()))

    def only(self, names: Sequence[str]) -> Self:
        """Return the study with these of its tasks; a name may be cut where it stays clear.

        Raises:
            ConfigError: a name is none of the tasks', or the beginning of several.
        """
        chosen = {self._named(name).name for name in names}
        return self.model_copy(
            update={
                "task": None,
                "tasks": tuple(task for task in self.questions() if task.name in chosen),
            }
        )

    def _named(self, name: str) -> Task:
        known = {task.name: task for task in self.questions()}
        found = [name] if name in known else [key for key in known if key.startswith(name)]
        if len(found) != 1:
            what = "begins several tasks" if found else "is no task"
            raise ConfigError(f"--task '{name}': {what}.{did_you_mean(name, known)}")
        return known[found[0]]

    def used(self) -> list[str]:
        """Names of all samples that are needed, each once."""
        return list(dict.fromkeys((*self._labelled(), *self.unlabelled())))

    def unlabelled(self) -> list[str]:
        """Names of the samples that some pre-training or tokenizer sees, each once."""
        tokenizers, variants = self.tokenizers.values(), self.pretrain.values()
        every = [*(t.samples for t in tokenizers), *(v.samples for v in variants)]
        return list(dict.fromkeys(name for names in every for name in names))

    def wants(
        self, task: str, mode: Mode, variants: Iterable[str], n_train: int, seed: int
    ) -> bool:
        """Tell whether a run is done for one of these pre-trainings; for none, always."""
        if not self.grid.only.get(task, Part()).holds(mode, n_train, seed):
            return False
        parts = [self.pretrain[name].only for name in variants if name in self.pretrain]
        return not parts or any(
            part.holds(mode, n_train, seed) and task in (part.tasks or (task,)) for part in parts
        )

    def how(self, mode: Mode, variant: str | None = None) -> Adaptation | Trees | None:
        """Return the settings of a mode, those of a pre-training where it has its own."""
        own = getattr(self.pretrain[variant], mode, None) if variant in self.pretrain else None
        found: Adaptation | Trees | None = own or getattr(self, mode)
        return found
