"""Heads: from the pooled embedding to the outputs of a task."""

from __future__ import annotations

from torch import nn

from transferline.config import Recipe


class Head(Recipe):
    """A multi-layer perceptron; without hidden layers a single linear map, as published.

    Attributes:
        hidden: sizes of the hidden layers.
        dropout: before each hidden layer.
    """

    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    def build(self, width: int, n_outputs: int) -> nn.Module:
        """Return the module `[n, width] -> [n, n_outputs]`."""
        layers: list[nn.Module] = []
        for size in self.hidden:
            layers += [nn.Dropout(self.dropout), nn.Linear(width, size), nn.GELU()]
            width = size
        return nn.Sequential(*layers, nn.Linear(width, n_outputs))
