"""Batch: the one contract between data and models, tensors of raw physical columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

PT, ETA, PHI, MASS = 0, 1, 2, 3
"""Places in the last axis of `Batch.p4`."""

_TINY = 1e-8  # GeV; keeps the direction of an empty set finite


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

    @cached_property
    def momenta(self) -> Tensor:
        """(E, px, py, pz) of the particles, `[n, p, 4]` in GeV; computed when first asked for."""
        # Masked before, not after: the root in the energy of padding has no gradient.
        kept = self.is_real.unsqueeze(-1)
        return cartesian(torch.where(kept, self.p4, torch.zeros_like(self.p4)))

    @cached_property
    def whole_jet(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pt, eta, phi, E of the sum of the real particles, `[n, 1]` each: the jet they make.

        The sum, not the columns of a jet that a file may have: augmentation turns it along with
        the particles, every format has it, and exported graphs need no further input. In JetClass
        a jet is the sum of its constituents; only those beyond the number that is read are missing.
        Computed when first asked for: up to six features are relative to it.
        """
        energy, px, py, pz = self.momenta.sum(1, keepdim=True).unbind(-1)
        pt = torch.sqrt(px**2 + py**2).clamp(min=_TINY)
        return pt, torch.asinh(pz / pt), torch.atan2(py, px), energy.clamp(min=_TINY)

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
