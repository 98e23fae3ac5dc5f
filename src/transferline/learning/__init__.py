"""Training: one `fit()` for pre-training, fine-tuning, probing and scratch; transfer; studies."""
