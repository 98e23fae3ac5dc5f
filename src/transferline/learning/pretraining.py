"""pretrain(): data, Features, backbone and objective in; a Checkpoint out."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from transferline.config import Recipe, Seed, added, one_of
from transferline.data.folds import Fold
from transferline.data.loader import POOL, Loader
from transferline.data.nested import sets_of
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.data.readers.shards import Shards, ShardSet
from transferline.errors import ConfigError
from transferline.files import alone_in, json_hash
from transferline.learning.attention import attention_by_kind
from transferline.learning.distributed import World, joined
from transferline.learning.folds import FOLDS
from transferline.learning.ingredients import (
    Ingredients,
    begin,
    described,
    hashes,
    ingredients_of,
    seen_by,
)
from transferline.learning.jet_sampling import GENERATOR, save_generator
from transferline.learning.objectives import OBJECTIVES
from transferline.learning.objectives.base import Objective, ObjectiveRecipe
from transferline.learning.optim import Optim
from transferline.learning.pretraining_card import backbone_card
from transferline.learning.source_labels import UNLABELLED, source_labels
from transferline.learning.source_rows import (
    FIT_ROWS,
    Rows,
    by_length,
    evenly,
    mixed,
    source_rows,
)
from transferline.learning.source_weights import weights_left_aside
from transferline.learning.training import FitResult, fit
from transferline.learning.training_log import history, validated
from transferline.learning.training_place import (
    RESOLVED,
    TRAINING,
    check_place,
    forget_training,
    is_finished,
)
from transferline.models.backbones import BACKBONES
from transferline.models.checkpoint import Checkpoint, common_selection
from transferline.models.features import Features
from transferline.models.heads import Head
from transferline.models.model import (
    Model,
    ModelRecipe,
    parameter_counts,
    tensors_of,
    unchanged,
    weight_hash,
)
from transferline.models.seen import Seen
from transferline.models.stored import MADE_OF
from transferline.progress import say
from transferline.provenance import run_facts

_LOGS = ("metrics.jsonl", "metrics.csv", RESOLVED)
_LOSSES = 40  # points of the loss curve that the checkpoint tells


PROTOCOL = 4
"""Raised with every change that makes equal settings and events give other weights."""


class PretrainConfig(Recipe):
    """A pre-training: `transferline pretrain config.yaml --out DIR`.

    Attributes:
        data: prepared shards.
        classes: class -> some of the `files` of `data`, for objectives that need labels; the
            events of other files have none.
        head: what such an objective puts on the backbone; it is not transferred.
        features: particle columns of the inputs.
        backbone: architecture.
        objective: what to learn from the events.
        optim: optimiser and budget.
        seed: of weights, order and masking.
        start: a checkpoint, whose Features and backbone this one begins with in place of random
            weights; its own must be the same. So one data set teaches before another.
        n_train: use only so many events, a nested prefix; all unless given. Those of a smaller
            number are among those of a larger one with equal `seed` and `valid_share`, and of a
            mixture (`transferline.data.mix`) they have the proportions of the whole.
        valid_share: share of all the events, by hash, that only validates, however small `n_train`.
    """

    data: Shards
    features: Features = Features()
    backbone: one_of(BACKBONES)  # type: ignore[valid-type]  # a registry-driven field type
    objective: one_of(OBJECTIVES)  # type: ignore[valid-type]  # a registry-driven field type
    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    head: Head = Head()
    optim: Optim
    seed: Seed = 0
    start: str | None = added(None)
    n_train: int | None = Field(None, gt=0)
    valid_share: float = Field(0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.objective.needs_labels and len(self.classes) < 2:
            raise ValueError(
                f"objective {self.objective.kind} needs labels: give `classes:` with at least two "
                "of them, each with some of the files of `data`."
            )
        if self.classes and not self.objective.needs_labels:
            raise ValueError(
                f"objective {self.objective.kind} takes no labels: leave `classes:` out, or take "
                "`supervised`, or `joint` with it."
            )
        files = [file for files in self.classes.values() for file in files]
        twice = sorted({file for file in files if files.count(file) > 1})
        if twice:
            raise ValueError(f"classes: {twice[0]} stands twice.")
        return self

    def digest(self) -> str:
        """Return the hash of the recipe; where its tokenizers and its start stand is no part of it.

        What they are is: see `ingredients.hashes`.
        """
        named = {place: Path(name) for name, place in self.objective.ingredients().items()}
        objective = self.objective.located(named) if named else self.objective
        placeless = self.model_copy(update={"objective": objective, "start": None})
        return json_hash(placeless.to_dict())

    def recipe(self) -> ModelRecipe:
        """The model without any task's head."""
        return ModelRecipe(features=self.features, backbone=self.backbone)


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    fold: Fold | None = None,
    label: str | None = "pre-train",
    save_seconds: float = 60.0,
) -> Path:
    """Train and write the checkpoint directory `out`; return it.

    With `resume` a training that was stopped goes on, and one that is finished stays as it is;
    with `overwrite` it is made anew, and what is there stays until the new one is whole. With both,
    what was stopped goes on.
    Events of `fold` are left out of everything: the training, the validation, and the constants
    of Features. Under torchrun all processes train together on the batches of one, see
    `transferline.learning.data_parallel`.

    Raises:
        ConfigError: torchrun's variables are wrong, the backbone cannot be divided, another
            process works in `out`, or something is there and neither `resume` nor `overwrite` was
            asked for.
        DataError: the shards are unusable or hold too few events.
        NumericalError, StopRequestedError: see `fit`.
    """
    if (Path(out) / FOLDS).exists():
        raise ConfigError(f"{out}: holds pre-trainings of folds. Choose another --out.")
    with joined() as world:
        # torchrun may start a failed training again by itself: that is to go on.
        resume = resume or world.restarts > 0
        with alone_in(Path(out), tidy=True) if world.main else nullcontext():
            _pretrain(
                config,
                Path(out),
                world,
                resume=resume,
                overwrite=overwrite,
                fold=fold,
                label=label,
                save_seconds=save_seconds,
            )
        world.wait()
    return Path(out)


