"""The data card: what a directory of shards holds, where it came from and what was cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from transferline.data import composition
from transferline.data.composition import Share
from transferline.data.cutflow import Cutflow, Step
from transferline.data.layouts.shard_directory import ORIGINS
from transferline.data.layouts.shards import CARD, ShardPart
from transferline.errors import DataError, shortened
from transferline.files import read_json


@dataclass(frozen=True)
class DataCard:
    """The content of `card.json`.

    Attributes:
        sample: the user's name of the sample.
        version: of transferline.
        n_events: events that passed the selection.
        columns: particle columns of the shards; `context` and `labels`: event columns.
        selection: the resolved selection, `selection_hash` its hash.
        reader: the resolved reader.
        is_simulation: False for collision data.
        files: ledger, one row per file that was read: path, format, entries, sums of weights
            before any cut, passed events, missing triggers and filters, provenance.
        skipped: path -> reason of the files left out, damaged or named by a skip list; no sum
            includes them. `files.jsonl` beside the card has time and retries of every file.
        sum_weight, sum_weight2, count: before any cut, over all files; None where a file does
            not tell (simulation without a `Runs` tree).
        cutflow: rows of `Cutflow`.
        n_eff: (sum w)^2 / sum w^2 of the events that passed.
        negative_fraction: share of events with a negative weight among those that passed.
        capped: events that lost their softest jets to `max_objects`.
        duplicates: events whose (run, lumi, event) is there already.
        cross_section_pb: if given by the user or by the file's provenance.
        parts: shard files with their rows and SHA-256, in order.
        content_hash: SHA-256 over those of the parts.
        config_hash: of everything that determines the content.
        composition: of a mixture (`transferline.data.mix`), one row per process: cross section,
            efficiency, expected share, events drawn and available, hash of its card. What stands
            before cuts and in the cut-flow is then what the mixture's luminosity leads one to
            expect, and `passed` of a file the events drawn from it.
        origins_sha256: of the file `origins.npy` of a mixture.
        constituents: columns of the constituents, of events of jets; `columns` are then the jets'.
    """

    sample: str
    version: str
    n_events: int
    columns: list[str]
    context: list[str]
    labels: dict[str, float]
    selection: dict[str, Any]
    selection_hash: str
    reader: dict[str, Any]
    is_simulation: bool
    files: list[dict[str, Any]]
    skipped: dict[str, str]
    count: int | None
    sum_weight: float | None
    sum_weight2: float | None
    cutflow: list[dict[str, Any]]
    n_eff: float
    negative_fraction: float
    capped: int
    parts: list[dict[str, Any]]
    content_hash: str
    config_hash: str
    cross_section_pb: float | None = None
    provenance: list[dict[str, Any]] = field(default_factory=list)
    duplicates: int = 0
    composition: list[dict[str, Any]] = field(default_factory=list)
    origins_sha256: str = ""
    constituents: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> DataCard:
        """Undo `to_dict`; keys of later versions are ignored.

        Raises:
            ValueError: a key is missing, a value has another type, or the parts do not add up.
        """
        if not isinstance(value, Mapping):
            raise ValueError("it holds no keys")
        names = {f.name for f in fields(cls)}
        card: DataCard = _CARDS.validate_python({k: v for k, v in value.items() if k in names})
        parts, _ = _PARTS.validate_python(card.parts), _CUTFLOWS.validate_python(card.cutflow)
        if sum(part["rows"] for part in parts) != card.n_events:
            raise ValueError(f"its parts do not hold {card.n_events} events together")
        rows = _COMPOSITIONS.validate_python(card.composition)
        if rows and sum(row.events for row in rows) != card.n_events:
            raise ValueError(f"its composition does not add up to {card.n_events} events")
        return card

    def summary(self) -> dict[str, Any]:
        """Return the few lines that travel with every checkpoint trained on these events."""
        keys = ("sample", "n_events", "selection_hash", "content_hash", "is_simulation", "version")
        short = {key: getattr(self, key) for key in keys}
        short |= {"selection": self.selection.get("name"), "n_files": len(self.files)}
        if self.composition:
            short["composition"] = {row.name: row.events for row in self.shares()}
        return short

    def shares(self) -> list[Share]:
        """Return the composition of a mixture, the largest expected share first."""
        return [Share(**row) for row in self.composition]

    def luminosity_invpb(self) -> float:
        r"""Return the integrated luminosity that a mixture stands for, in 1/pb.

        Formula: $L = n / \sum_i \sigma_i \epsilon_i$, with the cross sections and efficiencies of
        its processes; that is 1 / `normalisation()`.

        Raises:
            DataError: the card lacks a sum.
        """
        return 1.0 / self.normalisation()

    def generated(self) -> frozenset[tuple[str, str, str]]:
        """Return process, filter and file of hard events (by hash) of what it was generated from.

        Empty where the files do not tell: they may be of anything.
        """
        filters = filters_of(self.provenance).items()
        return frozenset(
            (process, name, lhe) for (process, lhe), names in filters for name in names
        )

    def counts_again(self, other: DataCard) -> bool:
        """Tell whether the two are of one process with two filters, each with its whole rate.

        The filters that there are overlap: what passes both would count twice.
        """
        mine, its = filters_of(self.provenance), filters_of(other.provenance)
        return any(mine[shared] != its[shared] for shared in mine.keys() & its.keys())

    def normalisation(self, cross_section_pb: float | None = None) -> float:
        """Return w such that w x (event weight) is the event's cross section in pb.

        Formula: sigma / (sum of weights before any cut).

        Raises:
            DataError: the sum of weights or the cross section is not known.
        """
        sigma = self.cross_section_pb if cross_section_pb is None else cross_section_pb
        if sigma is None:
            raise DataError(f"sample '{self.sample}': has no cross section; give one in pb.")
        if not self.sum_weight:
            raise DataError(
                f"sample '{self.sample}': the sum of weights before cuts is not known (a file "
                "has no 'Runs' tree), so it cannot be normalised to a cross section."
            )
        return sigma / self.sum_weight


def load_card(directory: Path | str) -> DataCard:
    """Read the card of a shard directory.

    Raises:
        DataError: no such directory, no card (preparation unfinished), or a damaged card.
    """
    directory = Path(directory)
    path = directory / CARD
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory of shards.")
    if not path.exists():
        raise DataError(
            f"{directory}: has no {CARD}, so its preparation is unfinished. "
            "Rerun prepare with the same options to resume it."
        )
    try:
        return DataCard.from_dict(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(shortened(step, 40) for step in first["loc"])
        problem = f"{where}: {shortened(first['msg'])}"
    except ValueError as error:
        problem = str(error)
    raise DataError(f"{path}: is damaged ({problem}). Prepare {directory} again.")


def lost_part(directory: Path, card: DataCard) -> str | None:
    """Return the first of the card's files that is not there, or not as long; None if all are."""
    for part in card.parts:
        path = directory / part["file"]
        if not path.is_file() or path.stat().st_size != part["size"]:
            return str(part["file"])
    return None


