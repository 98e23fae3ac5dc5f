"""Run by torchrun in `test_torchrun.py`: what each process of a data-parallel training checks.

Everything is computed twice in every process: alone on the whole batch, and together. What follows
the first argument is a command, which the same two processes then do.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from transferline.cli import run
from transferline.errors import ConfigError
from transferline.learning.data_parallel import average_gradients, divided
from transferline.learning.distributed import ALONE, joined
from transferline.learning.objectives import OBJECTIVES
from transferline.learning.objectives.base import Loss, Objective
from transferline.learning.objectives.masked_type import MaskedType
from transferline.learning.objectives.resimulation import ResimulationObjective
from transferline.learning.objectives.supervised import Supervised
from transferline.models.augment import Augment
from transferline.models.backbones import BACKBONES
from transferline.models.model import ModelRecipe
from transferline.testing import toy_batch
from transferline.testing.batches import toy_replicas
from transferline.testing.objective import tiny_model

BATCH = toy_batch(33)  # two processes get shares of different size
REPLICAS = toy_replicas(16)


class Contrastive(Objective):
    """Couples all events of a batch, encodes twice, and has a teacher."""

    def __init__(self, model):
        super().__init__(model)
        self.teacher = tiny_model().backbone.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(()))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, batch):
        inputs = self.model.features(batch)
        tokens = self.scale * self.model.backbone.embed(inputs)
        first = self.model.backbone.encode(tokens, batch.is_real)
        second = self.model.backbone.encode(first.tokens + 0.1, is_real=batch.is_real)
        wanted = self.teacher(inputs).pooled
        z = nn.functional.normalize(second.pooled, dim=1)
        noise = torch.rand(len(batch), device=z.device)
        likeness = (z @ nn.functional.normalize(wanted, dim=1).T).mul(5.0).log_softmax(1).diagonal()
        return Loss(-(noise * likeness).mean() + tokens.square().mean())


def objectives():
    augment = Augment(rotate_phi=True, boost_z=0.5)
    yield "contrastive", Contrastive(tiny_model())
    yield "only hidden", MaskedType(only_hidden=True, augment=augment).build(tiny_model())
    yield "smoothed", Supervised(label_smoothing=0.1).build(tiny_model())
    for name in OBJECTIVES.names():
        recipe = OBJECTIVES.load(name)
        made = recipe.example() if hasattr(recipe, "example") else recipe()
        yield name, made.build(tiny_model())


def gradients(objective, world):
    objective.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    with divided(objective, world):
        nested = isinstance(objective, ResimulationObjective)
        loss = objective(REPLICAS if nested else BATCH)
        loss.total.backward()
    trained = [p for p in objective.parameters() if p.requires_grad]
    average_gradients(trained, world)
    return loss, [None if p.grad is None else p.grad.clone() for p in trained]


def check_objective(name, objective, world):
    alone, wanted = gradients(objective, ALONE)
    together, found = gradients(objective, world)
    assert "encode" not in vars(objective.model.backbone), name
    torch.testing.assert_close(together.total, alone.total, rtol=1e-6, atol=1e-7, msg=name)
    for part in alone.parts:
        torch.testing.assert_close(together.parts[part], alone.parts[part], msg=f"{name} {part}")
    assert [g is None for g in found] == [g is None for g in wanted], name
    size = max(g.abs().max() for g in wanted if g is not None)
    for one, other in zip(wanted, found, strict=True):
        if one is not None:
            assert (one - other).abs().max() < 1e-5 * size, f"{name}: gradients differ"


def check_draws(world):
    """Dropout differs between the processes; what is drawn after it is the same in all."""
    recipe = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2, "dropout": 0.5}
    backbone = ModelRecipe(backbone=recipe).build().backbone
    same = torch.ones(2, 5, 16), torch.ones(2, 5, dtype=torch.bool)
    torch.manual_seed(3)
    with divided(backbone, world), torch.no_grad():
        first, second = (backbone.encode(*same).pooled for _ in range(2))
    after = torch.rand(())
    torch.manual_seed(3)
    assert after == torch.rand(()), "the processes would draw different numbers from here on"
    assert not torch.equal(first[0], first[1]), "both processes draw the same dropout"
    assert not torch.equal(first, second), "every pass draws the same dropout"


def check_refusals(world):
    for name in BACKBONES.names():
        model = ModelRecipe(backbone={"kind": name}).build()
        if model.backbone.batch_dependent:
            with pytest.raises(ConfigError, match="in one process"), divided(model, world):
                raise AssertionError(name)
        else:
            with divided(model, world):
                assert "encode" in vars(model.backbone)


if __name__ == "__main__":
    with joined() as world:
        assert world.size == 2
        torch.manual_seed(0)
        every = dict(objectives())
        for title, module in every.items():
            check_objective(title, module, world)
        check_draws(world)
        check_refusals(world)
        Path(sys.argv[1]).with_suffix(f".{world.rank}").write_text(" ".join(every))
        code = run(sys.argv[2:])
    sys.exit(code)
