"""Fine-tuning in stages: the backbone stands still first, then its rate catches up."""

from __future__ import annotations

import pytest
import torch

from transferline.learning.distributed import ALONE
from transferline.learning.objectives.supervised import Supervised
from transferline.learning.optim import Optim
from transferline.learning.training import fit
from transferline.learning.training_step import Stepper
from transferline.testing import toy_batch
from transferline.testing.objective import tiny_model


def test_the_rate_of_the_backbone_is_nothing_then_rises_to_its_own():
    optim = Optim(steps=20, backbone_frozen=0.25, backbone_catch_up=0.2)
    found = [optim.thawed(step) for step in range(20)]
    assert found == [0.0] * 5 + [0.25, 0.5, 0.75] + [1.0] * 12
    assert [Optim(steps=3).thawed(step) for step in range(3)] == [1.0] * 3


def test_old_settings_keep_their_digests():
    assert not {"backbone_frozen", "backbone_catch_up"} & Optim(steps=3).to_dict().keys()


class Few:
    """One batch per epoch, always the same."""

    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return 1

    def batches(self, epoch, start=0):
        return iter([self.batch][start:])


def test_patience_waits_for_the_backbone_and_the_best_has_moved(tmp_path):
    """Of few events the head alone is often best, and soon gets no better."""
    few, others = Few(toy_batch(16)), Few(toy_batch(64, seed=5))
    optim = Optim(
        steps=80, lr=0.05, backbone_frozen=0.4, backbone_catch_up=0.1, patience=3, validate_every=4
    )
    torch.manual_seed(0)
    objective = Supervised().build(tiny_model())
    start = [p.clone() for p in objective.model.backbone.parameters()]
    result = fit(objective, few, others, optim, tmp_path, label=None)
    assert result.best_step > 32 and result.steps > 40
    moved = zip(start, objective.model.backbone.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in moved)


@pytest.mark.parametrize("kind", ["adamw", "sgd", "ranger"])
def test_a_frozen_backbone_stands_still_while_the_head_learns(kind, tmp_path):
    torch.manual_seed(0)
    optim = Optim(kind=kind, steps=6, lr=0.01, backbone_frozen=0.5, backbone_catch_up=0.5)
    objective = Supervised().build(tiny_model())
    stepper = Stepper(objective, optim, seed=0, backbone="trained", world=ALONE)
    moved = []
    for step in range(6):
        parts = objective.model.backbone, objective.model.head
        before = [[p.clone() for p in part.parameters()] for part in parts]
        stepper.step(step, toy_batch(32), tmp_path)
        now = [list(part.parameters()) for part in parts]
        moved.append(
            tuple(
                any(not torch.equal(*pair) for pair in zip(old, new, strict=True))
                for old, new in zip(before, now, strict=True)
            )
        )
    assert moved == [(False, True)] * 3 + [(True, True)] * 3