def _pretrain(
    config: PretrainConfig,
    out: Path,
    world: World,
    *,
    resume: bool,
    overwrite: bool,
    fold: Fold | None,
    label: str | None,
    save_seconds: float,
) -> None:
    check_place(out, resume=resume, overwrite=overwrite)
    world.wait()  # all have looked before the first one clears away
    data = config.data
    shards = NestedShardSet(data.paths()) if config.objective.nested else data.open()
    shards.verify(world.rank, world.size)  # all together: nobody waits for another too long
    train_rows, valid_rows = source_rows(
        shards,
        config.data.files,
        seed=config.seed,
        n_train=config.n_train,
        valid_share=config.valid_share,
        fold=fold,
    )
    ingredients = ingredients_of(config.objective, config.start)
    labels = source_labels(shards, config.classes, train_rows) if config.classes else {}
    aside = weights_left_aside(
        shards.weight[train_rows],
        labels=config.objective.needs_labels,
        pretext=config.objective.kind != "supervised",
    )
    shards.forget()  # a training of millions of events needs no table of them
    some = Loader(shards, evenly(train_rows, FIT_ROWS), 1024, shuffle=False)
    model, objective = _built(config, ingredients, some)
    train, valid = _loaders(config, model, shards, (train_rows, valid_rows), labels)
    digest = json_hash(
        [
            protocol(config.objective),
            config.digest(),
            shards.content_hash,
            *_digest(fold, ingredients),
        ]
    )
    told = world.main and label is not None
    if is_finished(out, Checkpoint, digest, resume=resume, overwrite=overwrite, told=told):
        return
    if world.main and not resume:
        forget_training(out)  # this one replaces it
    if told:
        say("\n".join(filter(None, (str(train.memory), aside))))
    drawn = tensors_of(model.backbone)
    result = fit(
        objective,
        train,
        valid,
        config.optim,
        out / TRAINING,
        seed=config.seed,
        resume=resume,
        label=label,
        save_seconds=save_seconds,
        digest=digest,
        world=world,
        settings=config.to_dict(),
    )
    if not world.main:
        return
    parameters = parameter_counts(objective)
    left_alone = unchanged(model.backbone, drawn)
    classifier = model.head
    model.head = None
    attention = attention_by_kind(model, shards, valid_rows if len(valid_rows) else train_rows)
    own = Seen.of("pretraining", shards, np.concatenate((train_rows, valid_rows)))
    checkpoint = _checkpoint(
        config,
        shards,
        model,
        digest=digest,
        n_train=len(train_rows),
        n_valid=len(valid_rows),
        n_labelled=int((labels["target"][train_rows] != UNLABELLED).sum()) if labels else 0,
        parameters=parameters,
        untrained=left_alone,
        result=result,
        validation=validated(out / TRAINING / "metrics.jsonl", result.best_step),
        losses=history(out / TRAINING / "metrics.jsonl", most=_LOSSES),
        fold=fold,
        seen=own + seen_by(ingredients) if ingredients else own,
    )
    if aside:
        checkpoint.provenance["weights"] = aside
    if ingredients:
        checkpoint.provenance["ingredients"] = described(ingredients)
    if attention is not None:
        checkpoint.provenance["attention"] = attention
    if isinstance(classifier, nn.Sequential) and len(classifier) == 1:
        # Linear: the score of a set, which heads on events of jets can take.
        linear = classifier[0]
        assert isinstance(linear, nn.Linear)
        checkpoint = checkpoint.with_classifier(linear.weight, linear.bias)
    shutil.rmtree(out / GENERATOR, ignore_errors=True)  # of what this one replaces
    if config.objective.generative:
        save_generator(objective, config.recipe(), checkpoint, out)
    checkpoint.save(out)
    for name in _LOGS:
        shutil.copyfile(out / TRAINING / name, out / name)
    # Only now: a kill at any earlier moment leaves a state to resume from.
    shutil.rmtree(out / TRAINING)


