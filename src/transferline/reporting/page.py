"""A self-contained HTML page: inline style, embedded pictures, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from transferline.reporting.table import Table

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff;
       max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { margin-bottom: 0.2rem; }
h2 { border-bottom: 1px solid #ccc; padding-bottom: 0.2rem; margin-top: 2.5rem; }
nav a { margin-right: 1rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0 0.3rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.3rem; }
th, td { padding: 0.25rem 0.9rem 0.25rem 0; text-align: right; border-bottom: 1px solid #e4e4e4;
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
.note { color: #555; font-size: 0.88rem; max-width: 60rem; margin-top: 0; }
.warning { background: #fff3cd; border-left: 4px solid #d39e00; padding: 0.4rem 0.8rem;
           margin: 0.4rem 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 46rem; }
figure img { width: 100%; height: auto; }
figcaption { color: #555; font-size: 0.88rem; }
pre { background: #f6f6f6; padding: 0.8rem; overflow-x: auto; font-size: 0.85rem; }
summary { cursor: pointer; font-weight: 600; margin: 0.6rem 0; }
"""


class Page:
    """Collects the parts of a page; all text is escaped."""

    def __init__(self, title: str, subtitle: str) -> None:
        self._title, self._subtitle = title, subtitle
        self._parts: list[str] = []
        self._contents: list[tuple[str, str]] = []

    def section(self, title: str) -> None:
        """Start a section, which the list of contents names."""
        anchor = f"part-{len(self._contents) + 1}"
        self._contents.append((anchor, title))
        self._parts.append(f'<h2 id="{anchor}">{escape(title)}</h2>')

    def subsection(self, title: str) -> None:
        """Start a part of a section."""
        self._parts.append(f"<h3>{escape(title)}</h3>")

    def text(self, text: str, kind: str = "") -> None:
        """Add a paragraph; `kind` is "", "note" or "warning"."""
        self._parts.append(
            f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"
        )

    def table(self, table: Table) -> None:
        """Add a table."""
        self._parts.append(table.html())

    def folded(self, title: str, tables: Sequence[Table]) -> None:
        """Add tables that open when asked for."""
        inner = "".join(table.html() for table in tables)
        self._parts.append(f"<details><summary>{escape(title)}</summary>{inner}</details>")

    def code(self, title: str, text: str) -> None:
        """Add text as it stands, folded away."""
        self._parts.append(
            f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
        )

    def figures(self, pictures: list[tuple[Path, str]]) -> None:
        """Add PNG pictures side by side, each with its caption."""
        inner = "".join(_figure(*picture) for picture in pictures)
        self._parts.append(f'<div class="figures">{inner}</div>')

    def html(self) -> str:
        """Return the whole page."""
        links = "".join(f'<a href="#{a}">{escape(title)}</a>' for a, title in self._contents)
        body = "\n".join(self._parts)
        # The empty icon keeps browsers from asking a server for one.
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{escape(self._title)}</title>\n<link rel="icon" href="data:,">\n'
            f"<style>{_STYLE}</style></head>\n<body><h1>{escape(self._title)}</h1>\n"
            f'<p class="note">{escape(self._subtitle)}</p>\n<nav>{links}</nav>\n'
            f"{body}\n</body></html>\n"
        )


def _figure(picture: Path, caption: str) -> str:
    data = base64.b64encode(picture.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
