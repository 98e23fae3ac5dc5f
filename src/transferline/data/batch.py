"""Batch: the one contract between data and models, tensors of raw physical columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

PT, ETA, PHI, MASS = 0, 1, 2, 3
"""Places in the last axis of `Batch.p4`."""


@dataclass(frozen=True)
class Batch:
    """`n` sets of at most `p` particles.

    Attributes:
        p4: `[n, p, 4]`: pt (GeV), eta, phi (rad), mass (GeV); zero where not real.
        columns: further particle columns, name -> `[n, p]`; `charge` in units of e, `species`
            as in `transferline.data.events.SPECIES` (int64); zero where not real.
        is_real: `[n, p]` bool, True = a particle. There is no other mask and no other polarity.
        context: per-set scalars, name -> `[n]`.
        target: `[n]` class index (int64) or value, or None where unlabelled.
        weight: `[n]` signed weights.
        id: `[n, 3]` int64: run, lumi, event.
    """

    p4: Tensor
    is_real: Tensor
    weight: Tensor
    id: Tensor
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    context: Mapping[str, Tensor] = field(default_factory=dict)
    target: Tensor | None = None

    def __len__(self) -> int:
        return len(self.is_real)

    def replace(self, **changes: Any) -> Batch:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)

    def with_column(self, name: str, values: Tensor) -> Batch:
        """Return a copy whose particle column `name` is `values` `[n, p]`."""
        return replace(self, columns={**self.columns, name: values})

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors but the context under names of their own."""
        found = {f"columns.{name}": tensor for name, tensor in self.columns.items()}
        found |= {"p4": self.p4, "is_real": self.is_real, "weight": self.weight, "id": self.id}
        return found if self.target is None else {**found, "target": self.target}

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on `device`."""
        return Batch(
            p4=self.p4.to(device),
            is_real=self.is_real.to(device),
            weight=self.weight.to(device),
            id=self.id.to(device),
            columns={name: values.to(device) for name, values in self.columns.items()},
            context={name: values.to(device) for name, values in self.context.items()},
            target=None if self.target is None else self.target.to(device),
        )


def cartesian(p4: Tensor) -> Tensor:
    r"""Turn (pt, eta, phi, mass) into (E, px, py, pz), `[..., 4]` each, in GeV.

    $p_x = p_T\cos\phi$, $p_y = p_T\sin\phi$, $p_z = p_T\sinh\eta$,
    $E = \sqrt{m^2 + p_T^2\cosh^2\eta}$.
    """
    pt, eta, phi, mass = p4.unbind(-1)
    energy = torch.sqrt(mass**2 + (pt * torch.cosh(eta)) ** 2)
    return torch.stack((energy, pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()), dim=-1)
