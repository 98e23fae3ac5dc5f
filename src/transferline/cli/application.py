"""The Typer application itself."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from transferline.errors import TransferlineError
from transferline.launch import refuse_torchrun
from transferline.stopping import interrupt_handled, no_interrupt_lost, signal_of


class InterruptedByUserError(TransferlineError):
    """Ctrl-C, or SIGTERM in its place; what was finished is kept."""

    exit_code = 128 + signal.SIGINT


_ORDER = (  # on the help page: that of the work
    "demo", "generate", "validate", "inspect", "prepare", "mix", "tokenize", "pretrain", "transfer",
    "study", "report", "predict", "export", "import", "list", "doctor",
)  # fmt: skip

_RESUMED = ("pretrain", "tokenize train")  # what wants to be told
_GOING_ON = (
    "demo",
    "generate",
    "prepare",
    "study",
    "validate",
    "predict",
)  # finds what is finished

_TOGETHER = ("pretrain", "doctor")  # what makes sense in several processes of torchrun


class _Group(TyperGroup):
    """Lists commands in the order of the work; says after Ctrl-C how to go on."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        within = list(ctx.args)  # click empties it
        try:
            with no_interrupt_lost():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            interrupt_handled()
            stopped = InterruptedByUserError(_after(str(ctx.invoked_subcommand), within))
            stopped.exit_code = 128 + signal_of(error)
            raise stopped from error


def _after(command: str, within: Sequence[str]) -> str:
    """Say what an interrupted command left, and how to go on."""
    resumed = command in _RESUMED or " ".join((command, *within[:1])) in _RESUMED
    goes_on = command in _GOING_ON
    if command == "transfer":
        goes_on = _options_of(command, within).get("folds") is not None
    if command == "predict":  # into one file, it begins anew
        out = _options_of(command, within).get("out")
        goes_on = out is None or out.is_dir() or not out.suffix
    if not resumed and not goes_on:
        return "interrupted; nothing was half written. Type the same command again to begin anew."
    how = " with --resume" if resumed else ""
    return (
        "interrupted; finished parts are kept. "
        f"Type the same command again{how} to go on from there."
    )


def _options_of(command: str, within: Sequence[str]) -> dict[str, Any]:
    """Read the words of a command as it does itself: an option has several spellings."""
    known: Any = typer.main.get_command(app)
    top = known.make_context("transferline", [command], resilient_parsing=True)
    found = known.get_command(top, command)
    read = found.make_context(command, list(within), parent=top, resilient_parsing=True)
    return dict(read.params)


app = typer.Typer(
    name="transferline",
    cls=_Group,
    help="Pre-train a network once on collision data or simulation, transfer it to every "
    "analysis that has few labelled events, and read off an honest learning curve.",
    epilog="A first look: transferline demo. Exit codes: 0 fine, 2 usage or configuration, "
    "3 data, 4 numerical.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from transferline import __version__  # noqa: PLC0415

        typer.echo(f"transferline {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of expected failures, too.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if not debug:
        warnings.showwarning = _show_warning
    if context.invoked_subcommand not in _TOGETHER:
        refuse_torchrun(str(context.invoked_subcommand))


def _show_warning(message: Warning | str, *_place: object, **_more: object) -> None:
    """Show the text alone: the line of our code that warned helps nobody."""
    sys.stderr.write(f"warning: {message}\n")