_CARDS = TypeAdapter(DataCard)
_PARTS = TypeAdapter(list[ShardPart])
_CUTFLOWS = TypeAdapter(list[Step])
_COMPOSITIONS = TypeAdapter(list[Share])


def data_card_markdown(card: DataCard) -> str:
    """Return the card as a page of Markdown."""
    selection = card.selection
    kind = "simulation" if card.is_simulation else "collision data"
    sums = "unknown" if card.sum_weight is None else f"{card.sum_weight:.8g}"
    lines = [
        f"# Data card: {card.sample or 'unnamed sample'}",
        "",
        f"{kind}, {card.n_events:,} events after selection `{selection.get('name', '?')}` "
        f"({selection.get('comment', '').strip()}).",
        "",
        "| quantity | value |",
        "|---|---|",
        f"| events before cuts | {card.count if card.count is not None else 'unknown'} |",
        f"| sum of weights before cuts | {sums} |",
        f"| cross section | {_or_none(card.cross_section_pb, 'pb')} |",
        f"| effective events after cuts, (sum w)^2 / sum w^2 | {card.n_eff:,.1f} |",
        f"| share of negative weights | {card.negative_fraction:.2%} |",
        f"| events (or jets) that lost their softest objects to the cap | {card.capped:,} |",
        f"| events that are there twice | {card.duplicates:,} |",
        f"| particle columns | {', '.join(card.columns)} |",
        *([f"| constituent columns | {', '.join(card.constituents)} |"] * bool(card.constituents)),
        f"| labels | {card.labels or 'none'} |",
        f"| transferline | {card.version} |",
        f"| content SHA-256 | `{card.content_hash}` |",
        f"| selection SHA-256 | `{card.selection_hash}` |",
        "",
        *_composition(card),
        "## Cut-flow",
        "",
        "```",
        Cutflow.from_list(card.cutflow).render(),
        "```",
        "",
        "## Files",
        "",
        "| file | format | entries | sum of weights | passed |",
        "|---|---|---|---|---|",
    ]
    for row in card.files:
        weight = "unknown" if row["sum_weight"] is None else f"{row['sum_weight']:.8g}"
        name = Path(row["path"]).name
        lines.append(
            f"| {name} | {row['format']} | {row['entries']} | {weight} | {row['passed']} |"
        )
    lines += [f"\nSkipped: {named_reason(*item)}" for item in card.skipped.items()]
    return "\n".join(lines) + "\n"


def _composition(card: DataCard) -> list[str]:
    if not card.composition:
        return []
    return composition.markdown(card.shares(), card.luminosity_invpb(), ORIGINS)


def named_reason(path: str, reason: str) -> str:
    """Return "path: reason"; most reasons begin with the path already."""
    return reason if reason.startswith(path) else f"{path}: {reason}"


def _or_none(value: float | None, unit: str) -> str:
    return "not given" if value is None else f"{value:g} {unit}"


def filters_of(provenance: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """Return process and file of hard events -> names of the filters they were generated with."""
    found: dict[tuple[str, str], set[str]] = {}
    for made in provenance:
        if made.get("process") is not None:
            made_of = str(made["process"]), str(made.get("lhe_sha256"))
            found.setdefault(made_of, set()).add(_filter_name(made.get("filter")))
    return found


def _filter_name(value: Any) -> str:
    return str(value.get("name") if isinstance(value, dict) else value)
