"""A table of text, written as HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """A header, rows of the same length, and what the reader must know about them."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def html(self) -> str:
        """Return the table as HTML; every cell is escaped."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n"
            for row in self.rows
        )
        return (
            f'<div class="table"><table><caption>{escape(self.title)}</caption>\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
            + (f'<p class="note">{escape(self.note)}</p>\n' if self.note else "")
        )

    def markdown(self) -> str:
        """Return the table as Markdown, its title in bold above it."""
        lines = [self.header, ("---",) + ("---:",) * (len(self.header) - 1), *self.rows]
        text = "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)
        return f"**{self.title}**\n\n{text}\n" + (f"{self.note}\n\n" if self.note else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