def _loaders(
    config: PretrainConfig,
    model: Model,
    shards: ShardSet,
    rows: tuple[Rows, Rows],
    labels: Mapping[str, Any],
) -> tuple[Loader, Loader | None]:
    """Batches of similar lengths, or of all alike.

    The latter where the objective compares the events of a batch, and where the backbone is
    normalised over them: it would be trained on other means than it is evaluated with.
    """
    train, valid = rows
    size, compared = config.optim.batch_size, config.objective.mixed_batches
    pool = 1 if compared or model.backbone.batch_dependent else POOL
    batches = Loader(shards, train, size, seed=config.seed, pool=pool, **labels)
    order, judged = (mixed(valid), size) if compared else (by_length(shards, valid), 2 * size)
    return batches, Loader(shards, order, judged, shuffle=False, **labels) if len(valid) else None


def _built(
    config: PretrainConfig, ingredients: Ingredients, some: Loader
) -> tuple[Model, Objective]:
    """The model and what trains it, their constants fitted to the events of `some`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = config.recipe().build()
        begun = begin(model, config.recipe(), ingredients)
        if config.objective.needs_labels:
            model.head = config.head.build(model.backbone.width, len(config.classes))
        objective: Objective = config.objective.build(model)
    if not begun:
        model.features.fit(map(sets_of, some.batches(0)))
    objective.fit_constants(lambda: some.batches(0))
    return model, objective


def protocol(objective: ObjectiveRecipe) -> int | list[int]:
    """Return what of the program decides a pre-training; of an objective that changed, both."""
    return PROTOCOL if objective.revision == 1 else [PROTOCOL, objective.revision]


def _digest(fold: Fold | None, ingredients: Ingredients) -> list[Any]:
    """What else decides the result, where there is any."""
    kept: list[Any] = [] if fold is None else [asdict(fold)]
    return [*kept, hashes(ingredients)] if ingredients else kept


def _checkpoint(
    config: PretrainConfig,
    shards: ShardSet,
    model: Model,
    *,
    digest: str,
    n_train: int,
    n_valid: int,
    n_labelled: int,
    parameters: dict[str, int],
    untrained: int,
    result: FitResult,
    validation: dict[str, float],
    losses: dict[str, list[float | None]],
    fold: Fold | None,
    seen: Seen,
) -> Checkpoint:
    provenance: dict[str, Any] = {
        **run_facts(),
        "config": config.to_dict(),
        "config_sha256": config.digest(),
        "protocol": protocol(config.objective),
        MADE_OF: digest,
        "data": [card.summary() for card in shards.cards],
        "selections": _selections(shards),
        "n_train": n_train,
        "n_valid": n_valid,
        **({"n_labelled": n_labelled} if config.classes else {}),
        "parameters": parameters,
        **({"untrained": untrained} if untrained else {}),
        # No JSON for other programs has the loss of a training without validation, which is none.
        "result": {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in result.__dict__.items()
        },
        "validation": validation,
        "losses": losses,
        "backbone_sha256": weight_hash(model.features, model.backbone),
        **({} if fold is None else {"fold": asdict(fold)}),
    }
    return Checkpoint.of(
        model.cpu(),
        config.recipe(),
        selection=common_selection(shards.cards),
        provenance=provenance,
        card=backbone_card(provenance),
        seen=seen,
    )


def _selections(shards: ShardSet) -> dict[str, Any]:
    """Every selection that a sample passed, by its hash, for samples that passed different ones."""
    return {card.selection_hash: card.selection for card in shards.cards}
