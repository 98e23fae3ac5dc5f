r"""k-means: the code of a particle is the nearest of K centres in the space of its features.

Source: arXiv:2409.12589, whose largest vocabulary has 16384 codes; the centres are those of
mini-batch k-means (Sculley, WWW 2010). A particle is coded by itself: unlike with a VQ-VAE, the
rest of the jet does not enter.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from transferline.errors import DataError
from transferline.models.features import FeatureExtractor, Inputs
from transferline.models.tokenizers.base import MOST_CODES, SampleTokenizer, TokenizerRecipe
from transferline.models.tokenizers.nearest import nearest


class KMeans(TokenizerRecipe):
    """Nearest of `codes` centres; 16384 of them are published, or 512 as for a VQ-VAE.

    Attributes:
        codes: number K of centres.
        batch_size: particles of one step of the search.
        passes: how often each particle is looked at, at most.
        starts: random beginnings, the best of which goes on.
    """

    kind: Literal["kmeans"] = "kmeans"
    codes: int = Field(512, ge=2, le=MOST_CODES)
    batch_size: int = Field(8192, gt=0, le=10**7)
    passes: int = Field(20, gt=0, le=10_000)
    starts: int = Field(3, gt=0, le=100)

    def build(self, features: FeatureExtractor) -> KMeansTokenizer:
        """Return the module, its centres at the origin."""
        return KMeansTokenizer(self, features)


class KMeansTokenizer(SampleTokenizer):
    """The module of `KMeans`; `centres [K, f]`."""

    contextual: ClassVar[bool] = False
    centres: Tensor

    def __init__(self, recipe: KMeans, features: FeatureExtractor) -> None:
        super().__init__()
        self.recipe, self.features = recipe, features
        self.n_codes = recipe.codes
        self.register_buffer("centres", torch.zeros(recipe.codes, features.spec.n_features))

    def fit_particles(self, x: Tensor, seed: int) -> None:
        """See `SampleTokenizer.fit_particles`."""
        from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415  slow to import

        values = x.double().numpy()
        different = len(np.unique(values, axis=0))
        if different < self.n_codes:
            raise DataError(
                f"k-means: {different} different particles make no {self.n_codes} codes. Take "
                "more events, or fewer codes."
            )
        search = MiniBatchKMeans(
            self.n_codes,
            batch_size=self.recipe.batch_size,
            max_iter=self.recipe.passes,
            n_init=self.recipe.starts,
            random_state=seed % 2**32,
            compute_labels=False,
        ).fit(values)
        self.centres.copy_(torch.from_numpy(search.cluster_centers_))

    def encode(self, inputs: Inputs) -> Tensor:
        """See `Tokenizer.encode`."""
        codes = torch.zeros_like(inputs.is_real, dtype=torch.int64)
        codes[inputs.is_real] = nearest(inputs.x[inputs.is_real], self.centres)
        return codes

    def decode(self, codes: Tensor, is_real: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        return self.centres[codes] * is_real.unsqueeze(-1)
