"""`transferline predict`: scores beside the entries of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferline.cli import options, output

if TYPE_CHECKING:
    from transferline.deploy.predict import Prediction


def add(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("predict")(predict)


def predict(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Directory of a run, or of a trained checkpoint.")
    ],
    files: Annotated[
        list[str], typer.Argument(metavar="FILES...", help="Paths, globs, URLs; @LIST for a list.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|DIR",
            help="FILE.root or FILE.parquet: the entries of all files, in order. "
            "DIR: one file per input, to be its friend.",
        ),
    ],
    folds: Annotated[
        bool,
        typer.Option(
            "--folds", help="Refuse a run without folds; one with folds uses them anyway."
        ),
    ] = False,
    reader: options.Format = "nanoaod",
    jets: options.Jets = None,
    sets: options.Singles = None,
    selection: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="In place of the model's own.")
    ] = None,
    golden_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certified luminosity sections, for collision data."),
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Also write the embedding of every row.")
    ] = False,
    file_format: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="In a DIR: root (default) or parquet."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad",
            help="Leave damaged and unreachable files out, give bad events NaN, don't stop.",
        ),
    ] = False,
    skip: options.Skip = None,
    retries: options.Retries = None,
    timeout: options.Timeout = None,
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap", help="Accept folds whose backbone was pre-trained on their events."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace output that exists.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Score files, and say if the model had seen the events.

    One row per entry, in order: run, luminosityBlock, event, selected, score (probability of
    signal; NaN where not selected; score_CLASS each of more classes). The tree `Scores` is a
    friend of `Events`. A model of jets gives one row per jet (--reader names their format).
    Where RUN was made with --folds, each event is scored by the model that never saw it.
    Interrupted, a prediction into a DIR goes on when the command is repeated.
    """
    from transferline.data.selections import load_selection  # noqa: PLC0415
    from transferline.deploy.predict import predict as score  # noqa: PLC0415
    from transferline.stopping import sigterm_as_interrupt  # noqa: PLC0415

    source = options.reader(
        reader,
        files,
        skip_bad=skip_bad,
        skip=skip,
        retries=retries,
        timeout=timeout,
        jets=jets,
        sets=sets,
    )
    with sigterm_as_interrupt():
        done = score(
            run,
            source,
            out,
            need_folds=folds,
            selection=load_selection(selection) if selection else None,
            golden_json=golden_json,
            embeddings=embeddings,
            file_format=file_format,
            overwrite=overwrite,
            allow_overlap=allow_overlap,
            device=device,
        )
    if json:
        output.show_json(done.card)
        return
    _show(done)


def _show(done: Prediction) -> None:
    from transferline.data.cutflow import Cutflow  # noqa: PLC0415

    card = done.card
    if card["cutflow"]:
        typer.echo(Cutflow.from_list(card["cutflow"]).render())
    for path, row in zip(done.outputs, _rows(done), strict=True):
        output.wrote(path, f"{row}, by an earlier call" if path in done.kept else row)
    folds = card["model"]["folds"]
    friend = f'{done.friend_of}->AddFriend("{card["tree"]}", "{done.outputs[0]}")'
    is_friend = done.friend_of is not None and done.outputs[0].suffix == ".root"
    rows = [
        ("columns", ", ".join(card["columns"])),
        ("models", f"{folds}, one per fold" if folds else "one, for all events"),
        ("independence", card["independence"]["verdict"]),
        ("card", str(done.cards[0])),
        ("", f"and {len(done.cards) - 1} more" if len(done.cards) > 1 else ""),
        ("in ROOT", friend if is_friend else ""),
    ]
    output.show_rows([row for row in rows if row[1]])


def _rows(done: Prediction) -> list[str]:
    files = done.card["inputs"]
    if len(done.outputs) == 1:
        return [f"{done.card['rows']} rows, {done.card['scored']} scored"]
    return [f"{row['rows']} rows, {row['scored']} scored" for row in files]
