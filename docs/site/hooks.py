"""Hooks of mkdocs: pages of the API from the source tree, formulas as MathML.

The pages are made anew at every build, so that no module can be forgotten. Formulas become MathML
here, so that the site needs no script and no network.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

SOURCE = Path(__file__).parents[2] / "src" / "transferline"
ROOMS = {
    "data": "Files in, `Events` and `Batch` out: read, select, prepare, load. Momenta, masses and "
    "energies are in GeV, angles in rad, lengths in cm.",
    "generate": "Pythia, a parametrised detector, the NanoAOD layout. Needs the extra `generate`.",
    "models": "`Batch` -> `Inputs` -> `Latent` -> outputs. In shapes, `n` counts events, `p` "
    "particles, `f` features, `d` the width of an embedding.",
    "learning": "One `fit()` for pre-training, fine-tuning, probing and training from scratch.",
    "evaluation": "Signed weights in, numbers with errors out.",
    "reporting": "Everything that is drawn or written for people.",
    "deploy": "Trained models in use: predictions beside the input, graphs for other programs.",
    "validation": "Generated samples beside what is known.",
    "testing": "What a new reader, backbone, objective or task must keep, for other packages too.",
}
PROCESS = "Configuration, registry, errors, files, and what a process needs before it works."
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add `api/<room>.md` for every room, and `api/process.md` for the single files."""
    for room, text in ROOMS.items():
        modules = sorted((SOURCE / room).rglob("*.py"))
        page = _page(room.capitalize(), text, modules)
        files.append(File.generated(config, f"api/{room}.md", content=page))
    page = _page("Process", PROCESS, sorted(SOURCE.glob("*.py")))
    files.append(File.generated(config, "api/process.md", content=page))
    return files


def on_page_content(content: str, **_rest: Any) -> str:
    r"""Turn `\(...\)` and `\[...\]` into MathML.

    Raises:
        Exception: of `latex2mathml`, where a formula is wrong; the build stops.
    """
    return FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    return convert(html.unescape(found[2]), display=display)


def _page(title: str, text: str, modules: list[Path]) -> str:
    names = [name for path in modules for name in _public(path)]
    return "\n".join([f"# {title}", "", text, "", *(f"::: {name}\n" for name in names)])


def _public(path: Path) -> Iterator[str]:
    """Yield the dotted name of a module that defines something for users."""
    if path.name.startswith("_") or not re.search(r"^(class|def) [^_]", path.read_text(), re.M):
        return
    yield ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
