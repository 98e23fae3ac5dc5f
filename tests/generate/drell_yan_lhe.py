"""Writes small Les Houches files of u ubar -> mu- mu+ events with hand-made kinematics."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEADER = """<LesHouchesEvents version="1.0">
<init>
2212 2212 6.5e+03 6.5e+03 0 0 0 0 -4 1
{cross_section:.6e} 1.0e-02 1.0 1
</init>
"""


def _line(code, status, mothers, colours, p4):
    numbers = " ".join(f"{value:.10e}" for value in (*p4, 0.0))
    return f"{code} {status} {mothers} {colours} {numbers} 0. 9."


def _event(weight, rng):
    mass, rapidity = rng.uniform(150.0, 300.0), rng.uniform(-1.0, 1.0)
    first, second = mass / 2.0 * np.exp(rapidity), mass / 2.0 * np.exp(-rapidity)
    angle, phi = rng.uniform(0.7, 2.4), rng.uniform(-np.pi, np.pi)
    unit = np.array([np.sin(angle) * np.cos(phi), np.sin(angle) * np.sin(phi), np.cos(angle), 1.0])
    out = []
    for sign in (1.0, -1.0):
        x, y, z, _ = sign * unit * mass / 2.0
        energy = mass / 2.0
        boosted = (
            energy * np.sinh(rapidity) + z * np.cosh(rapidity),
            energy * np.cosh(rapidity) + z * np.sinh(rapidity),
        )
        out.append((x, y, *boosted))
    lines = [
        f"4 1 {weight:.6e} {mass:.6e} 7.8e-03 1.18e-01",
        _line(2, -1, "0 0", "501 0", (0.0, 0.0, first, first)),
        _line(-2, -1, "0 0", "0 501", (0.0, 0.0, -second, second)),
        _line(13, 1, "1 2", "0 0", out[0]),
        _line(-13, 1, "1 2", "0 0", out[1]),
    ]
    return "<event>\n" + "\n".join(lines) + "\n</event>\n"


def write_lhe(path: Path, weights: list[float]) -> Path:
    """Write one event per weight (pb)."""
    rng = np.random.default_rng(5)
    header = HEADER.format(cross_section=float(np.mean(weights)))
    events = "".join(_event(weight, rng) for weight in weights)
    path.write_text(header + events + "</LesHouchesEvents>\n")
    return path
