"""A checkpoint as a feature extractor: embeddings of events, for your own classifier.

Run: python examples/embeddings.py [CHECKPOINT [SHARDS]]   (without: a fresh backbone, toys)
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from transferline.data.readers.shards import ShardSet
from transferline.models.checkpoint import Checkpoint
from transferline.models.model import Model, ModelRecipe
from transferline.models.shipped import resolve_checkpoint
from transferline.testing import toy_batch, toy_shards


def backbone(place: str | None) -> Model:
    """Load a checkpoint (`shipped` is one); without one, draw a backbone."""
    if place is not None:
        return Checkpoint.load(resolve_checkpoint(place)).backbone()
    model = ModelRecipe(backbone={"kind": "transformer", "width": 32, "depth": 2}).build()
    model.features.fit([toy_batch(256)])
    return model


def main(checkpoint: str | None, place: str) -> None:
    model = backbone(checkpoint).eval()
    shards = ShardSet(place)
    with torch.no_grad():
        batch = shards.gather(np.arange(min(1000, len(shards))))
        latent = model.latent(batch)
    print(f"{len(batch)} events, {int(batch.is_real.sum())} objects")
    print(f"one vector per event: {tuple(latent.pooled.shape)}")
    print(f"one vector per object: {tuple(latent.tokens[latent.is_real].shape)}")


if __name__ == "__main__":
    given = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        shards = given[1] if len(given) > 1 else str(toy_shards(Path(folder) / "toys", 200))
        main(given[0] if given else None, shards)
