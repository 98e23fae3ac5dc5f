"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Annotated

import typer

from transferline.errors import ConfigError

Jobs = Annotated[
    int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes on this machine.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Dask = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Run on this Dask cluster (extra `dask`) instead."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. optim.steps=100."),
]


@contextmanager
def dask_executor(address: str | None) -> Iterator[Executor | None]:
    """Yield an executor on the Dask cluster at `address`; None without an address.

    Raises:
        ConfigError: the extra `dask` is not installed, or nobody answers.
    """
    if address is None:
        yield None
        return
    try:
        from distributed import Client  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("--dask needs: pip install 'transferline[dask]'") from error
    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--dask {address}: cannot connect ({error}).") from error
    with client:
        yield client.get_executor()
