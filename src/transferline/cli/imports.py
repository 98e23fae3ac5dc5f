"""`transferline import`: weights of other programs as checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transferline.cli import options, output

_group = options.group("import", "Import weights of other programs.")


def add(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(_group)


@_group.command("weaver")
def weaver(
    file: Annotated[
        Path, typer.Argument(metavar="CKPT", help="State of a ParticleTransformer, *.pt.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Directory for the checkpoint.")
    ],
    head: Annotated[
        bool, typer.Option("--head/--no-head", help="Take the linear classifier along.")
    ] = True,
    pair_activation: Annotated[
        bool,
        typer.Option(
            "--pair-activation/--no-pair-activation",
            help="The network of pairs ends with a GELU, as published; "
            "not if it was trained with use_pre_activation_pair.",
        ),
    ] = True,
    json: options.Json = False,
) -> None:
    """Make a checkpoint of weaver-core's ParticleTransformer.

    Every tensor finds its place, or the command fails and names it.
    """
    from transferline.deploy.import_weaver import import_weaver  # noqa: PLC0415

    found = import_weaver(file, out, pair_activation=pair_activation, head=head)
    if json:
        output.show_json(found)
        return
    output.wrote(out, "checkpoint")
    outputs = "none" if found["outputs"] is None else f"linear, {found['outputs']} outputs"
    rows = [
        ("parameters", f"{found['parameters']:,} in {found['used']} tensors"),
        ("head", outputs),
        ("left out", ", ".join(found["left_out"]) or "nothing"),
        *(("assumed", line) for line in found["assumed"]),
    ]
    output.show_rows(rows, indent=2)
    output.next_command(
        "transfer", out, "task.yaml", "--mode", "finetuned", "--n-train", 1000, "--out", "RUN"
    )
