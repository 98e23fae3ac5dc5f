r"""Codebook: vectors become the nearest of K learned ones; the gradient goes straight through.

Source: arXiv:1711.00937 (VQ-VAE, straight-through estimator), arXiv:2305.08842 (affine
reparametrisation, synchronised update, replacement of dead codes), with the settings of
arXiv:2401.13537. With $z$ what the encoder gives, $c$ its nearest code and sg the stopped gradient,

$$ L_\mathrm{cmt} = (1 - \beta)\,|z - \mathrm{sg}\,c|^2 + \beta\,|\mathrm{sg}\,z - c|^2 $$

(a mean over components). Published text and code differ in how often the commitment acts, how
soon a code counts as dead, and whether the reconstruction moves the codes too: all are settings.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from transferline.config import Recipe
from transferline.models.tokenizers.nearest import nearest

_FIRST_MEANS = 10  # Lloyd iterations on the first batch


class CodebookSettings(Recipe):
    r"""How codes are learned; the defaults are those of the released code of arXiv:2401.13537.

    Attributes:
        beta: $\beta$, the share of the commitment that moves codes towards encodings.
        commit_every: steps between two commitments; 4 in the text, 1 in the code.
        replace_after: steps without use after which a code is put onto a random encoding of the
            batch; 100 in the text, 10 in the code. 0: never.
        affine: learning rate, in units of that of the codes, of a scale and a shift common to all
            codes; 0: there are none.
        synchrony: $\nu$, how strongly the gradient of the reconstruction acts on the codes; 0 in
            the text, 2 in the code.
    """

    beta: float = Field(0.9, ge=0, le=1)
    commit_every: int = Field(1, gt=0)
    replace_after: int = Field(10, ge=0)
    affine: float = Field(2.0, ge=0)
    synchrony: float = Field(2.0, ge=0)


class Quantised(NamedTuple):
    """Vectors `z [t, d]` made of codes, their numbers `codes [t]`, and the commitment `[]`."""

    z: Tensor
    codes: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """`[t, d] -> Quantised` with K vectors; the first batch of a training gives their start."""

    started: Tensor
    step: Tensor
    idle: Tensor

    def __init__(self, codes: int, width: int, settings: CodebookSettings) -> None:
        super().__init__()
        self.settings = settings
        self.vectors = nn.Parameter(torch.randn(codes, width))
        self.affine = nn.Parameter(torch.zeros(2, width)) if settings.affine else None
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("step", torch.tensor(0))
        self.register_buffer("idle", torch.zeros(codes, dtype=torch.int64))

    def codes(self) -> Tensor:
        """Return the vectors of all codes, `[k, d]`."""
        if self.affine is None:
            return self.vectors
        scale, shift = self.settings.affine * self.affine
        table: Tensor = (1 + scale) * self.vectors + shift
        return table

    def forward(self, z: Tensor) -> Quantised:
        """Quantise; in training also start, count and replace codes."""
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            if self.training and len(z):
                self._prepare(z.detach())
            table = self.codes()
            number = nearest(z, table)
            code = table[number]
            return Quantised(self._through(z, code), number, self._commitment(z, code))

    def _through(self, z: Tensor, code: Tensor) -> Tensor:
        """The value of the code with the gradient of z, and of the code times the synchrony."""
        out = z + (code - z).detach()
        return out + self.settings.synchrony * (code - code.detach())

    def _commitment(self, z: Tensor, code: Tensor) -> Tensor:
        if self.training and int(self.step) % self.settings.commit_every:
            return 0 * z.sum()
        beta, size = self.settings.beta, max(z.numel(), 1)
        encoder = (z - code.detach()).square().sum() / size
        codes = (z.detach() - code).square().sum() / size
        return (1 - beta) * encoder + beta * codes

    @torch.no_grad()
    def _prepare(self, z: Tensor) -> None:
        if not self.started:
            self.vectors.copy_(_means(z, len(self.vectors)))
            self.started.fill_(True)
        used = torch.bincount(nearest(z, self.codes()), minlength=len(self.idle)) > 0
        self.idle.copy_(torch.where(used, 0, self.idle + 1))
        self.step.add_(1)
        if self.settings.replace_after:
            self._replace(z, self.idle >= self.settings.replace_after)

    def _replace(self, z: Tensor, dead: Tensor) -> None:
        number = int(dead.sum())
        if number:
            chosen = z[torch.randint(len(z), (number,), device=z.device)]
            self.vectors[dead] = self._undone(chosen)
            self.idle[dead] = 0

    def _undone(self, codes: Tensor) -> Tensor:
        """Undo scale and shift, so that the code lands where it is meant to."""
        if self.affine is None:
            return codes
        scale, shift = self.settings.affine * self.affine
        factor = torch.where((1 + scale).abs() < 1e-3, 1.0, 1 + scale)
        undone: Tensor = (codes - shift) / factor
        return undone


def _means(z: Tensor, k: int) -> Tensor:
    """K-means of the encodings, `[k, d]`, from random ones; repeated where there are too few."""
    order = torch.randperm(len(z), device=z.device).repeat(-(-k // len(z)))[:k]
    means = z[order] + 1e-3 * z.std() * torch.randn(k, z.shape[1], device=z.device)
    for _ in range(_FIRST_MEANS):
        number = nearest(z, means)
        count = torch.bincount(number, minlength=k).unsqueeze(1)
        total = torch.zeros_like(means).index_add_(0, number, z)
        means = torch.where(count > 0, total / count.clamp(min=1), means)
    return means
