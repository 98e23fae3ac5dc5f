"""`transferline pretrain` and `transferline transfer`: one training each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferline.cli import options, output
from transferline.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from transferline.evaluation.records import Record
    from transferline.learning.modes import Mode

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file.")]


def add(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("pretrain")(pretrain)
    app.command("transfer")(transfer)


def pretrain(
    config: Config,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Directory for the checkpoint.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last saved state, bit for bit.")
    ] = False,
    assignments: options.Assignments = None,
) -> None:
    """Pre-train a backbone on unlabelled shards.

    Writes a checkpoint: weights, resolved configuration, card, losses.
    """
    from transferline.config import load_config  # noqa: PLC0415
    from transferline.learning.pretraining import PretrainConfig  # noqa: PLC0415
    from transferline.learning.pretraining import pretrain as run  # noqa: PLC0415

    place = run(load_config(config, PretrainConfig, assignments or ()), out, resume=resume)
    output.wrote(place, "checkpoint")
    output.show_rows([("card", str(place / "card.md")), ("losses", str(place / "metrics.csv"))])
    output.next_command(
        "transfer", place, "task.yaml", "--mode", "finetuned", "--n-train", 1000, "--out", "runs/1"
    )


def transfer(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="Directory, `shipped`, or `none` for the mode trees."
        ),
    ],
    config: Config,
    mode: Annotated[str, typer.Option(metavar="MODE", help="scratch, frozen, finetuned or trees.")],
    n_train: Annotated[
        int,
        typer.Option(
            "--n-train", metavar="N", min=2, help="Labelled events, all classes together."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Directory of this run.")],
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of subset, head, order and redrawn weights.")
    ] = 0,
    assignments: options.Assignments = None,
    json: options.Json = False,
) -> None:
    """Train on few labelled events in one mode, and measure.

    Modes: scratch redraws the backbone, frozen trains the head alone, finetuned trains all,
    trees is the baseline. Measured on the test set of the task, which no mode ever sees.
    """
    from transferline.config import load_config  # noqa: PLC0415
    from transferline.evaluation import records  # noqa: PLC0415
    from transferline.learning.adaptation import transfer as run  # noqa: PLC0415
    from transferline.learning.transfer_config import TransferConfig  # noqa: PLC0415
    from transferline.models.checkpoint import Checkpoint  # noqa: PLC0415
    from transferline.models.shipped import resolve_checkpoint  # noqa: PLC0415

    chosen = _mode(mode)
    settings = load_config(config, TransferConfig, assignments or ())
    record = run(
        None if checkpoint == "none" else Checkpoint.load(resolve_checkpoint(checkpoint)),
        settings.task,
        chosen,
        n_train=n_train,
        seed=seed,
        how=settings.how(chosen),
        out=out,
        pretraining="none" if chosen in ("scratch", "trees") else "checkpoint",
        keep_checkpoint=True,
        label=f"{mode} {n_train}",
    )
    records.append(out / "records.jsonl", record)
    if json:
        output.show_json(record.model_dump(mode="json", exclude={"replicas"}, exclude_none=True))
        return
    _show_record(record, out)


def _mode(name: str) -> Mode:
    from transferline.learning.modes import MODES  # noqa: PLC0415

    if name not in MODES:
        raise ConfigError(f"'{name}' is not one of the modes.{did_you_mean(name, MODES)}")
    return name


def _show_record(record: Record, out: Path) -> None:
    title = f"{record.task}, {record.mode}, {record.n_train} labelled events, seed {record.seed}"
    typer.echo(title)
    output.show_rows([(name, str(value)) for name, value in record.metrics.items()], indent=2)
    output.wrote(out / "record.json", "record")
    output.next_command("report", out / "records.jsonl", "--markdown", out / "results.md")
