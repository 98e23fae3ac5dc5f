"""`transferline generate`: collisions without a download, and a second generator."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferline.cli import options, output

if TYPE_CHECKING:
    from transferline.generate.events import GenerationSummary
    from transferline.generate.large_jets.sample import JetSummary

_Events = Annotated[
    int, typer.Option("--n", "-n", metavar="N", min=1, max=10**9, help="Events to write.")
]
_Seed = Annotated[
    int, typer.Option(metavar="N", min=0, max=2**63 - 1, help="Equal seeds give equal files.")
]
_Mpi = Annotated[
    bool,
    typer.Option("--mpi/--no-mpi", help="Multi-parton interactions: truer, 2 to 4 times slower."),
]
_Tune = Annotated[str, typer.Option(metavar="NAME", help="monash, cp5 or a14.")]
_JetCard = Annotated[
    str, typer.Option(metavar="CARD", help="cms, atlas or the YAML file of a card for jets.")
]


def add(app: typer.Typer) -> None:
    """Add the group `generate` to the application."""
    group = typer.Typer(no_args_is_help=True, help="Make collisions and jets, without a download.")
    group.command("events")(events)
    group.command("jets")(jets)
    group.command("hh4b")(hh4b)
    group.command("install-sherpa")(install_sherpa)
    app.add_typer(group, name="generate")


def events(
    process: Annotated[
        str,
        typer.Argument(
            metavar="PROCESS", help="Name in the catalogue: see `transferline list processes`."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="ROOT file to write (NanoAODv9).")
    ],
    n: _Events = 10_000,
    seed: _Seed = 0,
    jobs: options.Jobs = 1,
    dask: options.Dask = None,
    mpi: _Mpi = True,
    detector: Annotated[
        str, typer.Option(metavar="CARD", help="Name or YAML file of a detector card.")
    ] = "cms",
    tune: _Tune = "monash",
    generator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="pythia or sherpa; by default Pythia, and Sherpa for what Pythia lacks.",
        ),
    ] = None,
    filter_name: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="NAME",
            help="Filter on the hard process; the process has a default.",
        ),
    ] = None,
    lhe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Shower these events of a Les Houches file instead."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Generate events of one process into a NanoAOD file.

    Pythia 8 or Sherpa 3 with shower and hadronisation, a parametrised detector, jets, b and tau
    tags. Interrupted, it resumes when the command is repeated; with a larger -n the sample
    grows, if it holds a multiple of 1,000 events. The content does not depend on --jobs or --dask.
    """
    from transferline.generate.events import generate_events, summary_json  # noqa: PLC0415

    with options.cluster(jobs, dask, out.absolute().parent) as executor:
        done = generate_events(
            process,
            out,
            n=n,
            seed=seed,
            jobs=jobs,
            executor=executor,
            mpi=mpi,
            detector=detector,
            filter=filter_name,
            tune=tune,
            lhe=lhe,
            generator=generator,
        )
    if json:
        output.show_json(summary_json(done))
        return
    output.wrote(done.path, f"{done.events} events of {done.process}")
    output.show_rows(
        [
            ("tried", f"{done.tried} events, {done.passed} passed the process-level filter"),
            _cross_section(done),
            ("", f"{done.cross_section} pb (catalogue)" if done.cross_section else ""),
            ("time", f"{done.seconds:.0f} s"),
        ]
    )
    output.next_command("inspect", done.path)


def _cross_section(done: GenerationSummary | JetSummary) -> tuple[str, str]:
    """Return the row that says the generator's own estimate."""
    return (
        "cross section",
        f"{done.cross_section_generator:.4g} +- {done.cross_section_generator_error:.1g} pb "
        f"({done.generator.capitalize()}, leading order, before the filter)",
    )


