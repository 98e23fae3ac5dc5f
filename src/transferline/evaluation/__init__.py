"""Metrics with errors, records of finished runs, and what follows from many of them."""
