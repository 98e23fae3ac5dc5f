"""transferline: foundation models for collider physics.

Pre-train a backbone once on collision data or simulation, transfer it (scratch, frozen,
fine-tuned) to analyses with few labelled events, and read off an honest learning curve.
"""

__version__ = "0.1.0"
