"""Labels of a supervised pre-training: each sample belongs to one class, or to none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from transferline.data.readers.shards import ShardSet
from transferline.errors import ConfigError, DataError, did_you_mean
from transferline.files import resolved

UNLABELLED = -1
"""Target of events whose sample is of no class; supervised objectives leave them out."""


class SourceLabels(TypedDict, total=False):
    """Keywords of `Loader`: target and training weight of each row, `[n]`; empty without labels."""

    target: NDArray[np.int64]
    weight: NDArray[np.float32]


def source_labels(
    shards: ShardSet, classes: Mapping[str, Sequence[str]], train: NDArray[np.int64]
) -> SourceLabels:
    r"""Number the classes in their order and balance them.

    The weight of an event of class c is $|w| / \sum_{i \in c} |w_i| \cdot n / n_{classes}$ with n
    the number of rows `train`, over which the sum runs: the classes count equally. The sum of
    weights is the number of events, those without a label included, over which losses are
    averaged: however few have one, a supervised loss has the size of one label's. Events of no
    class keep weight one.

    Args:
        shards: all events.
        classes: name -> directories among those of `shards`.
        train: rows that train.

    Raises:
        ConfigError: a directory is none of those read.
        DataError: a class has no weight among the rows that train.
    """
    of_source = np.full(len(shards.paths), UNLABELLED)
    places = {str(resolved(path)): i for i, path in enumerate(shards.paths)}
    for number, (name, files) in enumerate(classes.items()):
        for file in files:
            of_source[_source(places, name, file)] = number
    target = of_source[shards.source].astype(np.int64)
    weight = _balanced(shards.weight, target, train, list(classes))
    return SourceLabels(target=target, weight=weight)


def _source(places: Mapping[str, int], name: str, file: str) -> int:
    found = places.get(str(resolved(file)))
    if found is None:
        raise ConfigError(
            f"classes.{name}: '{file}' is none of the files of `data`.{did_you_mean(file, places)}"
        )
    return found


def _balanced(
    weights: NDArray[Any], target: NDArray[np.int64], train: NDArray[np.int64],
    names: Sequence[str],
) -> NDArray[np.float32]:  # fmt: skip
    absolute = np.abs(np.asarray(weights, np.float64))
    balanced = np.ones(len(absolute))
    labelled = train[target[train] != UNLABELLED]
    for number, name in enumerate(names):
        total = absolute[labelled[target[labelled] == number]].sum()
        if not total > 0:
            raise DataError(f"class {name}: its samples hold no event to train on.")
        mine = target == number
        balanced[mine] = absolute[mine] * len(train) / (len(names) * total)
    return balanced.astype(np.float32)
