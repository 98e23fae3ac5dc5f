"""Trained models in use: predictions beside the input, graphs for other programs."""
