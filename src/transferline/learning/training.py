"""fit(): the only training loop. Pre-training, fine-tuning, probing and scratch all run it."""

from __future__ import annotations

import contextlib
import copy
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from transferline.data.batch import Batch
from transferline.errors import NumericalError, TransferlineError
from transferline.files import atomic_path, json_hash
from transferline.learning.objectives.base import Loss, Objective
from transferline.learning.optim import Optim
from transferline.learning.training_log import TrainingLog
from transferline.learning.training_state import Progress, load_state, save_state
from transferline.progress import Ticker, progress


class StopRequestedError(TransferlineError):
    """The training was asked to stop (SIGTERM or Ctrl-C) and has written its state."""

    exit_code = 143


class Batches(Protocol):
    """What `fit` draws from: a `Loader`, or anything that gives the batches of an epoch."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, the first `start` left out."""


@dataclass(frozen=True)
class FitResult:
    """What a training did; `best_loss` is the validation loss of the weights it left."""

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
    frozen_backbone: bool = False,
    save_seconds: float = 60.0,
    digest: str = "",
) -> FitResult:
    """Minimise `objective` and leave it with its best weights by validation loss.

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
        frozen_backbone: keep Features and backbone fixed, in evaluation mode.
        save_seconds: time between two saved states; a killed training loses at most this much.
        digest: hash of all else that decides the result (objective, model, data); a state is
            resumed only under the same one.

    Raises:
        NumericalError: the loss or a gradient is not finite; the batch is saved.
        StopRequestedError: SIGTERM or Ctrl-C came; the state is saved.
        DataError: the state to resume from is damaged or of another configuration.
    """
    loop = _Fit(objective, optim, out, seed=seed, frozen=frozen_backbone, digest=digest)
    loop.train, loop.valid, loop.save_seconds = train, valid, save_seconds
    return loop.run(resume, label)


