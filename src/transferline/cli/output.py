"""What commands print: where the output went, the next command, tables, JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer


def wrote(path: Path | str, what: str) -> None:
    """Say where the output of a command went."""
    typer.echo(f"wrote {what}: {path}")


def next_command(*words: Path | str | int) -> None:
    """Say what to type next; words are quoted for the shell."""
    typer.echo(f"next:  transferline {shlex.join(str(word) for word in words)}")


def show_json(value: Any) -> None:
    """Print `value` as indented JSON, and nothing else."""
    typer.echo(json.dumps(value, indent=2, default=str))


def show_rows(rows: Sequence[tuple[str, str]], indent: int = 0) -> None:
    """Print two columns, the first as wide as its longest entry."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        typer.echo(f"{'':{indent}}{name:{width}}  {text}".rstrip())
