"""Which process of how many this is: the variables that torchrun sets. Imports no torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from transferline.errors import ConfigError

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h> of Linux


def stop_with_launcher() -> None:
    """Have SIGTERM sent to this process when the one that started it ends (Linux).

    A killed torchrun leaves its processes behind: without this they would go on to write where
    the repeated command writes.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


@dataclass(frozen=True)
class Launch:
    """Which process of how many this is, and which of those on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0


_VARIABLES = {
    "rank": "RANK",
    "size": "WORLD_SIZE",
    "local_rank": "LOCAL_RANK",
    "local_size": "LOCAL_WORLD_SIZE",
    "restarts": "TORCHELASTIC_RESTART_COUNT",
}


def launch(environment: Mapping[str, str] | None = None) -> Launch:
    """Read what torchrun says about this process; alone without it.

    Raises:
        ConfigError: the variables are incomplete or contradict each other.
    """
    env = os.environ if environment is None else environment
    given = {name: env[key] for name, key in _VARIABLES.items() if key in env}
    if given.get("size", "1") == "1":
        again = given.get("restarts", "0")
        return Launch(restarts=int(again) if again.isdecimal() else 0)
    needed = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [key for key in needed if key not in env]
    if missing:
        raise _wrong_launch(f"WORLD_SIZE is {env['WORLD_SIZE']}, {', '.join(missing)} not set")
    if not all(value.isdecimal() for value in given.values()):
        values = ", ".join(f"{_VARIABLES[name]}={value}" for name, value in given.items())
        raise _wrong_launch(f"not all are numbers: {values}")
    found = Launch(**{name: int(value) for name, value in given.items()})
    for rank, size in (("rank", "size"), ("local_rank", "local_size")):
        if getattr(found, rank) >= getattr(found, size):
            raise _wrong_launch(
                f"{_VARIABLES[rank]} is {given[rank]} of {_VARIABLES[size]} {given[size]}, "
                "counted from 0"
            )
    return found


def refuse_torchrun(what: str) -> None:
    """Refuse work that several processes would each do as a whole, over each other's files.

    Raises:
        ConfigError: torchrun has started this process as one of several.
    """
    if "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            f"{what} does not run under torchrun, only pretrain does. Start it "
            "without; --jobs or --dask spread the runs of a study."
        )


def _wrong_launch(what: str) -> ConfigError:
    return ConfigError(
        f"the variables of torchrun are wrong: {what}. Start the processes with torchrun "
        "--nproc-per-node N, or unset WORLD_SIZE to train in one process."
    )
