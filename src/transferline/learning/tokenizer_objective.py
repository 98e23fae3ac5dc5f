r"""What a VQ-VAE learns: give the particles back, $L_\mathrm{reco} + \alpha L_\mathrm{cmt}$."""

from __future__ import annotations

import torch
from torch import Tensor

from transferline.data.batch import Batch
from transferline.learning.objectives.base import Loss, Objective
from transferline.learning.set_means import mean_over_sets
from transferline.models.model import Model
from transferline.models.tokenizers.base import GradientTokenizer


class TokenizerObjective(Objective):
    """Train a tokenizer; distances are in its standardised features.

    The reconstruction is averaged over features, over the particles of a jet, then over jets. It
    alone tells the best weights: the commitment grows as encodings move apart, which they do while
    the reconstruction gets better.
    """

    chosen_by = "reconstruction"

    def __init__(self, tokenizer: GradientTokenizer, alpha: float, distance: str) -> None:
        super().__init__(Model(tokenizer.features, tokenizer.encoder))
        # Used, not owned: its tensors are the tokenizer's, and saved once.
        self.__dict__["model"] = self._modules.pop("model")
        self.tokenizer = tokenizer
        self.alpha, self.distance = alpha, distance

    def forward(self, batch: Batch) -> Loss:
        """Return the loss, its two parts, and how many codes the batch used."""
        inputs = self.tokenizer.features(batch)
        found = self.tokenizer.reconstruct(inputs)
        real = batch.is_real
        difference = (found.x - inputs.x).float()[real]
        losses = difference.abs() if self.distance == "l1" else difference.square()
        reconstruction = mean_over_sets(losses.mean(-1), real)
        counts = torch.bincount(found.codes[real], minlength=self.tokenizer.n_codes)
        return Loss(
            reconstruction + self.alpha * found.commitment,
            {
                "reconstruction": reconstruction.detach(),
                "commitment": found.commitment.detach(),
                "perplexity": perplexity(counts),
            },
        )


def perplexity(counts: Tensor) -> Tensor:
    r"""Return $e^H$ with the entropy $H = -\sum_k p_k \log p_k$ of how often codes are used.

    K codes that are used equally often have perplexity K; a single one has 1.
    """
    share = counts.double() / counts.sum().clamp(min=1)
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp().float()
