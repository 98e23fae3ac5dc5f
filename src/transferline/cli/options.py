"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferline.errors import ConfigError, shortened

if TYPE_CHECKING:
    from transferline.data.readers.base import Reader

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
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the last saved state, bit for bit.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make anew what is there.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. optim.steps=100."),
]
Format = Annotated[
    str, typer.Option(metavar="NAME", help="Format: see `transferline list readers`.")
]
Jets = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which jets of pfnano or delphes files, e.g. FatJet."),
]
Singles = Annotated[
    str | None,
    typer.Option(metavar="jets", help="Of hbb files, or of replicas: single jets."),
]
Skip = Annotated[
    Path | None,
    typer.Option(
        metavar="LIST", help="Files known to be bad: a path or pattern per line, # reason."
    ),
]
Retries = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Further attempts on a server (4).")
]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="S", min=0.1, help="A server silent for so long has failed (30)."),
]


def group(name: str, purpose: str) -> typer.Typer:
    """Return a group of commands; its commands keep two words, though there be only one."""
    made = typer.Typer(name=name, help=purpose, no_args_is_help=True, rich_markup_mode=None)
    made.callback()(lambda: None)
    return made


def reader(
    kind: str,
    files: Sequence[str],
    *,
    skip_bad: bool,
    skip: Path | None,
    retries: int | None,
    timeout: float | None,
    jets: str | None = None,
    sets: str | None = None,
) -> Reader:
    """Build the reader that --reader and its options name; what is None is left to it.

    Raises:
        ConfigError: there is no such reader, or it has no such option.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    from transferline.data.readers import READERS  # noqa: PLC0415

    cls = READERS.load(kind)
    more: dict[str, Any] = {"skip": skip and [f"@{skip}"], "retries": retries}
    more |= {"timeout_s": timeout, "jets": jets, "sets": sets}
    given = {name: value for name, value in more.items() if value is not None}
    for name in given:
        if name not in cls.model_fields:
            raise ConfigError(f"--reader {kind}: has no `{name}`.")
    try:
        return cls(kind=kind, files=list(files), skip_bad=skip_bad, **given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"--reader {kind}: {where}: {shortened(first['msg'])}") from error


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
