"""One section of a validation page: how it was measured, checks, tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.table import Table
from transferline.validation.check import Check, Verdict


@dataclass(frozen=True)
class Finding:
    """One section.

    Attributes:
        name: a slug, unique on the page.
        title: its heading.
        text: what was done, in Markdown.
        checks: numbers beside what they should be.
        tables: numbers without an expectation.
        drawings: figures; their stems are unique on the page.
        numbers: what the figures show, as JSON values, for the page's JSON file only.
    """

    name: str
    title: str
    text: str
    checks: tuple[Check, ...] = ()
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "checks": [check.to_dict() for check in self.checks],
            "tables": [{"title": t.title, "header": t.header, "rows": t.rows} for t in self.tables],
            **({"numbers": dict(self.numbers)} if self.numbers else {}),
        }


def counted(checks: Iterable[Check]) -> dict[Verdict, int]:
    """Return how many checks have each verdict."""
    found = [check.verdict for check in checks]
    return {verdict: found.count(verdict) for verdict in Verdict}


def check_table(title: str, checks: Iterable[Check]) -> Table:
    """Return the checks as a table; notes tell what the controls say."""
    checks = list(checks)
    rows = tuple(
        (
            check.quantity,
            str(check.measured),
            _expected(check.expected),
            f"{check.tolerance:.3g}",
            f"**{check.verdict}**" if check.verdict != Verdict.AGREES else str(check.verdict),
            check.source,
        )
        for check in checks
    )
    header = ("Quantity", "Measured", "Expected", "Tolerance", "Verdict", "Source")
    return Table(title, header, rows, "\n\n".join(filter(None, map(_note, checks))))


def _expected(number: Measurement) -> str:
    return f"{number.value:.6g}" if number.error == 0.0 else str(number)


def _note(check: Check) -> str:
    if check.verdict not in (Verdict.EXPLAINED, Verdict.DISAGREES) or check.explanation is None:
        return ""
    why = check.explanation
    note = f"*{check.quantity}*: {why.cause} With that accounted for: {why.control}"
    if check.verdict == Verdict.EXPLAINED:
        return f"{note}."
    if check.control_decides:
        return f"{note}, which disagrees too: this is not the cause, or not all of it."
    return f"{note}, too uncertain to explain anything."
