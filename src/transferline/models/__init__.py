"""From a Batch to embeddings: features, backbones, heads, and checkpoints that load exactly."""
