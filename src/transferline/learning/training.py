"""fit(): the only training loop. Pre-training, fine-tuning, probing and scratch all run it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from transferline.data.batch import Batch
from transferline.errors import DataError
from transferline.files import json_hash, write_json
from transferline.learning.data_parallel import divided
from transferline.learning.distributed import ALONE, World
from transferline.learning.objectives.base import Objective
from transferline.learning.optim import Optim
from transferline.learning.stop_signals import Stop, StopRequestedError, stop_signals
from transferline.learning.training_log import NoLog, TrainingLog
from transferline.learning.training_place import RESOLVED
from transferline.learning.training_state import Progress, load_state, save_state
from transferline.learning.training_step import BackboneState, Batches, Stepper
from transferline.progress import Ticker, progress

_EARLY = 4  # validations before the first regular one

__all__ = ["Batches", "FitResult", "StopRequestedError", "fit"]


@dataclass(frozen=True)
class FitResult:
    """What a training did; `best_loss` is what chose the weights it left, in validation.

    That is the loss, or the part of it that the objective is `chosen_by`.

    Examples and CPU seconds are those of all processes together.
    """

    steps: int
    best_step: int
    best_loss: float
    examples_seen: int
    cpu_seconds: float
    wall_seconds: float
    stopped: Literal["finished", "patience"]


def fit(
    objective: Objective,
    train: Batches,
    valid: Batches | None,
    optim: Optim,
    out: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    label: str | None = "train",
    backbone: BackboneState = "trained",
    has_head: bool = False,
    save_seconds: float = 60.0,
    digest: str = "",
    world: World = ALONE,
    settings: Mapping[str, Any] | None = None,
) -> FitResult:
    """Minimise `objective` and leave it with its best weights by validation loss.

    An objective may be `chosen_by` something else, or keep its last weights.

    Every random number of step s comes from (seed, s), and the loader's position from s, so a
    resumed training equals an uninterrupted one bit for bit on the same machine.

    Args:
        objective: what to minimise, in place.
        train: training batches.
        valid: validation batches; without it the last weights count as best.
        optim: optimiser, schedule and budget.
        out: where `metrics.jsonl`, `metrics.csv` and `state/` stand; the state is there to
            resume from until the caller, its result safe, removes it.
        seed: of everything random.
        resume: continue from `out/state` if it is there.
        label: of the progress bar, or None for no bar.
        backbone: `trained`, or its weights stand still: in evaluation mode if `frozen`, with
            the batch statistics and moving averages of a training if `adapting`.
        has_head: it begins with a head that was trained. So it may be best after a few steps, and
            is looked at more often before its first regular validation. Where a head begins with
            random weights, few held-out events would prefer one that knows nothing to one that is
            too sure.
        save_seconds: time between two saved states; a killed training loses at most this much.
        digest: hash of all else that decides the result (objective, model, data); a state is
            resumed only under the same one.
        world: the processes that train together. Each must be given the same batches, and ends
            with the same weights; process 0 alone writes and shows progress.
        settings: what to note in `out/resolved.json`, once a state there is seen to be of them.

    Raises:
        NumericalError: the loss or a gradient is not finite; the batch is saved.
        StopRequestedError: SIGTERM or Ctrl-C came; the state is saved.
        DataError: the state to resume from is damaged or of another configuration, or not
            every process sees it.
    """
    parts = Stepper(objective, optim, seed=seed, backbone=backbone, world=world)
    whole = json_hash([optim.to_dict(), seed, backbone, digest])
    loop = _Fit(parts, train, valid, out, digest=whole, early=has_head, save_seconds=save_seconds)
    return loop.run(resume, label, settings)


class _Fit:
    def __init__(
        self,
        stepper: Stepper,
        train: Batches,
        valid: Batches | None,
        out: Path,
        *,
        digest: str,
        early: bool,
        save_seconds: float,
    ) -> None:
        self.stepper, self.train, self.valid = stepper, train, valid
        self.objective, self.optim, self.world = stepper.objective, stepper.optim, stepper.world
        self.out, self.state = out, out / "state"
        self.digest, self.save_seconds = digest, save_seconds
        given = len(train) if self.optim.validate_every == "epoch" else self.optim.validate_every
        self.every = given or max(1, self.optim.steps // 20)
        self.early = _halves(self.every) if early and not self.optim.validate_every else set()
        self.at = Progress()
        self.best: dict[str, Tensor] | None = None

    def run(self, resume: bool, label: str | None, settings: Mapping[str, Any] | None) -> FitResult:
        if resume and self.state.exists():
            found = load_state(self.state, self.objective, self.stepper.optimizer, self.digest)
            self.at, self.best = found
        if settings is not None and self.world.main:
            write_json(self.out / RESOLVED, settings)
        shown = label is not None and self.world.main
        steps, done = self.optim.steps, self.at.step
        bar = progress(steps, label or "", done=done) if shown else nullcontext(_Silent())
        # Signals first: as soon as a process sees the others, it must not leave without them.
        with stop_signals() as stop, torch.random.fork_rng(devices=[]), bar as ticker:
            self._start_alike()
            log = TrainingLog(self.out, self.at.step) if self.world.main else NoLog()
            with divided(self.objective, self.world):
                stopped = self._loop(log, ticker, stop)
        # Whoever called may still be stopped before the weights are in a checkpoint.
        self._save()
        log.close()
        if self.best is not None:
            self.objective.load_state_dict(self.best)
        self.objective.eval()
        at = self.at
        best_step, best_loss = (at.best_step, at.best_loss) if self.valid else (at.step, math.nan)
        return FitResult(
            at.step, best_step, best_loss, at.examples, at.cpu_seconds, at.wall_seconds, stopped
        )

    def _start_alike(self) -> None:
        own = torch.tensor([self.at.step, int(self.digest[:12], 16)], device=self.stepper.device)
        if not (self.world.gather(own) == own).all():
            raise DataError(
                f"{self.state}: not every process sees this state, or the same configuration and "
                "data. All machines must read the same files, --out among them."
            )
        self.world.copy_from_main(self.objective.state_dict().values())

    def _loop(
        self, log: TrainingLog | NoLog, ticker: Ticker, stop: Stop
    ) -> Literal["finished", "patience"]:
        saved = time.monotonic()
        batches: Iterator[Batch] = iter(())
        while self.at.step < self.optim.steps:
            if self._exhausted():
                return "patience"
            with self._clocked():
                batch = next(batches, None)
                if batch is None:
                    epoch, start = divmod(self.at.step, len(self.train))
                    batches = self.train.batches(epoch, start)
                    batch = next(batches)
                self._step(batch)
                if self._regular() or self.at.step in self.early:
                    row = self._validate()
                    log.add(row)
                    ticker.note(f"loss {row['train_loss']:.4f}")
            ticker.advance(1)
            asked = self._settle(stop)
            if asked or time.monotonic() - saved > self.save_seconds:
                self._save()
                saved = time.monotonic()
            if asked:
                self.world.wait()  # the first to leave ends the others
                raise StopRequestedError(
                    f"stopped at step {self.at.step} of {self.optim.steps}; the state is in "
                    f"{self.state}. Run the same command with --resume to go on.",
                    stop.signal_number or signal.SIGTERM,
                )
        return "finished"

    def _regular(self) -> bool:
        return self.at.step % self.every == 0 or self.at.step == self.optim.steps

    def _settle(self, stop: Stop) -> bool:
        """Add up the CPU seconds of all processes; tell whether any was asked to stop."""
        cpu_seconds, asked = self.world.totals(self.cpu_seconds, float(stop.requested))
        self.at.cpu_seconds += cpu_seconds
        return asked > 0

    def _exhausted(self) -> bool:
        return self.optim.patience is not None and self.at.bad >= self.optim.patience

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        cpu, wall = time.process_time(), time.monotonic()
        yield
        self.cpu_seconds = time.process_time() - cpu
        self.at.wall_seconds += time.monotonic() - wall

    def _step(self, batch: Batch) -> None:
        found = self.stepper.step(self.at.step, batch, self.out)
        self.at.step += 1
        self.at.examples += len(batch)
        for name, value in {"n": 1.0, **found}.items():
            self.at.running[name] = self.at.running.get(name, 0.0) + value

    def _validate(self) -> dict[str, Any]:
        n = self.at.running.pop("n")
        means = {f"train_{name}": total / n for name, total in self.at.running.items()}
        self.at.running = {}
        row: dict[str, Any] = {"step": self.at.step, "epoch": self.at.step / len(self.train)}
        row |= {"lr": self.optim.lr * self.optim.factor(self.at.step - 1), **means}
        if self.valid is None:
            return row
        found = self.stepper.mean_loss(self.valid)
        chosen_by = self.objective.chosen_by
        value = found[chosen_by or "loss"]
        if chosen_by is None or self.optim.keep == "last":
            self.at.best_step, self.at.best_loss = self.at.step, value
        elif value < self.at.best_loss and self._has_moved():
            self.at.best_step, self.at.best_loss, self.at.bad = self.at.step, value, 0
            self._keep()
        elif self.at.step > self._patient_from and self._regular():
            self.at.bad += 1
        return row | {f"val_{name}": value for name, value in found.items()}

    @property
    def _patient_from(self) -> int:
        moves = self.stepper.backbone == "trained"
        return self.optim.patient_from if moves else self.optim.half_way

    def _has_moved(self) -> bool:
        """Whether a backbone that is to be trained no longer stands where it began."""
        return self.stepper.backbone != "trained" or self.at.step > self.optim.frozen_steps

    @torch.no_grad()
    def _keep(self) -> None:
        """Copy the weights as the best; into the same memory each time."""
        now = self.objective.state_dict()
        if self.best is None:
            self.best = {name: tensor.clone() for name, tensor in now.items()}
        for name, tensor in now.items():
            self.best[name].copy_(tensor)

    def _save(self) -> None:
        if self.world.main:
            save_state(
                self.state,
                self.objective,
                self.stepper.optimizer,
                best=self.best,
                progress=self.at,
                digest=self.digest,
            )


def _halves(every: int) -> set[int]:
    """Steps of the validations before the first regular one.

    >>> sorted(_halves(100))
    [6, 12, 25, 50]
    """
    return {every // 2**power for power in range(1, _EARLY + 1)} - {0}


class _Silent:
    def advance(self, n: int = 1) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""
