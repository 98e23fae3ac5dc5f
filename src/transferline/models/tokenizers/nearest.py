"""The nearest of many points, in pieces that fit into memory."""

from __future__ import annotations

import torch
from torch import Tensor

_PIECE = 2**22  # distances at a time: 16 MB


@torch.no_grad()
def nearest(x: Tensor, points: Tensor) -> Tensor:
    r"""Return the number of the nearest point of each row by Euclidean distance, `[t]` int64.

    $|x - c|^2 = |x|^2 - 2 x \cdot c + |c|^2$, of which $|x|^2$ decides nothing.

    Args:
        x: `[t, d]`.
        points: `[k, d]`.
    """
    with torch.autocast(x.device.type, enabled=False):
        rows, points = x.float(), points.float()
        half = 0.5 * points.square().sum(1)
        pieces = torch.split(rows, max(1, _PIECE // len(points)))
        found = [(half - piece @ points.T).argmin(1) for piece in pieces]
    return torch.cat(found)
