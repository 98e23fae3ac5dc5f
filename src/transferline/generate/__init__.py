"""Collision events without a download: Pythia 8, a parametrised detector, real file layouts."""
