"""`transferline demo`, `study` and `report`: learning curves from beginning to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transferline.cli import options, output
from transferline.errors import ConfigError


def add(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("demo")(demo)
    app.command("study")(study)
    app.command("report")(report)


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Directory of the study.")
    ] = Path("demo"),
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Pre-train here instead of using the shipped.")
    ] = False,
    jobs: options.Jobs = 2,
) -> None:
    """See everything at once, in under five minutes.

    Generates and prepares ttH(bb) and ttbar events, transfers the shipped backbone at 200 to
    800 labelled events, and reports. Interrupted, it resumes when the command is repeated.
    """
    from transferline.demo import demo as run  # noqa: PLC0415
    from transferline.demo import demo_table  # noqa: PLC0415

    page = run(out, from_scratch=from_scratch, jobs=jobs)
    typer.echo(demo_table(out))
    output.wrote(page, "report, open it in a browser")
    output.next_command("list", "processes")


def study(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Directory of the study.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Parse, print runs and event passes, and stop.")
    ] = False,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="NAME", help="Only this one, or its unique beginning."),
    ] = None,
    jobs: options.Jobs = 1,
    dask: options.Dask = None,
    assignments: options.Assignments = None,
) -> None:
    """Run a grid of modes, label counts and seeds.

    Samples, pre-trainings and runs that are finished are not done again. Interrupted, it
    resumes when the command is repeated.
    """
    from transferline.config import load_config  # noqa: PLC0415
    from transferline.learning.study import study as run  # noqa: PLC0415
    from transferline.learning.study_config import StudyConfig  # noqa: PLC0415
    from transferline.learning.study_plan import plan_lines  # noqa: PLC0415
    from transferline.runtime import cache_directory  # noqa: PLC0415

    settings = load_config(config, StudyConfig, assignments or ())
    if check:
        typer.echo("\n".join(plan_lines(settings.only(task) if task else settings)))
        words: list[Path | str | int] = ["study", config, "--out", out or f"runs/{settings.name}"]
        words += [word for name in task or () for word in ("--task", name)]
        words += [word for text in assignments or () for word in ("--set", text)]
        words += ["--dask", dask] if dask else ["--jobs", jobs] if jobs > 1 else []
        output.next_command(*words)
        return
    if out is None:
        raise ConfigError("study needs --out DIR (or --check, which writes nothing).")
    with options.cluster(jobs, dask, out, cache_directory()) as executor:
        done = run(settings, out, jobs=jobs, executor=executor, tasks=task or ())
    output.wrote(done, "study")
    output.next_command("report", done)


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="PATHS...", help="A study's directory; with --markdown, records."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="For page and plots [STUDY/report]."),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a results page of these *.jsonl records instead."),
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of the results page [Results].")
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(metavar="YAML", help="Claims that the results page gives verdicts on."),
    ] = None,
) -> None:
    """Write the report of a study, or a results page.

    The report is one HTML page that needs nothing else, with every plot as PNG and PDF
    beside it. A results page is Markdown, built from Records alone.
    """
    from transferline.reporting.report import write_report  # noqa: PLC0415
    from transferline.reporting.results_page import write_results_page  # noqa: PLC0415

    if markdown is not None and out is not None:
        raise ConfigError("--out is for the report of a study; --markdown FILE names its own file.")
    if markdown is None and (claims is not None or title is not None):
        raise ConfigError("--claims and --title are for a results page; give --markdown FILE.")
    if markdown is not None:
        page = write_results_page(sources, markdown, title or "Results", claims)
        output.wrote(page, "results page")
        return
    if len(sources) > 1:
        raise ConfigError("a report is made of one study; several paths need --markdown FILE.")
    page = write_report(sources[0], out or sources[0] / "report")
    output.wrote(page, "report, open it in a browser")
    output.next_command(
        "report", sources[0] / "records.jsonl", "--markdown", sources[0] / "results.md"
    )