class _Fit:
    train: Batches
    valid: Batches | None
    save_seconds: float

    def __init__(
        self,
        objective: Objective,
        optim: Optim,
        out: Path,
        *,
        seed: int,
        frozen: bool,
        digest: str,
    ) -> None:
        self.objective, self.optim, self.out = objective, optim, out
        self.seed, self.frozen = seed, frozen
        self.device = optim.torch_device()
        self.bfloat16 = optim.bfloat16(self.device)
        objective.to(self.device)
        if frozen:
            objective.model.features.requires_grad_(False)
            objective.model.backbone.requires_grad_(False)
        self.optimizer = optim.optimizer(objective)
        self.every = optim.validate_every or max(1, optim.steps // 20)
        self.at = Progress()
        self.best: dict[str, Tensor] | None = None
        self.digest = json_hash([optim.to_dict(), seed, frozen, digest])

    def run(self, resume: bool, label: str | None) -> FitResult:
        state = self.out / "state"
        if resume and state.exists():
            self.at, self.best = load_state(state, self.objective, self.optimizer, self.digest)
        log = TrainingLog(self.out, self.at.step)
        bar = progress(self.optim.steps, label) if label else contextlib.nullcontext(_Silent())
        with torch.random.fork_rng(devices=[]), _stop_signals() as stop, bar as ticker:
            ticker.advance(self.at.step)
            stopped = self._loop(log, ticker, stop, state)
        # Whoever called may still be stopped before the weights are in a checkpoint.
        self._save(state)
        log.close()
        if self.best is not None:
            self.objective.load_state_dict(self.best)
        self.objective.eval()
        at = self.at
        best_step, best_loss = (at.best_step, at.best_loss) if self.valid else (at.step, math.nan)
        return FitResult(
            at.step, best_step, best_loss, at.examples, at.cpu_seconds, at.wall_seconds, stopped
        )

    def _loop(
        self, log: TrainingLog, ticker: Ticker, stop: _Stop, state: Path
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
                self._step(batch.to(self.device))
                due = self.at.step % self.every == 0 or self.at.step == self.optim.steps
                if due:
                    row = self._validate()
                    log.add(row)
                    ticker.note(f"loss {row['train_loss']:.4f}")
            ticker.advance(1)
            if stop.requested or time.monotonic() - saved > self.save_seconds:
                self._save(state)
                saved = time.monotonic()
            if stop.requested:
                raise StopRequestedError(
                    f"stopped at step {self.at.step} of {self.optim.steps}; the state is in "
                    f"{state}. Run the same command with --resume to go on."
                )
        return "finished"

    def _exhausted(self) -> bool:
        return self.optim.patience is not None and self.at.bad >= self.optim.patience

    @contextlib.contextmanager
    def _clocked(self) -> Iterator[None]:
        cpu, wall = time.process_time(), time.monotonic()
        yield
        self.at.cpu_seconds += time.process_time() - cpu
        self.at.wall_seconds += time.monotonic() - wall

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def _train_mode(self) -> None:
        self.objective.train()
        if self.frozen:
            self.objective.model.features.eval()
            self.objective.model.backbone.eval()

    def _step(self, batch: Batch) -> None:
        torch.manual_seed(_step_seed(self.seed, self.at.step))
        self._train_mode()
        factor = self.optim.factor(self.at.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.optim.lr * factor * group["scale"]
        with self._autocast():
            loss: Loss = self.objective(batch)
        self._check(loss.total, "loss", batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch's own annotation
        limit = self.optim.clip if self.optim.clip is not None else math.inf
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        self._check(norm, "gradient", batch)
        self.optimizer.step()
        self.objective.after_step()
        self.at.step += 1
        self.at.examples += len(batch)
        self._count({"n": 1.0, "loss": loss.total.item()})
        self._count({name: part.item() for name, part in loss.parts.items()})

    def _count(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.at.running[name] = self.at.running.get(name, 0.0) + value

    def _check(self, value: Tensor, name: str, batch: Batch) -> None:
        if torch.isfinite(value):
            return
        columns = {f"columns.{n}": t for n, t in batch.columns.items()}
        rest = {"p4": batch.p4, "is_real": batch.is_real, "weight": batch.weight, "id": batch.id}
        target = {} if batch.target is None else {"target": batch.target}
        with atomic_path(self.out / "bad_batch.safetensors") as temporary:
            save_file({**columns, **rest, **target}, temporary)
        raise NumericalError(
            f"the {name} is not finite at step {self.at.step}; the batch is saved in "
            f"{self.out / 'bad_batch.safetensors'}. Look for infinite or NaN inputs there, or "
            "lower the learning rate."
        )

    def _validate(self) -> dict[str, Any]:
        n = self.at.running.pop("n")
        means = {f"train_{name}": total / n for name, total in self.at.running.items()}
        self.at.running = {}
        row: dict[str, Any] = {"step": self.at.step, "epoch": self.at.step / len(self.train)}
        row |= {"lr": self.optim.lr * self.optim.factor(self.at.step - 1), **means}
        if self.valid is None:
            return row
        found = self._mean_loss(self.valid)
        if found["val_loss"] < self.at.best_loss:
            self.at.best_step, self.at.best_loss, self.at.bad = self.at.step, found["val_loss"], 0
            self.best = copy.deepcopy(self.objective.state_dict())
        else:
            self.at.bad += 1
        return row | found

    @torch.no_grad()
    def _mean_loss(self, loader: Batches) -> dict[str, float]:
        """The same random draws at every validation, so that losses are comparable."""
        self.objective.eval()
        sums: dict[str, float] = {}
        n = 0
        for i, batch in enumerate(loader.batches(0)):
            torch.manual_seed(_step_seed(self.seed, -1 - i))
            with self._autocast():
                loss: Loss = self.objective(batch.to(self.device))
            n += len(batch)
            for name, value in {"loss": loss.total, **loss.parts}.items():
                sums[f"val_{name}"] = sums.get(f"val_{name}", 0.0) + value.item() * len(batch)
        return {name: total / n for name, total in sums.items()}

    def _save(self, state: Path) -> None:
        save_state(
            state,
            self.objective,
            self.optimizer,
            best=self.best,
            progress=self.at,
            digest=self.digest,
        )


def _step_seed(seed: int, step: int) -> int:
    """A seed per step; multiplying by a large odd number keeps neighbours apart."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63


class _Silent:
    def advance(self, n: int = 1) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""


class _Stop:
    requested = False


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Turn SIGTERM and Ctrl-C into a request that the loop honours after the present step."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(_number: int, _frame: object) -> None:
        stop.requested = True

    old = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
