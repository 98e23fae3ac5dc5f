from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transferline.errors import DataError
from transferline.learning.adaptation import transfer
from transferline.learning.baselines import Trees
from transferline.learning.class_sums import absolute, every_class
from transferline.learning.run_digest import run_digest
from transferline.learning.tasks.event_classification import EventClassification

from .event_shards import write_shards


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class-sums")
    return EventClassification(
        name="t",
        signal=[str(write_shards(folder, 300, seed=1, hardness=1.6))],
        background=[str(write_shards(folder, 300, seed=2))],
        valid_share=0.002,
        weights="signed",
    )


@pytest.fixture(scope="module")
def data(task):
    """Two fifths of the signal have negative weights, and count as much as without."""
    found = task.load()
    rng = np.random.default_rng(0)
    sign = np.where((found.target == 1) & (rng.random(len(found.target)) < 0.4), -1.0, 1.0)
    weight = found.weight * sign
    scaled = task._training_weight(weight, found.target, found.pool)
    return replace(found, weight=weight, training_weight=scaled)


def test_classes_weigh_without_signs_what_they_weigh_with_them(data):
    weight = absolute(data)
    assert (data.training_weight < 0).any() and (weight >= 0).all()
    for label in (0, 1):
        rows = data.pool[data.target[data.pool] == label]
        assert weight[rows].sum() == pytest.approx(data.training_weight[rows].sum())
        assert weight[rows].sum() == pytest.approx(len(rows))
    positive = replace(data, training_weight=np.abs(data.training_weight))
    assert np.array_equal(absolute(positive), positive.training_weight)


def test_runs_of_trees_with_signs_are_others_than_before(task, data):
    positive = replace(data, training_weight=np.abs(data.training_weight))
    old, new = (run_digest(None, task, one, "trees", Trees()) for one in (positive, data))
    assert old != new


def test_a_validation_set_that_lacks_a_class_costs_no_run(task, tmp_path):
    data = task.load()
    assert not every_class(data, data.valid) and every_class(data, data.test)
    how = Trees(leaves=(3,), rounds=5)
    record = transfer(None, task, "trees", n_train=60, seed=0, how=how, out=tmp_path)
    assert "auc" in record.metrics and "valid" not in record.extra
    more = task.model_copy(update={"valid_share": 0.1})
    record = transfer(None, more, "trees", n_train=60, seed=0, how=how, out=tmp_path / "more")
    assert "auc" in record.extra["valid"]


def test_a_test_set_without_positive_weight_is_told_before_any_training(task, data):
    lost = replace(data, weight=np.where(data.target == 1, -1.0, 1.0))
    with pytest.raises(
        DataError, match=r"signal events of the test set have a sum of weights of -"
    ):
        task._check_classes(lost)