def jets(
    jet_class: Annotated[
        str,
        typer.Argument(
            metavar="CLASS", help="QCD, Hbb, Hcc, Hgg, H4q, Hqql, Zqq, Wqq, Tbqq or Tbl."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="ROOT file to write (JetClass).")
    ],
    n: Annotated[
        int, typer.Option("--n", "-n", metavar="N", min=1, max=10**9, help="Jets to write.")
    ] = 10_000,
    seed: _Seed = 0,
    jobs: options.Jobs = 1,
    dask: options.Dask = None,
    mpi: _Mpi = True,
    detector: _JetCard = "cms",
    tune: _Tune = "monash",
    generator: Annotated[
        str, typer.Option(metavar="NAME", help="pythia, or sherpa for QCD and Tbqq.")
    ] = "pythia",
    replicas: Annotated[
        int,
        typer.Option(
            metavar="R", min=1, max=100, help="Jets of each hard process, showered again for each."
        ),
    ] = 1,
    json: options.Json = False,
) -> None:
    """Generate jets of one class of JetClass, in its layout.

    Pythia 8, a parametrised detector, anti-kT jets with R = 0.8 from 500 to 1000 GeV, matched to
    the decay that the class is named after. Interrupted, it resumes when the command is repeated.
    The content does not depend on --jobs or --dask.
    """
    from transferline.generate.large_jets.sample import generate_jets  # noqa: PLC0415

    with options.cluster(jobs, dask, out.absolute().parent) as executor:
        done = generate_jets(
            jet_class,
            out,
            n=n,
            seed=seed,
            jobs=jobs,
            executor=executor,
            mpi=mpi,
            detector=detector,
            tune=tune,
            generator=generator,
            replicas=replicas,
        )
    if json:
        output.show_json(asdict(done) | {"path": str(done.path)})
        return
    each = f", {done.replicas} replicas of each" if done.replicas > 1 else ""
    output.wrote(done.path, f"{done.jets} jets of class {done.jet_class}{each}")
    output.show_rows(
        [
            ("tried", f"{done.tried} events, {done.passed} passed the filter on the decay"),
            _cross_section(done),
            ("time", f"{done.seconds:.0f} s"),
        ]
    )
    output.next_command("inspect", done.path)


def hh4b(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="ROOT file to write (record 12102).")
    ],
    mass: Annotated[
        float | None, typer.Option(metavar="GEV", help="Mass of X, 500 to 6000 GeV.")
    ] = None,
    qcd: Annotated[
        str | None,
        typer.Option(metavar="LOW-HIGH", help="Multijets instead, in this bin of pT-hat (GeV)."),
    ] = None,
    n: _Events = 10_000,
    seed: _Seed = 0,
    jobs: options.Jobs = 1,
    dask: options.Dask = None,
    mpi: _Mpi = True,
    detector: _JetCard = "cms",
    tune: _Tune = "monash",
    json: options.Json = False,
) -> None:
    """Generate X -> HH -> 4b, or multijets, as events of jets.

    One entry per event, with its jets of R = 0.8 above 200 GeV and their candidates, in the layout
    of CMS record 12102: `--reader hbb` reads it. Events have two jets at least. Interrupted, it
    resumes when the command is repeated. The content does not depend on --jobs or --dask.
    """
    from transferline.generate.large_jets.hh4b import generate_hh4b  # noqa: PLC0415

    with options.cluster(jobs, dask, out.absolute().parent) as executor:
        done = generate_hh4b(
            out,
            mass=mass,
            qcd=qcd,
            n=n,
            seed=seed,
            jobs=jobs,
            executor=executor,
            mpi=mpi,
            detector=detector,
            tune=tune,
        )
    if json:
        output.show_json(asdict(done) | {"path": str(done.path)})
        return
    output.wrote(done.path, f"{done.events} events of {done.process}")
    output.show_rows(
        [
            ("tried", f"{done.tried} events, {100 * done.selected:.1f} % have two jets"),
            (
                "cross section",
                f"{done.cross_section:.4g} +- {done.cross_section_error:.1g} pb "
                "(Pythia, leading order, with two jets)",
            ),
            ("time", f"{done.seconds:.0f} s"),
        ]
    )
    output.next_command("inspect", done.path)


def install_sherpa(json: options.Json = False) -> None:
    """Download Sherpa, the second generator, with pip.

    48 MB, unpacked in TRANSFERLINE_CACHE, for any Python on Linux x86_64. What is there already
    is kept.
    """
    from transferline.generate.sherpa.installation import VERSION, install  # noqa: PLC0415

    place = install()
    if json:
        output.show_json({"path": str(place), "version": VERSION})
        return
    output.wrote(place, f"Sherpa {VERSION}")
    output.next_command("generate", "events", "ttbb_1l", "--out", "ttbb.root")
