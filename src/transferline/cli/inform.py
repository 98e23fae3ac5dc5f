"""`transferline list` and `transferline doctor`: what there is, and what runs here."""

from __future__ import annotations

from typing import Annotated

import typer

from transferline.cli import options, output
from transferline.errors import ConfigError, did_you_mean, shortened

_FAMILIES = ("processes", "readers", "selections", "backbones", "objectives", "tasks", "tokenizers")


def add(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("list")(list_names)
    app.command("doctor")(doctor)


def list_names(
    family: Annotated[
        str, typer.Argument(metavar="FAMILY", help=f"One of {', '.join(_FAMILIES)}.")
    ],
    json: options.Json = False,
) -> None:
    """List what a configuration can name."""
    if family not in _FAMILIES:
        raise ConfigError(
            f"'{shortened(family)}' cannot be listed.{did_you_mean(family, _FAMILIES)}"
        )
    rows = _rows(family)
    if json:
        output.show_json(dict(rows))
        return
    output.show_rows(rows)


def _rows(family: str) -> list[tuple[str, str]]:
    if family == "processes":
        from transferline.generate.catalogue import processes  # noqa: PLC0415

        return [(entry.full_name, entry.purpose) for entry in processes()]
    if family == "selections":
        from transferline.data.selections import load_selection, shipped  # noqa: PLC0415
        from transferline.data.selections.kinds import SHIPPED  # noqa: PLC0415

        return [(name, load_selection(name).comment.strip()) for name in [*shipped(), *SHIPPED]]
    return [(name, _first_line(row)) for name, row in _registry_rows(family)]


def _registry_rows(family: str) -> list[tuple[str, type]]:
    from transferline.data.readers import READERS  # noqa: PLC0415
    from transferline.learning.objectives import OBJECTIVES  # noqa: PLC0415
    from transferline.learning.tasks import TASKS  # noqa: PLC0415
    from transferline.models.backbones import BACKBONES  # noqa: PLC0415
    from transferline.models.tokenizers import TOKENIZERS  # noqa: PLC0415

    registries = (READERS, BACKBONES, OBJECTIVES, TASKS, TOKENIZERS)
    registry = next(registry for registry in registries if registry.family == family)
    return [(name, registry.load(name)) for name in registry.names()]


def _first_line(row: type) -> str:
    return (row.__doc__ or "").strip().split("\n", 1)[0]


def doctor(json: options.Json = False) -> None:
    """Show what a bug report needs.

    Versions, machine, limits, what training uses of it, directories, extras, plug-ins; Pythia,
    checkpoints and samples are tried. Paths show no user's name.
    """
    from transferline.doctor import examine  # noqa: PLC0415

    found = examine()
    if json:
        output.show_json(found)
        return
    problems = found.pop("problems")
    for title, facts in found.items():
        typer.echo(title)
        output.show_rows([(name, str(value)) for name, value in facts.items()], indent=2)
    typer.echo("problems" if problems else "no problems found")
    output.show_rows(list(problems.items()), indent=2)
