"""From collision files to batches of tensors."""
