"""What the classes of a task weigh: in the test of a part, and in the training of trees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transferline.learning.tasks.base import TaskData
from transferline.learning.tasks.subsets import Rows


def every_class(data: TaskData, rows: Rows) -> bool:
    """Whether all classes of the training pool can be judged on these rows."""
    labels = np.unique(data.target[data.pool])
    sums = [data.weight[rows[data.target[rows] == label]].sum() for label in labels]
    return all(total > 0 for total in sums)


def absolute(data: TaskData) -> NDArray[np.float64]:
    """Training weights `[n]` without signs, which trees cannot take.

    Each class has the sum that it has with signs: classes that are balanced stay so.
    """
    weight = np.abs(data.training_weight)
    for label in np.unique(data.target[data.pool]):
        rows = data.pool[data.target[data.pool] == label]
        weight[data.target == label] *= data.training_weight[rows].sum() / weight[rows].sum()
    return weight
