"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", metavar="N", min=1, max=1024, help="Processes on this machine."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Dask = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Run on a Dask cluster instead: tcp://HOST:PORT of its scheduler, or its scheduler "
        "file. Workers must see the same files. Needs the extra `dask`.",
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. optim.steps=100."),
]


@contextmanager
def cluster(jobs: int, dask: str | None, *shared: Path) -> Iterator[Executor | None]:
    """Yield an executor on the cluster that --dask names; None without it.

    Args:
        jobs: what --jobs says, which cannot stand beside --dask.
        dask: what --dask says.
        shared: directories that the workers must see.

    Raises:
        ConfigError: both are given, or the cluster is not fit; see `transferline.executors`.
    """
    if dask is None:
        yield None
        return
    from transferline.executors import executor  # noqa: PLC0415

    with executor(jobs, dask=dask, shared=shared) as pool:
        yield pool
