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


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their longest entry, the first to the left, the others right."""
    every = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    for row in every:
        first, *rest = zip(row, widths, strict=True)
        cells = [f"{first[0]:<{first[1]}}", *(f"{text:>{width}}" for text, width in rest)]
        typer.echo("  ".join(cells).rstrip())


def show_rows(rows: Sequence[tuple[str, str]], indent: int = 0) -> None:
    """Print two columns, the first as wide as its longest entry."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        typer.echo(f"{'':{indent}}{name:{width}}  {text}".rstrip())
