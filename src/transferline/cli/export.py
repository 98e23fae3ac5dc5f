"""`transferline export`: trained models for programs that have no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from transferline.cli import options, output

_group = options.group("export", "Export a trained model for other programs.")


def add(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(_group)


@_group.command("onnx")
def onnx(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Directory of a run or a checkpoint; `shipped`.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Ends in .onnx.")],
    events: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHARDS|FILE",
            help="Events or jets to compare on, shards or files; repeat it for more. "
            "Else the sample of events inside the package.",
        ),
    ] = None,
    reader: Annotated[str, typer.Option(metavar="NAME", help="Format of such files.")] = "nanoaod",
    jets: options.Jets = None,
    sets: options.Singles = None,
    opset: Annotated[int, typer.Option(metavar="N", help="Version of the ONNX operators.")] = 18,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Also give the embedding of the event or jet.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Write an ONNX graph, checked against torch on real events.

    Raw physical columns in (GeV, rad), probabilities out: the preprocessing is in the graph, the
    numbers of events and of particles are free. What it needs and gives stands in FILE.json.
    A model of jets is compared on jets: --events names some.
    """
    from transferline.deploy.onnx import export_onnx  # noqa: PLC0415

    source = options.reader(
        reader,
        events or ["-"],  # its options are checked, though nothing is read
        skip_bad=False,
        skip=None,
        retries=None,
        timeout=None,
        jets=jets,
        sets=sets,
    )
    found = export_onnx(
        run, out, events=events or (), reader=source, opset=opset, embedding=embedding
    )
    if json:
        output.show_json(found)
        return
    _show(found, out)


def _show(found: dict[str, Any], out: Path) -> None:
    check = found["check"]
    typer.echo(f"largest differences from torch ({check['events']}):")
    columns = list(check["tolerance"])
    head = _row("events", "particles", *columns)
    cases = [(case["case"], _case(case, columns)) for case in check["cases"]]
    allowed = _row("", "", *(f"{check['tolerance'][name]:.0e}" for name in columns))
    output.show_rows([("", head), *cases, ("allowed", allowed)], indent=2)
    output.wrote(out, f"ONNX graph, opset {found['opset']}")
    beside = f"{out}.json"
    output.show_rows(
        [
            ("inputs", ", ".join(_shape(row) for row in found["inputs"])),
            ("outputs", ", ".join(_shape(row) for row in found["outputs"])),
            ("description", beside),
        ]
    )


def _row(*cells: str) -> str:
    return " ".join(f"{cell:>11}" for cell in cells)


def _case(case: dict[str, Any], columns: list[str]) -> str:
    sizes = f"{case['events']:,}", str(case["particles"])
    gaps = case["difference"]
    if isinstance(gaps, str):
        return f"{_row(*sizes)}  {gaps}"
    return _row(*sizes, *(f"{gaps[name]:.1e}" for name in columns))


def _shape(row: dict[str, Any]) -> str:
    return f"{row['name']} [{', '.join(str(size) for size in row['axes'])}]"
