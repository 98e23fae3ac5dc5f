"""World: the processes of one training that torchrun started, and what they tell each other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from transferline.errors import ConfigError, TransferlineError
from transferline.launch import Launch, launch, stop_with_launcher

_TIMEOUT = timedelta(minutes=10)  # the processes go in step: nobody waits longer than one step
_LET_THE_FIRST_SPEAK = 1.0  # seconds


class LostProcessError(TransferlineError):
    """Another process of the training ended without a word."""


class World:
    """The only process of its training: every exchange is with itself.

    Attributes:
        rank: number of this process, 0 for the one that writes and speaks.
        size: number of processes.
        restarts: how often torchrun has started them anew by itself.
    """

    rank = 0
    size = 1
    restarts = 0

    @property
    def main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def device(self, wanted: torch.device) -> torch.device:
        """Return the device of this process, where `wanted` names the kind."""
        return wanted

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of `tensor` over the processes, the same in all, bit for bit."""
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all processes, of equal shapes, `[size, *shape]`."""
        return tensor.unsqueeze(0)

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite `tensors` in place with those of process 0."""

    def totals(self, *values: float) -> list[float]:
        """Return the sum of each value over the processes; nobody goes on before all are here."""
        return list(values)

    def same(self, values: dict[str, float]) -> dict[str, float]:
        """Return the values of process 0, so that all decide alike."""
        return values

    def wait(self) -> None:
        """Go on when all processes are here."""
        self.totals(0.0)


ALONE = World()


class TorchWorld(World):
    """One of several processes that torch.distributed connects."""

    def __init__(self, started: Launch) -> None:
        self.rank, self.size = started.rank, started.size
        self.restarts = started.restarts
        self._local = started
        self._device = torch.device("cpu")

    def device(self, wanted: torch.device) -> torch.device:
        """Return the GPU of this process, or the CPU.

        Raises:
            ConfigError: this machine has fewer GPUs than processes.
        """
        if wanted.type == "cuda":
            gpus = torch.cuda.device_count()
            if self._local.local_rank >= gpus:
                raise ConfigError(
                    f"{self._local.local_size} processes on a machine with {gpus} GPUs: start "
                    f"torchrun with --nproc-per-node {gpus}, or set optim.device to cpu."
                )
            self._device = torch.device("cuda", self._local.local_rank)
            torch.cuda.set_device(self._device)
        return self._device

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over the processes; one ring or tree, hence one rounding for all."""
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        with _others_alive():
            dist.all_reduce(total)
        return total

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all processes."""
        own = tensor.detach().contiguous()
        every = own.new_empty(self.size, *own.shape)
        with _others_alive():
            dist.all_gather(list(every.unbind()), own)
        return every

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite `tensors` in place."""
        with torch.no_grad(), _others_alive():
            for tensor in tensors:
                value = tensor.to(self._device).contiguous()
                dist.broadcast(value, 0)
                tensor.copy_(value)

    def totals(self, *values: float) -> list[float]:
        """Return the sum of each value."""
        own = torch.tensor(values, dtype=torch.float64, device=self._device)
        return [float(value) for value in self.sum(own)]

    def same(self, values: dict[str, float]) -> dict[str, float]:
        """Return the values of process 0."""
        tensor = torch.tensor(list(values.values()), dtype=torch.float64, device=self._device)
        self.copy_from_main([tensor])
        return dict(zip(values, tensor.tolist(), strict=True))


@contextmanager
def _others_alive() -> Iterator[None]:
    """A process that is gone shows as an error of the connection: say it in one sentence."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this training ended without a word (killed, or out of memory?). "
            "Start the same command again with --resume."
        ) from error


class _Store(Protocol):
    """The table of names and values that torchrun keeps for its processes."""

    def add(self, key: str, amount: int) -> int:
        """Add to a number and return it."""

    def set(self, key: str, value: str) -> None:
        """Set a value."""

    def get(self, key: str) -> bytes:
        """Return a value, when it is there."""


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun started, and leave them afterwards; alone without it.

    When the training fails, the first process to fail raises; the others leave with its exit
    code and say nothing, so that one message stands on the screen.

    Raises:
        ConfigError: torchrun's variables are wrong, or the processes do not find each other.
    """
    started = launch()
    if started.size == 1:
        alone = World()
        alone.restarts = started.restarts
        yield alone
        return
    if dist.is_initialized():  # joined by the caller, who also leaves
        yield TorchWorld(started)
        return
    store = _connect(started)
    try:
        yield TorchWorld(started)
    except (Exception, KeyboardInterrupt) as error:
        code = _leave_after(error, store)
        if code is not None:
            raise SystemExit(code) from error
        raise
    dist.destroy_process_group()


def _connect(started: Launch) -> _Store:
    if started.local_size > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # as torchrun has it: the processes share the cores
    stop_with_launcher()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store: _Store
    try:
        found, rank, size = next(rendezvous("env://", timeout=_TIMEOUT))
        # The table outlives a restart by torchrun, with the addresses of processes long gone.
        store = PrefixStore(f"attempt-{started.restarts}", found)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise ConfigError(
            f"process {started.rank} of {started.size} did not find the others at {where} "
            f"({str(error).splitlines()[0]}). Start them with torchrun."
        ) from error
    return store


def _leave_after(error: BaseException, store: _Store) -> int | None:
    """Return None for the first process that fails, its exit code for those that follow."""
    code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
    with suppress(RuntimeError):  # the store may have gone with its process
        if store.add("failures", 1) == 1:
            store.set("exit_code", str(code))
            return None
        time.sleep(_LET_THE_FIRST_SPEAK)
        return int(store.get("exit_code"))
    return None
