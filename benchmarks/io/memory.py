"""Anonymous memory of whole commands, watched from outside, at two sizes of their input."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.io.figures import Figure, Figures
from benchmarks.io.inputs import EVERY_EVENT, Sizes, copies
from benchmarks.io.loading import BACKBONE
from benchmarks.io.preparation import SELECTION

_PERIOD = 0.005  # seconds between two looks


def _family(process: int) -> list[int]:
    """A process and its descendants.

    Not those between fork and exec, which still run on the memory of their parent: they are
    told by their command line, as all workers are started afresh.
    """
    found = [process]
    for one in found:
        mine = _read(one, "cmdline")
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            children = [int(child) for child in _text(task).split()]
            found += [child for child in children if _read(child, "cmdline") != mine]
    return found


def _read(process: int, name: str) -> str:
    return _text(Path(f"/proc/{process}/{name}"))


def _text(file: Path) -> str:
    """What a file of /proc holds; nothing if the process has ended."""
    try:
        return file.read_text()
    except OSError:
        return ""


def anonymous(process: int) -> int:
    """Anonymous memory in kB (RssAnon), 0 for a process that has ended.

    Mapped files are not counted: the system takes their pages back whenever it needs them.
    """
    lines = _read(process, "status").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def peak(command: Sequence[str]) -> float:
    """Run a command; return the largest anonymous memory of its processes together, in MB.

    Raises:
        RuntimeError: the command failed; its last words are in the text.
    """
    largest = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        os.set_blocking(running.stderr.fileno(), False)
        words = b""
        while running.poll() is None:
            largest = max(largest, sum(map(anonymous, _family(running.pid))))
            words = (words + (running.stderr.read() or b""))[-2000:]
            time.sleep(_PERIOD)
        words += running.stderr.read() or b""
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{words.decode(errors='replace')}")
    return largest / 1024


def _transferline(*words: str) -> list[str]:
    return [sys.executable, "-m", "transferline", *words]


@dataclass(frozen=True)
class _Peaks:
    """Memory at the smaller and at the larger input, in turns."""

    small: list[float]
    large: list[float]

    @property
    def growth(self) -> list[float]:
        return [large / small - 1 for small, large in zip(self.small, self.large, strict=True)]

    def figures(self, name: str, what: str, counts: Sequence[int]) -> Figures:
        """Return growth and both sizes."""
        few, many = (f"{count} events" for count in counts)
        return {
            f"memory_{name}_growth": Figure.of(
                f"growth of the largest anonymous memory of {what} from {few} to {many}", "1",
                self.growth),
            f"memory_{name}_small_mb": Figure.of(f"{what}, {few}", "MB", self.small),
            f"memory_{name}_large_mb": Figure.of(f"{what}, {many}", "MB", self.large),
        }  # fmt: skip


def _prepare(files: Sequence[str], chosen: str, jobs: int, out: Path) -> list[str]:
    options = ["--selection", chosen, "--jobs", str(jobs), "--out", str(out)]
    return _transferline("prepare", *files, *options)


def preparation(sizes: Sizes, sample: Path, folder: Path, jobs: int) -> Figures:
    """Measure `transferline prepare`."""
    few, many = (copies(sample, n, folder / f"{n}") for n in sizes.memory_copies)
    peaks = _Peaks([], [])
    for i in range(sizes.memory_rounds):
        for files, found in ((few, peaks.small), (many, peaks.large)):
            out = folder / f"shards-{jobs}-{len(files)}-{i}"
            found.append(peak(_prepare(files, SELECTION, jobs, out)))
    what = f"prepare with {jobs} process{'es' if jobs > 1 else ''}"
    counts = [n * sizes.sample for n in sizes.memory_copies]
    return peaks.figures(f"prepare_{jobs}", what, counts)


def every_event(sizes: Sizes, sample: Path, folder: Path) -> list[Path]:
    """Prepare both sizes of shards in which all events are selected ones."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = folder / "every_event.yaml"
    chosen.write_text(EVERY_EVENT)
    places = []
    for n in sizes.memory_copies:
        places.append(folder / f"shards-{n}")
        files = copies(sample, n, folder / f"{n}")
        subprocess.run(_prepare(files, str(chosen), 1, places[-1]), check=True, capture_output=True)
    return places


def training(sizes: Sizes, shards: Sequence[Path], folder: Path) -> Figures:
    """Measure `transferline pretrain` for equal numbers of steps on both sizes of shards."""
    peaks = _Peaks([], [])
    for i in range(sizes.memory_rounds):
        for place, found in zip(shards, (peaks.small, peaks.large), strict=True):
            out = folder / f"{place.name}-{i}"
            out.mkdir(parents=True)
            config = out / "pretrain.yaml"
            config.write_text(_pretraining(place, sizes.memory_steps))
            found.append(peak(_transferline("pretrain", str(config), "--out", str(out / "run"))))
    counts = [n * sizes.sample for n in sizes.memory_copies]
    return peaks.figures("training", f"pretrain, {sizes.memory_steps} steps", counts)


def _pretraining(shards: Path, steps: int) -> str:
    backbone = ", ".join(f"{name}: {value}" for name, value in BACKBONE.items())
    return f"""data: {{kind: shards, files: [{shards}]}}
backbone: {{{backbone}}}
objective: {{kind: masked_type}}
optim: {{steps: {steps}, batch_size: 256, validate_every: {steps}}}
valid_share: 0.02
"""
