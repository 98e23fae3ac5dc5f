"""How far counting alone gets: the trap of pretext tasks whose answer is a number of objects.

A table remembers, for every count of what an event shows, how often each answer was right. Its
accuracy is that of the best guess from the counts: a network that knows no more has learnt to
count and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


class Counting(nn.Module):
    """The guess from counts of several kinds of objects among `answers` answers.

    `most` has one entry per kind; counts above it share a cell.
    """

    table: Tensor

    def __init__(self, most: Sequence[int], answers: int) -> None:
        super().__init__()
        self.most = tuple(most)
        cells = prod(limit + 1 for limit in self.most)
        # Whole numbers: in float32 a cell would stop at 2^24 events, less than a long training has.
        self.register_buffer("table", torch.zeros(cells, answers, dtype=torch.int64))

    @torch.no_grad()
    def learn(self, counts: Tensor, target: Tensor) -> None:
        """Add events: `counts [n, kinds]` of what is shown, `target [n]` the right answers."""
        ones = torch.ones_like(target, dtype=self.table.dtype)
        self.table.index_put_((self._cell(counts), target), ones, accumulate=True)

    @torch.no_grad()
    def accuracy(self, counts: Tensor, target: Tensor) -> Tensor:
        """Return the share of events whose answer is the most frequent one of their counts."""
        return (self.table[self._cell(counts)].argmax(1) == target).float().mean()

    def _cell(self, counts: Tensor) -> Tensor:
        cell = torch.zeros_like(counts[:, 0])
        for kind, limit in enumerate(self.most):
            cell = cell * (limit + 1) + counts[:, kind].clamp(max=limit)
        return cell
