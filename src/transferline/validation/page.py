"""A validation page: verdicts first, then one section per finding; Markdown, PNG and JSON."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferline.files import write_json, write_text
from transferline.provenance import package_versions
from transferline.reporting.style import save
from transferline.reporting.table import Table
from transferline.validation.check import Check, Verdict
from transferline.validation.finding import Finding, check_table, counted

_VERSIONS = ("transferline", "pythia8mc", "fastjet", "numpy", "awkward")
_RULE = (
    "A number *agrees* if it lies within the tolerance and three standard errors of what is "
    "expected. One that does not is *explained* if a control measurement, with the cause that is "
    "named removed, agrees; the control must be allowed less than the difference that it is to "
    "explain. One that is more uncertain explains nothing, and the number *disagrees*. *Too few "
    "events*: three standard errors are so large that nothing could disagree. Errors are "
    "statistical."
)


@dataclass(frozen=True)
class Page:
    """A page to be written.

    Attributes:
        name: begins the names of its pictures and numbers, such as `events`.
        title: its heading.
        introduction: what it is about, in Markdown.
        command: words that make it again.
        facts: what the numbers rest on, such as seed and size, for the head and the JSON.
        findings: the sections.
    """

    name: str
    title: str
    introduction: str
    command: Sequence[str]
    facts: dict[str, Any]
    findings: Sequence[Finding]

    @property
    def checks(self) -> list[Check]:
        """All checks of the page."""
        return [check for finding in self.findings for check in finding.checks]


@dataclass(frozen=True)
class Written:
    """Where a page went."""

    page: Path
    numbers: Path
    pictures: list[Path]


def write_page(page: Page, out: Path) -> Written:
    """Write `out` with pictures and numbers in `validation/` beside it, the page last.

    Every file is whole or absent.
    """
    folder = out.parent / "validation"
    pictures = []
    for finding in page.findings:
        for drawing in finding.drawings:
            pictures += save(
                drawing.make(), folder / f"{page.name}-{drawing.stem}", formats=("png",)
            )
    numbers = folder / f"{page.name}.json"
    write_json(numbers, to_dict(page))
    write_text(out, _markdown(page))
    return Written(out, numbers, pictures)


def to_dict(page: Page) -> dict[str, Any]:
    """Return every number of the page as JSON values."""
    return {
        "title": page.title,
        "command": shlex.join(page.command),
        **page.facts,
        "versions": _versions(),
        "verdicts": {str(verdict): n for verdict, n in counted(page.checks).items()},
        "sections": [finding.to_dict() for finding in page.findings],
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **package_versions(_VERSIONS)}


def _markdown(page: Page) -> str:
    parts = [_head(page)]
    if page.checks:
        parts += [verdict_table(page.findings).markdown(), _attention(page.checks)]
    parts += [_section(finding, page.name) for finding in page.findings]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _head(page: Page) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in page.facts.items())
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return (
        f"# {page.title}\n\n{page.introduction}\n\n"
        f"Every number{' and verdict' if page.checks else ''} on this page is computed by\n\n"
        f"```bash\n{shlex.join(page.command)}\n```\n\n"
        f"with {facts}; {versions}.\n" + (f"\n{_RULE}\n" if page.checks else "")
    )


def verdict_table(findings: Sequence[Finding]) -> Table:
    """Return how many checks of each section have which verdict."""
    rows = [(f.title, *map(str, counted(f.checks).values())) for f in findings]
    every = counted(check for finding in findings for check in finding.checks)
    rows.append(("all", *map(str, every.values())))
    return Table("Verdicts", ("Section", *map(str, Verdict)), tuple(rows))


def summary(page: Page) -> str:
    """Return the table of verdicts as aligned text, then every check that disagrees.

    A page without checks has all its tables instead, with their notes.
    """
    if not page.checks:
        tables = [table for finding in page.findings for table in finding.tables]
        return "\n\n".join(text for t in tables for text in (_aligned(t), t.note) if text)
    return "\n".join(
        [
            _aligned(verdict_table(page.findings)),
            *(
                f"{c.verdict}: {c.quantity}: {c.measured}, expected {c.expected.value:.6g}"
                for c in page.checks
                if c.verdict in (Verdict.DISAGREES, Verdict.EXPLAINED)
            ),
        ]
    )


def _aligned(table: Table) -> str:
    rows = [table.header, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.header))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
    return "\n".join(lines)


def _attention(checks: Sequence[Check]) -> str:
    """List what a reader must look at: everything that neither agrees nor is undecided."""
    wanted = [c for c in checks if c.verdict in (Verdict.DISAGREES, Verdict.EXPLAINED)]
    return check_table("What does not simply agree", wanted).markdown() if wanted else ""


def _section(finding: Finding, page: str) -> str:
    text = f"## {finding.title}\n\n{finding.text}\n\n"
    if finding.checks:
        text += check_table("Checks", finding.checks).markdown()
    text += "".join(table.markdown() for table in finding.tables)
    for drawing in finding.drawings:
        path = f"validation/{page}-{drawing.stem}.png"
        text += f"![{drawing.caption}]({path})\n\n*{drawing.caption}*\n\n"
    return text
