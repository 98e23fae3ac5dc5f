"""Every row of every registry keeps the promises of its family, and the checks notice if not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from transferline.data.prepare import prepare
from transferline.data.readers import READERS
from transferline.data.selections import load_selection
from transferline.errors import ConfigError
from transferline.learning.objectives import OBJECTIVES
from transferline.learning.objectives.base import Loss
from transferline.learning.objectives.masked_type import MaskedType, MaskedTypeObjective, hide
from transferline.learning.tasks import TASKS
from transferline.models.backbones import BACKBONES
from transferline.models.backbones.base import Latent
from transferline.models.backbones.transformer import Transformer, TransformerBackbone
from transferline.models.tokenizers import TOKENIZERS
from transferline.registry import Registry
from transferline.testing import (
    ConformanceError,
    check_backbone,
    check_objective,
    check_reader,
    check_task,
)

from .data import jet_files
from .learning.event_shards import write_nanoaod, write_shards
from .learning.jet_event_shards import write_event_shards

FAMILIES = [READERS, BACKBONES, OBJECTIVES, TASKS, TOKENIZERS]
ROWS = [(registry, name) for registry in FAMILIES for name in registry.names()]


@pytest.mark.parametrize(("registry", "name"), ROWS, ids=lambda part: getattr(part, "family", part))
def test_every_row_points_at_a_recipe_of_its_name(registry, name):
    recipe = registry.load(name)
    assert recipe.model_fields["kind"].default == name
    assert recipe.__doc__


def test_a_row_that_points_nowhere_fails():
    broken = Registry("backbones", ghost="transferline.models.backbones.ghost:Ghost")
    with pytest.raises(ConfigError, match="backbones 'ghost' is registered as"):
        broken.load("ghost")


def example(recipe):
    """A small instance: the class's own `example()`, else its defaults."""
    return recipe.example() if hasattr(recipe, "example") else recipe()


EXTRAS = {"lgatr": "lgatr"}  # backbone -> the package that it needs


@pytest.mark.parametrize("name", BACKBONES.names())
def test_backbone(name):
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    check_backbone(example(BACKBONES.load(name)))


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_objective(name):
    check_objective(example(OBJECTIVES.load(name)))


# The checks themselves: each broken promise must be noticed.


class Bad(Transformer):
    fault: str

    def build(self, spec):
        return BadBackbone(self, spec)


class BadBackbone(TransformerBackbone):
    def __init__(self, recipe, spec):
        super().__init__(recipe, spec)
        self.fault = recipe.fault
        self.unused = nn.Linear(2, 2) if self.fault == "unused" else None
        self.register_buffer("position", torch.randn(64, recipe.width))

    def embed(self, inputs):
        tokens = super().embed(inputs)
        if self.fault == "mixing":
            tokens = tokens + tokens.mean(1, keepdim=True)
        return tokens + self.position[: tokens.shape[1]] * (self.fault == "order")

    def encode(self, tokens, is_real, pairs=None, causal=False):
        mask = torch.ones_like(is_real) if self.fault == "padding" else is_real
        latent = super().encode(tokens, mask, None if self.fault == "pairs" else pairs, causal)
        pooled = latent.pooled
        if self.fault == "empty":
            pooled = latent.tokens.sum(1) / is_real.sum(1, keepdim=True)
        return Latent(tokens=latent.tokens * is_real.unsqueeze(-1), is_real=is_real, pooled=pooled)


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        ("order", "permuting particles permutes tokens"),
        ("mixing", "embed treats each particle by itself"),
        ("padding", "padding"),
        ("pairs", "pairs change the tokens"),
        ("unused", "the parameter unused.* gets a gradient"),
        ("empty", "finite for sets of 0 and 1 particles"),
    ],
)
def test_a_bad_backbone_is_noticed(fault, promise):
    with pytest.raises(ConformanceError, match=promise):
        check_backbone(Bad(fault=fault, width=16, depth=1, heads=2))


class Forgetful(MaskedType):
    """Hides the species but leaves the charge, which tells leptons from jets."""

    def build(self, model):
        return ForgetfulObjective(model, self)


class ForgetfulObjective(MaskedTypeObjective):
    def forward(self, batch):
        shown = hide(batch, self.hidden(batch), hide_mass=True)
        tokens = self.model.latent(shown.with_column("charge", batch.columns["charge"])).tokens
        logits = self.classifier(tokens).transpose(1, 2)
        return Loss(nn.functional.cross_entropy(logits, batch.columns["species"]))


def test_a_leak_to_the_encoder_is_noticed():
    with pytest.raises(ConformanceError, match="concealed content does not reach the encoder"):
        check_objective(Forgetful())


class Drawing(MaskedType):
    """Draws from a generator of its own, in training alone."""

    def build(self, model):
        return DrawingObjective(model, self)


