r"""Ranger: rectified Adam whose weights look ahead, the optimiser of Particle Transformer.

Rectified Adam (arXiv:1908.03265) makes the fast steps. Every k of them the slow weights go the
share $\alpha$ of the way to the fast ones, which then start anew from there (Lookahead,
arXiv:1907.08610): $\phi \leftarrow \phi + \alpha (\theta - \phi)$, $\theta \leftarrow \phi$.
Constants as in the code of arXiv:2202.03772.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

_EVERY, _SHARE = 6, 0.5
_BETAS, _EPS = (0.95, 0.999), 1e-5


class Ranger(torch.optim.RAdam):
    """RAdam with Lookahead; the slow weights are part of the state, as plain tensors.

    Args:
        groups: parameters, or groups of them with a `weight_decay` of their own.
        lr: learning rate.
    """

    def __init__(self, groups: Iterable[Any], lr: float) -> None:
        super().__init__(groups, lr=lr, betas=_BETAS, eps=_EPS, decoupled_weight_decay=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch's own two overloads
        """Take a fast step, and every sixth time draw the slow weights after."""
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        for parameter in moved:
            if "slow" not in self.state[parameter]:
                self._first(parameter)
        loss: float | None = super().step(closure)
        for parameter in moved:
            state = self.state[parameter]
            if int(state["step"]) % _EVERY == 0:
                state["slow"].lerp_(parameter, _SHARE)
                parameter.copy_(state["slow"])
        return loss

    def _first(self, parameter: torch.Tensor) -> None:
        """Fill the state as RAdam does, which looks only whether it is empty."""
        self.state[parameter] |= {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
            "slow": parameter.clone(),
        }
