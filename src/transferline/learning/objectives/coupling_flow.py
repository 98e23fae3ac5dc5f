r"""A conditional normalising flow of a few variables: couplings of rational-quadratic splines.

Source: arXiv:1906.04032. The density of $x$ given $h$ is
$\log p(x|h) = \log\mathcal{N}(z) + \sum_l \log|\partial z_l / \partial z_{l-1}|$, where each
coupling $l$ passes one half of the variables through monotonic splines whose knots a network makes
of the other half and of $h$.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.config import Recipe

_LEAST = 1e-3  # width, height and slope of a bin, so that no logarithm diverges


class FlowSettings(Recipe):
    """Sizes of the flow; the defaults are those of arXiv:2409.12589.

    Attributes:
        couplings: number of couplings.
        hidden: width of the two hidden layers of each one's network.
        bins: of a spline.
        tail: splines act within plus and minus this, beyond it the variable stays as it is.
        noise: spread of the Gaussian that is added to impact parameters and their errors, in units
            of their own: many are equal, and a density would rise there without end.
    """

    couplings: int = Field(6, gt=0, le=100)
    hidden: int = Field(128, gt=0, le=65_536)
    bins: int = Field(8, gt=1, le=256)
    tail: float = Field(4.0, gt=0)
    noise: float = Field(0.05, ge=0)


class CouplingFlow(nn.Module):
    """`log_prob(x [t, d], h [t, c]) -> [t]`, in single precision also under autocast."""

    def __init__(self, settings: FlowSettings, variables: int, context: int) -> None:
        super().__init__()
        halves = [torch.arange(variables) % 2 == number % 2 for number in range(settings.couplings)]
        self.couplings = nn.ModuleList(
            _Coupling(settings, moved, context) for moved in halves if moved.any()
        )

    def log_prob(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the logarithm of the density of each row."""
        with torch.autocast(x.device.type, enabled=False):
            z, h = x.float(), h.float()
            total = torch.zeros_like(z[:, 0])
            for coupling in self.couplings:
                z, slope = coupling(z, h)
                total = total + slope
            normal = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
            return normal + total


class _Coupling(nn.Module):
    moved: Tensor

    def __init__(self, settings: FlowSettings, moved: Tensor, context: int) -> None:
        super().__init__()
        self.bins, self.tail = settings.bins, settings.tail
        self.register_buffer("moved", moved, persistent=False)
        self.number = int(moved.sum())
        hidden, kept = settings.hidden, len(moved) - self.number
        last = nn.Linear(hidden, self.number * (3 * self.bins - 1))
        nn.init.zeros_(last.weight)  # all splines begin as the identity
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(
            nn.Linear(kept + context, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            last,
        )

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moved variables among the others `[t, d]`, and the log slopes' sum `[t]`."""
        knots = self.network(torch.cat((x[:, ~self.moved], h), dim=-1))
        parts = knots.view(-1, self.number, 3 * self.bins - 1)
        sizes = self.bins, self.bins, self.bins - 1
        widths, heights, slopes = parts.split(sizes, dim=-1)
        y, log_slope = spline(x[:, self.moved], widths, heights, slopes, self.tail)
        out = x.clone()
        out[:, self.moved] = y
        return out, log_slope.sum(-1)


def spline(
    x: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor, tail: float
) -> tuple[Tensor, Tensor]:
    """Map x by monotonic rational-quadratic splines; the identity beyond plus and minus `tail`.

    Args:
        x: `[...]`.
        widths: `[..., k]`, unnormalised logarithms of the bins' widths.
        heights: `[..., k]`, of their heights.
        slopes: `[..., k - 1]`, of the inner knots' slopes; all zero is the identity.
        tail: half the range.

    Returns:
        The values and the logarithms of the slopes there, `[...]` each.
    """
    inside = (x > -tail) & (x < tail)
    at = x.clamp(-tail, tail)
    x_knots, y_knots = _knots(widths, tail), _knots(heights, tail)
    shifted = F.softplus(slopes + math.log(math.expm1(1 - _LEAST))) + _LEAST
    derivatives = F.pad(shifted, (1, 1), value=1.0)
    number = torch.searchsorted(x_knots[..., 1:-1].contiguous(), at.unsqueeze(-1))

    def left(values: Tensor) -> Tensor:
        return values.gather(-1, number).squeeze(-1)

    def right(values: Tensor) -> Tensor:
        return values.gather(-1, number + 1).squeeze(-1)

    width, height = right(x_knots) - left(x_knots), right(y_knots) - left(y_knots)
    low, high, mean = left(derivatives), right(derivatives), height / width
    share = ((at - left(x_knots)) / width).clamp(0, 1)
    mixed = share * (1 - share)
    bottom = mean + (high + low - 2 * mean) * mixed
    y = left(y_knots) + height * (mean * share**2 + low * mixed) / bottom
    top = mean**2 * (high * share**2 + 2 * mean * mixed + low * (1 - share) ** 2)
    log_slope = top.log() - 2 * bottom.log()
    return torch.where(inside, y, x), torch.where(inside, log_slope, torch.zeros_like(x))


def _knots(logarithms: Tensor, tail: float) -> Tensor:
    """Rising from -tail to tail, `[..., k + 1]`."""
    k = logarithms.shape[-1]
    shares = _LEAST + (1 - _LEAST * k) * logarithms.softmax(-1)
    return tail * (2 * F.pad(shares.cumsum(-1), (1, 0)) - 1)
