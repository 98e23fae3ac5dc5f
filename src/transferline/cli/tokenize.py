"""`transferline tokenize train | inspect | sample`: discrete codes for particles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transferline.cli import options, output


def add(app: typer.Typer) -> None:
    """Add the group of commands to the application."""
    group = options.group("tokenize", "Codes of particles: make them, inspect them, draw jets.")
    group.command("train")(train)
    group.command("inspect")(inspect)
    group.command("sample")(sample)
    app.add_typer(group)


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Directory for the tokenizer.")
    ],
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    assignments: options.Assignments = None,
) -> None:
    """Make a tokenizer, a VQ-VAE of jets or k-means.

    Writes a checkpoint of its own: tensors, resolved configuration, card. The objective
    masked_particles takes it by its directory.
    """
    from transferline.config import load_config  # noqa: PLC0415
    from transferline.learning.tokenizing import TokenizeConfig, tokenize  # noqa: PLC0415
    from transferline.models.tokenizer_checkpoint import TokenizerCheckpoint  # noqa: PLC0415

    settings = load_config(config, TokenizeConfig, assignments or ())
    place = tokenize(settings, out, resume=resume, overwrite=overwrite)
    output.wrote(place, "tokenizer")
    output.show_rows(_quality(TokenizerCheckpoint.load(place).provenance["quality"]))
    output.next_command("tokenize", "inspect", place, settings.data.files[0], "-o", place / "plots")


def inspect(
    tokenizer: Annotated[
        Path, typer.Argument(metavar="TOKENIZER", help="Directory that `train` wrote.")
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Prepared shards of one sample.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Directory for plots.")],
    events: Annotated[
        int, typer.Option("--events", "-n", metavar="N", min=1, help="Look at so many, at most.")
    ] = 10_000,
    json: options.Json = False,
) -> None:
    """Compare jets with what their tokens give back.

    Plots pT, eta and phi of constituents, multiplicity, jet mass, and how often each code occurs.
    """
    from transferline.reporting.tokenizer_report import inspect_tokenizer  # noqa: PLC0415

    found = inspect_tokenizer(tokenizer, data, out, events)
    if json:
        output.show_json(found)
        return
    output.show_rows(_quality(found["quality"]))
    output.show_table(
        ("", "mean", "from tokens", "spread", "from tokens", "median difference"),
        [
            (name, *(f"{value:.4g}" for value in _in_order(numbers)))
            for name, numbers in found["quantities"].items()
        ],
    )
    output.wrote(out, "plots and tokenizer.json")


def sample(
    pretraining: Annotated[
        Path,
        typer.Argument(
            metavar="PRETRAINING", help="Directory of a pre-training by next_token with tokens."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Directory for plots.")],
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DATA]...",
            help="Prepared shards of real jets.",
            show_default="those of the pre-training",
        ),
    ] = None,
    events: Annotated[
        int, typer.Option("--events", "-n", metavar="N", min=2, help="Jets to draw.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 0,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="PAGE", help="Write a page with pictures, too."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw jets, code after code, and compare them with real ones.

    Wasserstein distances of constituents' pT, eta and phi, of multiplicity and jet mass, between
    those that chance and the tokens themselves make; a plot of each.
    """
    from transferline.reporting.generated_jets import compare_generated  # noqa: PLC0415

    found = compare_generated(pretraining, data or (), out, events, seed, page=markdown)
    if json:
        output.show_json(found)
        return
    names = ("mean", "mean_generated", "w1_halves", "w1_tokens", "w1_generated")
    output.show_table(
        ("", "mean", "generated", "W1 of two halves", "W1 of tokens", "W1 of generated"),
        [
            (name, *(f"{numbers[key]:.4g}" for key in names))
            for name, numbers in found["quantities"].items()
        ],
    )
    output.wrote(out, "plots and generated.json")
    if markdown is not None:
        output.wrote(markdown, "page")


def _in_order(numbers: dict[str, float]) -> list[float]:
    names = ("mean", "mean_from_tokens", "spread", "spread_from_tokens", "median_difference")
    return [numbers[name] for name in names]


def _quality(found: dict[str, float]) -> list[tuple[str, str]]:
    return [
        ("codes used", f"{100 * found['usage']:.1f} %"),
        ("perplexity", f"{found['perplexity']:.1f}"),
        ("difference", f"{found['l1']:.4f} of a standardised feature, mean absolute"),
    ]
