"""`transferline validate`: is the generated physics right?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferline.cli import options, output

if TYPE_CHECKING:
    from transferline.validation.page import Page, Written

_Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Markdown page to write.")]


def add(app: typer.Typer) -> None:
    """Add the group `validate` to the application."""
    group = typer.Typer(no_args_is_help=True, help="Compare generated physics with what is known.")
    group.command("events")(events)
    group.command("jets")(jets)
    group.command("higgs")(higgs)
    group.command("spectra")(spectra)
    app.add_typer(group, name="validate")


def events(
    out: _Out = Path("docs/physics_validation.md"),
    n: Annotated[
        int,
        typer.Option(
            "--n", "-n", metavar="N", help="Events of the largest sample; in all 3 times as many."
        ),
    ] = 15_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of all samples.")] = 1,
    jobs: options.Jobs = 1,
    detector: Annotated[
        str, typer.Option(metavar="CARD", help="Name or YAML file of a detector card.")
    ] = "cms",
    real: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Full simulation in NanoAOD to compare with; repeat it."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare generated events with what is known.

    Masses, jets, tagging, missing momentum, leptons, cross sections, underlying event. Generates
    what it needs (kept in TRANSFERLINE_CACHE; interrupted, it resumes), compares with the
    detector card and with published numbers, and writes a page with figures and verdicts. About
    ten minutes on two cores by default.
    """
    from transferline.validation.events import validate_events  # noqa: PLC0415

    page, written = validate_events(
        out, n=n, seed=seed, jobs=jobs, detector=detector, real=tuple(real or ())
    )
    _show(page, written, json)


def jets(
    out: _Out = Path("docs/jets_validation.md"),
    n: Annotated[
        int, typer.Option("--n", "-n", metavar="N", help="Jets of each of the ten classes.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of all samples.")] = 1,
    jobs: options.Jobs = 1,
    detector: Annotated[
        str, typer.Option(metavar="CARD", help="Name or YAML file of a card for jets.")
    ] = "cms",
    json: options.Json = False,
) -> None:
    """Compare generated jets with JetClass.

    Means and variances of the 17 inputs of JetClass, particles, masses, substructure, displaced
    tracks, and what changes with another detector or shower. Generates what it needs (kept in
    TRANSFERLINE_CACHE; interrupted, it resumes) and writes a page with figures and verdicts. About
    ten minutes on two cores by default.
    """
    from transferline.validation.jets import validate_jets  # noqa: PLC0415

    page, written = validate_jets(out, n=n, seed=seed, jobs=jobs, detector=detector)
    _show(page, written, json)


def higgs(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Higgs_data.root, with sig_tree and bkg_tree."),
    ],
    out: _Out = Path("docs/higgs_benchmark.md"),
    n: Annotated[
        int, typer.Option("--n", "-n", metavar="N", help="Events to generate of either class.")
    ] = 15_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of all samples.")] = 1,
    jobs: options.Jobs = 1,
    json: options.Json = False,
) -> None:
    """Compare generated events with the HIGGS benchmark.

    The charged Higgs cascade (425, 325 GeV) and ttbar, with the seven masses of arXiv:1402.4735.
    Generates what it needs (kept in TRANSFERLINE_CACHE; interrupted, it resumes) and writes a
    page with a figure and verdicts. About five minutes on two cores by default.
    """
    from transferline.validation.higgs import validate_higgs  # noqa: PLC0415

    page, written = validate_higgs(file, out, n=n, seed=seed, jobs=jobs)
    _show(page, written, json)


def spectra(
    files: Annotated[
        list[str],
        typer.Argument(metavar="NAME=FILE", help="NanoAOD files; ratios are to the first."),
    ],
    out: _Out = Path("spectra.md"),
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Of the page.")
    ] = "Spectra side by side",
    about: Annotated[
        str, typer.Option(metavar="TEXT", help="First paragraphs of the page, in Markdown.")
    ] = "Spectra of several files, laid side by side.",
    selection: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Only events that pass this selection."),
    ] = None,
    same: Annotated[
        bool, typer.Option("--same", help="The files should be the same: say whether they are.")
    ] = False,
    expected_tags: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="File to weight by the probability of a b tag."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Lay spectra of several files side by side.

    Jets, b tags, true b jets, momenta and masses of NanoAOD files, generated or real: a page with
    one figure, means with errors, and how each file was made. Files may be of any size.
    """
    from transferline.validation.spectra_page import validate_spectra  # noqa: PLC0415

    page, written = validate_spectra(
        files, out, title=title, about=about, cuts=selection, same=same, expected=expected_tags
    )
    _show(page, written, json)


def _show(page: Page, written: Written, json: bool) -> None:
    from transferline.validation.page import summary, to_dict  # noqa: PLC0415

    if json:
        output.show_json(to_dict(page))
        return
    typer.echo(summary(page))
    output.wrote(written.numbers, "all numbers")
    n = len(written.pictures)
    output.wrote(written.page, f"page with {n} picture{'s' if n != 1 else ''}")
