"""Targets, the table on the screen, and the JSON file."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.io.figures import Figure, Figures, load_average
from benchmarks.io.inputs import Sizes

from transferline.files import write_json
from transferline.provenance import package_versions, run_facts

_PACKAGES = ("pyarrow", "numba", "fastjet", "fsspec")


@dataclass(frozen=True)
class Target:
    """A bound on the median of a figure."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def text(self) -> str:
        """The bounds in words."""
        bounds = (">=", self.at_least), ("<=", self.at_most)
        return " and ".join(f"{sign} {value:g}" for sign, value in bounds if value is not None)

    def met(self, figure: Figure) -> bool:
        """Tell whether the median lies within the bounds."""
        low = self.at_least is None or figure.median >= self.at_least
        return low and (self.at_most is None or figure.median <= self.at_most)


TARGETS = (
    Target("generate_ratio", at_least=0.7),
    Target("generate_own_ms", at_most=2.5),
    Target("prepare_ratio", at_least=0.7),
    Target("prepare_scaling_2", at_least=1.6),
    Target("loader_share", at_most=0.05),
    Target("memory_prepare_growth", at_least=-0.1, at_most=0.1),
    Target("memory_training_growth", at_least=-0.1, at_most=0.1),
)


def with_worst(figures: Figures) -> Figures:
    """Add the growth of `prepare`: that with one or with two processes, whichever is larger."""
    names = [f"memory_prepare_{jobs}_growth" for jobs in (1, 2)]
    found = [figures[name] for name in names if name in figures]
    if not found:
        return figures
    return {**figures, "memory_prepare_growth": max(found, key=lambda f: abs(f.median))}


def machine() -> dict[str, Any]:
    """Return cores, processor and system; no name of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return {
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "processor": model or platform.processor(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "threads_per_process": os.environ.get("OMP_NUM_THREADS", ""),
    }


def content(
    figures: Figures, sizes: Sizes, load_before: Sequence[float], seconds: dict[str, float]
) -> dict[str, Any]:
    """Return the JSON content: medians by name on top, then everything about them."""
    facts = run_facts()
    facts["versions"] |= package_versions(_PACKAGES)
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    facts["command"] = shlex.join(["python", "-m", "benchmarks.io", *words])
    rounded = {name: figure.to_dict() for name, figure in figures.items()}
    return {
        **{name: rounded[name]["median"] for name in sorted(rounded)},
        "targets": [
            {
                "figure": target.figure,
                "target": target.text,
                "median": rounded[target.figure]["median"],
                "met": target.met(figures[target.figure]),
            }
            for target in TARGETS
            if target.figure in figures
        ],
        "figures": rounded,
        "sizes": asdict(sizes),
        "machine": machine(),
        "load_average": {"before": list(load_before), "after": load_average()},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        **facts,
    }


def table(found: dict[str, Any]) -> str:
    """Return one line per figure: median, spread, target and whether it is met."""
    targets = {row["figure"]: row for row in found["targets"]}
    lines = [f"{'figure':28}{'median':>11}{'min':>11}{'max':>11} {'unit':5}{'target':>18}  met"]
    for name, row in found["figures"].items():
        target = targets.get(name)
        verdict = f"{target['target']:>18}  {'yes' if target['met'] else 'NO'}" if target else ""
        spread = "".join(f"{row[key]:>11.4g}" for key in ("median", "min", "max"))
        lines.append(f"{name:28}{spread} {row['unit']:5}{verdict}".rstrip())
    return "\n".join(lines)


def save(found: dict[str, Any], out: Path) -> None:
    """Write the JSON file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, found)
