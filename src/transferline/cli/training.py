"""`transferline pretrain` and `transferline transfer`: one training each."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferline.cli import options, output
from transferline.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from transferline.evaluation.records import Record
    from transferline.learning.folded_transfer import FoldedTransfer
    from transferline.learning.modes import Mode

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file.")]
Folds = Annotated[
    int | None,
    typer.Option(
        metavar="K", min=2, help="K models; number k never sees the events of fold k (a hash)."
    ),
]


def add(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("pretrain")(pretrain)
    app.command("transfer")(transfer)


def pretrain(
    config: Config,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Directory for the checkpoint.")
    ],
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    folds: Folds = None,
    assignments: options.Assignments = None,
) -> None:
    """Pre-train a backbone on unlabelled shards.

    Writes a checkpoint: weights, resolved configuration, card, losses. Several processes train
    together under torchrun: torchrun --nproc-per-node 2 -m transferline pretrain CONFIG
    """
    from transferline.config import load_config  # noqa: PLC0415
    from transferline.learning.distributed import joined  # noqa: PLC0415
    from transferline.learning.folded_pretraining import pretrain_folds  # noqa: PLC0415
    from transferline.learning.pretraining import PretrainConfig  # noqa: PLC0415
    from transferline.learning.pretraining import pretrain as run  # noqa: PLC0415
    from transferline.learning.pretraining_card import untrained_text  # noqa: PLC0415
    from transferline.learning.training_log import validation_summary  # noqa: PLC0415
    from transferline.models.checkpoint import Checkpoint  # noqa: PLC0415

    with joined() as world:  # around everything that may fail: one message is enough
        settings = load_config(config, PretrainConfig, assignments or ())
        if folds is None:
            place = run(settings, out, resume=resume, overwrite=overwrite)
        else:
            place = pretrain_folds(settings, folds, out, resume=resume, overwrite=overwrite)
    if not world.main:
        return
    words: list[Path | str | int] = [
        "transfer",
        place,
        "task.yaml",
        "--mode",
        "finetuned",
        "--n-train",
        1000,
    ]
    if folds is None:
        output.wrote(place, "checkpoint")
        made = Checkpoint.load(place).provenance
        known = validation_summary(made)
        if made.get("untrained"):
            typer.echo(untrained_text(made).strip("\n- "), err=True)
        output.show_rows(
            [
                ("validation", known),
                ("card", str(place / "card.md")),
                ("losses", str(place / "metrics.csv")),
            ]
        )
    else:
        output.wrote(place, f"{folds} checkpoints, one per fold")
        words += ["--folds", folds]
    output.next_command(*words, "--out", "runs/1")


def transfer(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="Directory, `shipped`, or `none` for the mode trees."
        ),
    ],
    config: Config,
    mode: Annotated[
        str, typer.Option(metavar="MODE", help="scratch, frozen, fixed, finetuned or trees.")
    ],
    n_train: Annotated[
        int,
        typer.Option(
            "--n-train", metavar="N", min=2, help="Labelled events, all classes together."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Directory of this run.")],
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=2**63 - 1, help="Of subset, head, order and redrawn weights."
        ),
    ] = 0,
    folds: Folds = None,
    allow_overlap: Annotated[
        bool,
        typer.Option("--allow-overlap", help="Measure also on events of the pre-training."),
    ] = False,
    overwrite: options.Overwrite = False,
    assignments: options.Assignments = None,
    json: options.Json = False,
) -> None:
    """Train on few labelled events in one mode, and measure.

    Modes: scratch redraws the backbone, frozen trains the head alone, finetuned trains all,
    trees is the baseline. Measured on the test set of the task, which no mode ever sees; with
    --folds on all events, each scored by the model that never saw it.
    """
    from transferline.config import load_config  # noqa: PLC0415
    from transferline.learning import folded_transfer  # noqa: PLC0415
    from transferline.learning.adaptation import transfer as run  # noqa: PLC0415
    from transferline.learning.folds import FOLDS  # noqa: PLC0415
    from transferline.learning.transfer_config import TransferConfig  # noqa: PLC0415

    chosen = _mode(mode)
    settings = load_config(config, TransferConfig, assignments or ())
    start = None if checkpoint == "none" else checkpoint
    how = settings.how(chosen)
    pretraining = "none" if chosen in ("scratch", "trees") else Path(checkpoint).resolve().name
    if folds is not None:
        if overwrite:
            raise ConfigError("--overwrite makes no folds anew; remove those in question.")
        done = folded_transfer.transfer_folds(
            folded_transfer.starting_checkpoints(start, folds),
            settings.task,
            chosen,
            n_train=n_train,
            seed=seed,
            how=how,
            out=out,
            allow_overlap=allow_overlap,
            pretraining=pretraining,
            label=f"{mode} {n_train}",
        )
        _show_folds(done, out, as_json=json)
        return
    if (out / FOLDS).exists():
        raise ConfigError(f"{out}: holds a run with folds. Choose another --out.")
    record = run(
        None if start is None else folded_transfer.single_checkpoint(start),
        settings.task,
        chosen,
        n_train=n_train,
        seed=seed,
        how=how,
        out=out,
        pretraining=pretraining,
        keep_checkpoint=True,
        allow_overlap=allow_overlap,
        overwrite=overwrite,
        label=f"{mode} {n_train}",
    )
    _note_down(out, record)
    if json:
        output.show_json(record.model_dump(mode="json", exclude={"replicas"}, exclude_none=True))
        return
    _show_record(record, out)


def _note_down(out: Path, record: Record) -> None:
    """Add a Record; one in whose place it is, of other settings, moves out of the curve."""
    from transferline.evaluation import records  # noqa: PLC0415
    from transferline.learning.study_records import RECORDS, SUPERSEDED  # noqa: PLC0415

    known = records.read(out / RECORDS) if (out / RECORDS).exists() else []
    place = operator.attrgetter("task", "mode", "pretraining", "n_train", "seed")
    replaced = [one for one in known if place(one) == place(record) and one.key() != record.key()]
    for one in replaced:
        records.append(out / SUPERSEDED, one)
    # As texts: what is not a number does not equal itself.
    if record.model_dump_json() not in (one.model_dump_json() for one in known):
        records.append(out / RECORDS, record)
    if replaced:
        gone = {one.key() for one in replaced}
        left = [one for one in records.read(out / RECORDS) if one.key() not in gone]
        records.write(out / RECORDS, left)


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
    output.show_rows(_independence([record]))
    output.next_command("report", out / "records.jsonl", "--markdown", out / "results.md")
    if record.mode != "trees":
        _next_scores(out, out)


def _show_folds(done: FoldedTransfer, out: Path, *, as_json: bool) -> None:
    if as_json:
        output.show_json(done.to_dict())
        return
    first = done.records[0]
    typer.echo(
        f"{first.task}, {first.mode}, {first.n_train} labelled events per fold, seed {first.seed}"
    )
    rows = [(f"fold {k}", record.metrics) for k, record in enumerate(done.records)]
    for name, metrics in [*rows, ("all events, each scored by its fold's model", done.metrics)]:
        typer.echo(name)
        output.show_rows([(key, str(value)) for key, value in metrics.items()], indent=2)
    output.wrote(out, f"{len(done.records)} runs, one per fold")
    output.show_rows(_independence(done.records))
    if first.mode != "trees":
        _next_scores(out, out / "fold-0")


def _next_scores(out: Path, run: Path) -> None:
    """Say how to score files, if the model of a run reads any: that on events of jets does not."""
    from transferline.learning.kept_model import CHECKPOINT  # noqa: PLC0415
    from transferline.models.checkpoint import Checkpoint  # noqa: PLC0415

    kind = (Checkpoint.load(run / CHECKPOINT).selection or {}).get("kind")
    if kind != "jet_events":
        more = ["--reader", "jetclass"] if kind == "jets" else []
        output.next_command("predict", out, "FILES", *more, "-o", "scores.root")


def _independence(records: Sequence[Record]) -> list[tuple[str, str]]:
    """What the runs found out about test events in the pre-training, each answer once."""
    found = [record.extra.get("pretraining_overlap") for record in records]
    verdicts = [str(note["verdict"]) for note in found if isinstance(note, dict)]
    return [("test events", verdict) for verdict in dict.fromkeys(verdicts)]
