"""Heads: from the pooled embedding to the outputs of a task."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from transferline.config import Recipe


class Head(Recipe):
    """A multi-layer perceptron; without hidden layers a single linear map, as published.

    Attributes:
        hidden: sizes of the hidden layers.
        dropout: before each hidden layer.
    """

    hidden: tuple[Annotated[int, Field(gt=0, le=65_536)], ...] = ()
    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, width: int, n_outputs: int) -> nn.Module:
        """Return the module `[n, width] -> [n, n_outputs]`."""
        layers: list[nn.Module] = []
        for size in self.hidden:
            layers += [nn.Dropout(self.dropout), nn.Linear(width, size), nn.GELU()]
            width = size
        return nn.Sequential(*layers, nn.Linear(width, n_outputs))


def class_probability(outputs: Tensor) -> Tensor:
    r"""Return the score of every class, $p_c = e^{z_c} / \sum_k e^{z_k}$, `[n, c]`."""
    return outputs.softmax(-1)
