"""What every page in Markdown needs: names without a machine, a checked target, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from transferline.errors import ConfigError
from transferline.files import resolved
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import save


def shown(path: Path) -> str:
    """Return a path below the working directory as relative: pages never name a machine."""
    here = Path.cwd()
    absolute = resolved(path)
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else path.name


def check_target(page: Path, kept: Sequence[Path]) -> None:
    """Raise ConfigError if `page` is a directory, or one of the files that must stay."""
    if page.is_dir():
        raise ConfigError(f"{page}: is a directory; name the page, such as {page}/results.md.")
    if resolved(page) in map(resolved, kept):
        raise ConfigError(f"{page}: is what the page is made from; give --markdown another name.")


def picture(drawing: Drawing, stem: Path) -> str:
    """Draw into a file beside a page, named after `stem`; return the line that shows it."""
    place = stem.with_name(f"{stem.name}-{drawing.stem}")
    [path] = save(drawing.make(), place, formats=("png",))
    return f"![{drawing.caption}]({quote(path.name)})\n\n"
