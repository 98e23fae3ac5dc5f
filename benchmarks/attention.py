"""Attention within jets, forward and back, on one thread: make bench-attention.

256 jets of 50 particles on average, four heads of 16, as in the transformer of
`studies/masked_particles`. The contestants take turns: the kernel without a bias, the kernel that
reads tables of zeros (which are made beforehand), and torch on jets that are filled up to the
longest one. CPU time: a busy machine counts little. Writes benchmarks/results/attention.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from transferline.files import write_json
from transferline.models.backbones.kernels.biased_attention import Sets, biased_attention
from transferline.models.backbones.kernels.pair_tables import grid_tables
from transferline.models.backbones.kernels.plain_attention import plain_attention
from transferline.provenance import run_facts

HEADS, WIDTH = 4, 64


def contestants(jets: int) -> dict[str, Callable[[], Tensor]]:
    """Return what is compared; each gives one embedding per particle, or place."""
    torch.manual_seed(0)
    counts = (50 + 18 * torch.randn(jets)).clamp(5, 110).long()
    is_real = torch.arange(int(counts.max())) < counts.unsqueeze(1)
    sets, places = Sets.of(counts), is_real.shape[1]
    qkv = torch.randn(int(counts.sum()), 3 * WIDTH, requires_grad=True)
    grid = torch.randn(3, jets, HEADS, places, WIDTH // HEADS, requires_grad=True)
    zeros = torch.zeros(jets, HEADS, places, places)
    tables = grid_tables(zeros, is_real, sets)
    mask = is_real[:, None, None, :]
    return {
        "plain kernel": lambda: plain_attention(qkv, HEADS, sets),
        "kernel with tables": lambda: biased_attention(qkv, tables, sets),
        "torch, padded": lambda: F.scaled_dot_product_attention(*grid.unbind(0), attn_mask=mask),
    }


def main() -> None:
    """Measure in turns, print and write."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--jets", type=int, default=256)
    asked.add_argument("--turns", type=int, default=30)
    asked.add_argument("--out", type=Path, default=Path("benchmarks/results/attention.json"))
    given = asked.parse_args()
    torch.set_num_threads(1)
    compared = contestants(given.jets)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for turn in range(given.turns + 1):
        for name, attend in compared.items():
            start = time.process_time()
            attend().sum().backward()
            if turn:  # the first one compiles
                seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rows = {
        name: {"milliseconds": 1e3 * value, "over_plain": value / median["plain kernel"]}
        for name, value in median.items()
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(given.out, {"jets": given.jets, "found": rows, **run_facts()})
    for name, row in rows.items():
        print(f"{name:20} {row['milliseconds']:7.1f} ms   {row['over_plain']:.2f}")


if __name__ == "__main__":
    main()
