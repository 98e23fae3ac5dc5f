"""How far counting alone gets: the trap of pretext tasks whose answer is a number of objects.

A table remembers, for every count of what is left in an event, how often each answer was right.
Its accuracy is that of the best guess from the counts: a network that knows no more has learnt to
count and nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Counting(nn.Module):
    """The guess from counts of `kinds` kinds of objects among `answers` answers.

    Counts above `most` share a cell.
    """

    table: Tensor

    def __init__(self, kinds: int, answers: int, most: int) -> None:
        super().__init__()
        self.most = most
        self.register_buffer("table", torch.zeros((most + 1) ** kinds, answers))

    @torch.no_grad()
    def learn(self, counts: Tensor, target: Tensor) -> None:
        """Add events: `counts [n, kinds]` of the objects left, `target [n]` the right answers."""
        ones = torch.ones_like(target, dtype=self.table.dtype)
        self.table.index_put_((self._cell(counts), target), ones, accumulate=True)

    @torch.no_grad()
    def accuracy(self, counts: Tensor, target: Tensor) -> Tensor:
        """Return the share of events whose answer is the most frequent one of their counts."""
        return (self.table[self._cell(counts)].argmax(1) == target).float().mean()

    def _cell(self, counts: Tensor) -> Tensor:
        cell = torch.zeros_like(counts[:, 0])
        for kind in range(counts.shape[1]):
            cell = cell * (self.most + 1) + counts[:, kind].clamp(max=self.most)
        return cell
