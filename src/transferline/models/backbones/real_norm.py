"""BatchNorm of rows that are all real: padding never enters its statistics."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class RealNorm(nn.BatchNorm1d):
    """BatchNorm over rows `[t, c]`.

    With fewer than two rows there is no spread to divide by: they get the running statistics,
    which then stay as they are.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """[t, c] -> [t, c]."""
        if self.training and len(rows) < 2:
            return F.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(rows)
