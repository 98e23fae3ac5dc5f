"""Sherpa 3 as a second generator: its own matrix elements, shower, hadrons and soft collisions."""
