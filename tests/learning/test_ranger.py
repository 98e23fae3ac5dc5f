"""Ranger against its definition, and its state, which a resumed training needs whole."""

from __future__ import annotations

import pytest
import torch

from transferline.learning.optim import Optim
from transferline.learning.ranger import Ranger
from transferline.learning.training_state import Progress, load_state, save_state

from .test_training import objective


def gradients(parameter, step):
    """Some gradient that depends on where the weights are."""
    parameter.grad = 0.3 * parameter.detach() + torch.sin(torch.arange(5.0) + step)


def test_it_is_rectified_adam_that_starts_anew_from_slow_weights():
    one = torch.nn.Parameter(torch.linspace(-1, 1, 5))
    two = torch.nn.Parameter(one.detach().clone())
    ranger = Ranger([one], lr=0.1)
    adam = torch.optim.RAdam([two], lr=0.1, betas=(0.95, 0.999), eps=1e-5)
    slow = two.detach().clone()
    for step in range(1, 20):
        for parameter, optimizer in ((one, ranger), (two, adam)):
            gradients(parameter, step)
            optimizer.step()
        if step % 6 == 0:
            slow = slow + 0.5 * (two.detach() - slow)
            two.data.copy_(slow)
        assert torch.allclose(one, two, atol=1e-6), step


def test_a_training_goes_on_from_its_state(tmp_path):
    """The slow weights travel with the rest: continued and uninterrupted give the same bits."""

    def steps(module, optimizer, numbers):
        for step in numbers:
            for i, parameter in enumerate(module.parameters()):
                parameter.grad = torch.cos(parameter.detach() + step + i)
            optimizer.step()

    optim = Optim(kind="ranger", steps=20)
    whole, first = objective(), objective()
    steps(whole, optim.optimizer(whole), range(15))
    early = optim.optimizer(first)
    steps(first, early, range(8))
    place = tmp_path / "state"
    save_state(place, first, early, best=None, progress=Progress(step=8), digest="d")
    again = objective()
    late = optim.optimizer(again)
    load_state(place, again, late, "d")
    steps(again, late, range(8, 15))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_the_published_schedule_is_flat_and_then_falls():
    optim = Optim(kind="ranger", steps=1000, schedule="flat_decay", warmup=0.0, final_lr=0.01)
    assert {optim.factor(step) for step in range(700)} == {1.0}
    assert optim.factor(850) == pytest.approx(0.1, rel=0.01)
    assert optim.factor(1000) == pytest.approx(0.01)


def test_settings_that_came_later_leave_digests_alone():
    assert "schedule" not in Optim(steps=1).to_dict()
    assert Optim(steps=1, schedule="flat_decay").to_dict()["schedule"] == "flat_decay"