class DrawingObjective(MaskedTypeObjective):
    own = np.random.default_rng(0)

    def forward(self, batch):
        loss = super().forward(batch)
        return Loss(loss.total + 0.01 * self.training * self.own.random(), loss.parts)


def test_randomness_that_training_alone_draws_is_noticed():
    with pytest.raises(ConformanceError, match="all randomness comes from torch's global"):
        check_objective(Drawing())


class Taught(MaskedType):
    """Has a teacher that the optimiser would train."""

    def build(self, model):
        return TaughtObjective(model, self)


class TaughtObjective(MaskedTypeObjective):
    def __init__(self, model, recipe):
        super().__init__(model, recipe)
        self.teacher = nn.Linear(model.backbone.width, 1)

    def forward(self, batch):
        loss = super().forward(batch)
        told = self.teacher(torch.ones(1, self.model.backbone.width))
        return Loss(loss.total + told.square().mean(), loss.parts)


def test_a_teacher_with_a_gradient_is_noticed():
    with pytest.raises(ConformanceError, match="no parameter of teacher requires a gradient"):
        check_objective(Taught())


class Idle(MaskedType):
    """A loss that nothing can lower."""

    def build(self, model):
        return IdleObjective(model, self)


class IdleObjective(MaskedTypeObjective):
    def forward(self, batch):
        loss = super().forward(batch)
        return Loss(loss.total - loss.total.detach() + 1.0)


def test_a_loss_that_does_not_fall_is_noticed():
    with pytest.raises(ConformanceError, match="the loss falls on tiny data"):
        check_objective(Idle())


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """One ROOT file and the shards prepared from it, for every reader and task."""
    folder = tmp_path_factory.mktemp("samples")
    files = [write_nanoaod(folder / f"{name}.root", 400, seed=i) for i, name in enumerate("ab")]
    places = [write_shards(folder, 400, seed=i) for i in (7, 8)]
    reader = READERS.load("jetclass")(
        files=[str(jet_files.write_jetclass(folder / "jets.root", jet_files.random_jets(600, 5)))]
    )
    prepare(reader, load_selection("jets"), folder / "jets", sample="jets of ten classes")
    return {
        "root": [str(file) for file in files],
        "shards": [str(place) for place in places],
        "jets": [str(folder / "jets")],
        "jet_events": [
            str(write_event_shards(folder, name, 250, seed=i, signal=bool(i)))
            for i, name in enumerate(("no_pairs", "pairs"))
        ],
    }


def small_jets(name, folder):
    """One file for a reader of jets."""
    jets = jet_files.random_jets(60, seed=2)
    write = {
        "jetclass": jet_files.write_jetclass,
        "jetclass2": jet_files.write_jetclass2,
        "hbb": jet_files.write_hbb_flat,
        "pfnano": lambda path, jets: jet_files.write_pfnano(path, jets, [3] * 20),
        "delphes": lambda _path, _jets: jet_files.delphes(),
    }
    return [str(write[name](folder / f"{name}.data", jets))]


READER_FILES = {"nanoaod": "root", "shards": "shards"} | dict.fromkeys(
    ("jetclass", "jetclass2", "hbb", "pfnano", "delphes"), "jets"
)


@pytest.mark.parametrize("name", READERS.names())
def test_reader(name, samples, tmp_path):
    cls = READERS.load(name)
    assert name in READER_FILES, f"name small files for the reader {name} in READER_FILES"
    kind = READER_FILES[name]
    check_reader(cls(files=small_jets(name, tmp_path) if kind == "jets" else samples[kind]))


@pytest.mark.parametrize("name", ["nano_dy.root", "nano_tt_v12.root", "nano_tt_v15.root"])
def test_reader_on_real_files(name, real_data):
    check_reader(READERS.load("nanoaod")(files=[str(real_data / name)]))


TASK_FIELDS = {
    "event_classification": lambda of: {"signal": of["shards"][:1], "background": of["shards"][1:]},
    "joint_analysis": lambda of: {
        "signal": of["jet_events"][1:],
        "background": of["jet_events"][:1],
    },
    "jet_tagging": lambda of: {"mixed_samples": of["jets"]},
    "weak_supervision": lambda of: {
        "signal": of["shards"][:1],
        "background": of["shards"][1:],
        "n_signal": 10,
    },
}


@pytest.mark.parametrize("name", TASKS.names())
@pytest.mark.parametrize("subset", ["balanced", "natural"])
def test_task(name, subset, samples):
    assert name in TASK_FIELDS, f"name small samples for the task {name} in TASK_FIELDS"
    fields = TASK_FIELDS[name](samples)
    check_task(TASKS.load(name)(name="any", subset=subset, **fields))
