"""`transferline inspect`, `prepare` and `mix`: from files to shards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferline.cli import options, output
from transferline.errors import ConfigError, shortened

if TYPE_CHECKING:
    from transferline.data.card import DataCard
    from transferline.data.composition import Share


def add(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("inspect")(inspect)
    app.command("prepare")(prepare)
    app.command("mix")(mix)


def inspect(
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="ROOT or Parquet file, URL or shard directory.")
    ],
    json: options.Json = False,
) -> None:
    """Say what a file is and what it offers.

    Format and version, number of events, sums of weights, columns, and what is missing.
    """
    from transferline.data.inspect_file import inspect_file  # noqa: PLC0415

    found = inspect_file(path)
    if json:
        output.show_json(found.to_dict())
        return
    typer.echo(found.render())
    if found.reader == "nanoaod":
        output.next_command("prepare", path, "--selection", "pretraining", "--out", "shards")
    elif found.reader not in {None, "shards"}:
        words = ("--reader", str(found.reader), "--selection", "jets", "--out", "shards")
        output.next_command("prepare", path, *words)


def prepare(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...", help="Paths, globs, URLs; @LIST for a text file of them."
        ),
    ],
    selection: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="Name (see `transferline list selections`) or YAML file."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Directory for the shards.")
    ],
    reader: options.Format = "nanoaod",
    jets: options.Jets = None,
    sets: Annotated[
        str | None,
        typer.Option(
            metavar="jets|events",
            help="Of hbb files, or of replicas: single jets, or events of jets.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="A label of all events, e.g. signal=1."),
    ] = None,
    sample: Annotated[str, typer.Option(metavar="NAME", help="Your name for these events.")] = "",
    cross_section: Annotated[
        float | None, typer.Option(metavar="PB", help="In pb; else from the files, if they tell.")
    ] = None,
    golden_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certified luminosity sections, for collision data."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave damaged and unreachable files out, don't stop."),
    ] = False,
    skip: options.Skip = None,
    retries: options.Retries = None,
    timeout: options.Timeout = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the shards in DIR, once the new ones are whole."),
    ] = False,
    jobs: options.Jobs = 1,
    dask: options.Dask = None,
    json: options.Json = False,
) -> None:
    """Select events, or jets, and write training shards.

    Prints the cut-flow, raw and weighted; a data card with provenance lies in the directory.
    Interrupted, it resumes when the command is repeated. The result does not depend on
    --jobs or --dask.
    """
    from transferline.data.prepare import prepare as prepare_files  # noqa: PLC0415
    from transferline.data.selections import load_selection  # noqa: PLC0415

    chosen = load_selection(selection)
    if golden_json is not None:
        chosen = chosen.model_copy(update={"golden_json": str(golden_json)})
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
    with options.cluster(jobs, dask, out.absolute().parent) as executor:
        card = prepare_files(
            source,
            chosen,
            out,
            jobs=jobs,
            executor=executor,
            labels=_numbers(label or [], "--label"),
            sample=sample,
            cross_section_pb=cross_section,
            overwrite=overwrite,
        )
    if json:
        output.show_json(card.to_dict())
        return
    _show_card(card, out)


def mix(
    members: Annotated[
        list[str],
        typer.Argument(metavar="NAME=SHARDS...", help="Processes and their prepared shards."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Directory for the mixture.")
    ],
    n: Annotated[
        int | None,
        typer.Option(
            "--n", "-n", metavar="N", min=1, help="Events to draw; else as many as there can be."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**63 - 1, help="Of the draws and their order.")
    ] = 1,
    cross_section: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PB", help="In pb, in place of what the card of NAME says."),
    ] = None,
    sample: Annotated[
        str, typer.Option(metavar="NAME", help="Your name for the mixture.")
    ] = "mixture",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the shards in DIR, once the new ones are whole."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Mix processes as collisions do, without labels.

    Draws events in proportion to cross section x efficiency, each at most once, in random order:
    any first k are a fair sample. Unequal weights are unweighted, negative ones refused. What
    went in stands on the data card.
    """
    from transferline.data.mix import mix as mix_shards  # noqa: PLC0415

    places = _pairs(members, "SHARDS")
    card = mix_shards(
        {name: Path(place) for name, place in places.items()},
        out,
        n=n,
        seed=seed,
        cross_sections=_numbers(cross_section or [], "--cross-section", "PB"),
        sample=sample,
        overwrite=overwrite,
    )
    if json:
        output.show_json(card.to_dict())
        return
    _show_mixture(card, out)


def _pairs(texts: list[str], what: str, option: str = "") -> dict[str, str]:
    """Split NAME=... at the first equals sign."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not re.fullmatch(r"[\w.+-]+", name) or not value:
            raise ConfigError(f"{option}{shortened(text)}: is not of the form NAME={what}.")
        if name in pairs:
            raise ConfigError(f"{option}{name}: is given twice.")
        pairs[name] = value
    return pairs


def _numbers(texts: list[str], option: str, what: str = "NUMBER") -> dict[str, float]:
    """Return NAME -> number of an option that is given as NAME=`what`, any number of times."""
    found: dict[str, float] = {}
    for name, text in _pairs(texts, what, f"{option} ").items():
        number = _finite(text)
        if number is None:
            raise ConfigError(f"{option} {name}={shortened(text)}: is not a number ({what}).")
        found[name] = number
    return found


def _show_mixture(card: DataCard, out: Path) -> None:
    from transferline.data.composition import scarcest  # noqa: PLC0415

    rows = card.shares()
    header = ("process", "cross section", "efficiency", "share", "events", "available")
    output.show_table(header, [_share_row(row) for row in rows])
    for row in rows:
        if row.available < row.selected:
            typer.echo(
                f"{row.name}: unequal weights, {row.available:,} of {row.selected:,} events left "
                f"by unweighting (they were worth {row.effective:,.0f}); {row.truncated:.2%} of "
                "the cross section lies in the tail of the weights and is left out"
            )
    output.wrote(out, f"{card.n_events} events")
    least, n = scarcest(rows)
    output.show_rows(
        [
            ("luminosity", f"{card.luminosity_invpb() / 1000:.4g} /fb"),
            ("scarcest", f"{least.name}, which suffices for about {n:,} events"),
            ("card", str(out / "card.md")),
        ]
    )
    output.next_command("inspect", out)


def _share_row(row: Share) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.cross_section_pb:.5g} pb",
        f"{row.efficiency:.3%}",
        f"{row.share:.3%}",
        f"{row.events:,}",
        f"{row.available:,}",
    )


def _finite(text: str) -> float | None:
    """Return a number that shards can hold, None if it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 3e38 else None  # False for NaN, too


def _show_card(card: DataCard, out: Path) -> None:
    from transferline.data.cutflow import Cutflow  # noqa: PLC0415

    typer.echo(Cutflow.from_list(card.cutflow).render())
    output.wrote(out, f"{card.n_events} events")
    output.show_rows(
        [
            (
                "effective",
                f"{card.n_eff:.1f} events, {card.negative_fraction:.2%} negative weights",
            ),
            ("card", str(out / "card.md")),
        ]
    )
    output.next_command("inspect", out)
