"""Large-radius jets of constituents: the ten classes of JetClass, and events of such jets."""
