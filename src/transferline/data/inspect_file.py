"""Say what a file is: format and version, events, weights, columns, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from transferline.data.card import DataCard
from transferline.data.cutflow import Cutflow
from transferline.data.file_ledger import FileRow, read_ledger
from transferline.data.file_ledger import render as render_files
from transferline.data.layouts import nanoaod as layout
from transferline.data.layouts.shards import CARD
from transferline.data.readers import READERS
from transferline.data.readers.addresses import check_url, is_url, public_name
from transferline.data.readers.base import Reader, Source
from transferline.data.readers.nanoaod import TREE, NanoAOD
from transferline.data.readers.nanoaod_branches import (
    branch_names,
    detect_version,
    offered_columns,
)
from transferline.data.readers.recognise import constituents_of, is_parquet, jet_reader
from transferline.data.readers.rootfile import describe_keys, is_tree, open_root
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import Selection, needed_columns, selection, shipped
from transferline.errors import DataError

_TABLES = ("cutflow", "files")  # details that are shown as such


@dataclass(frozen=True)
class Inspection:
    """What `inspect_file` found.

    Attributes:
        path, format: the file, and "NanoAODv9", "shards" or "ROOT".
        summary: one sentence.
        entries: number of events, None if the format is not known.
        is_simulation: None if not known.
        count, sum_weight: before any cut; None where the file does not tell.
        columns: collection -> columns of `Events` that it offers.
        missing: columns that the format can have and this file has not, and what that means.
        reader: name of the reader that reads it, None if there is none.
        details: further facts, such as the reason of the version or a cut-flow.
    """

    path: str
    format: str
    summary: str
    entries: int | None = None
    is_simulation: bool | None = None
    count: int | None = None
    sum_weight: float | None = None
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing: Sequence[str] = ()
    reader: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    def render(self) -> str:
        """Return lines of text for a terminal."""
        rows = [self.path, f"  {self.summary}"]
        if self.sum_weight is not None:
            rows.append(
                f"  before any cut: {self.count} events, sum of weights {self.sum_weight:g}"
            )
        elif self.is_simulation:
            rows.append("  sums of weights before cuts: unknown (no 'Runs' tree)")
        details = self.details.items()
        rows += [f"  {key}: {value}" for key, value in details if key not in _TABLES]
        for name, columns in self.columns.items():
            rows += _column_rows(name, columns)
        rows += [f"  missing: {text}" for text in self.missing]
        if "cutflow" in self.details:
            rows += ["", Cutflow.from_list(self.details["cutflow"]).render()]
        if "files" in self.details:
            rows += ["", render_files([FileRow(**row) for row in self.details["files"]])]
        return "\n".join(rows)


def _column_rows(name: str, columns: Sequence[str]) -> list[str]:
    """Return one row per collection; triggers and filters are too many to name all."""
    triggers = [c for c in columns if c.startswith(layout.TRIGGER_PREFIX)]
    filters = [c for c in columns if c.startswith(layout.FILTER_PREFIX)]
    rest = [c for c in columns if c not in {*triggers, *filters}]
    rows = [f"  {name}: {', '.join(rest) or 'none'}"]
    rows += [f"  triggers: {_shortened(triggers)}"] if triggers else []
    rows += [f"  filters: {_shortened(filters)}"] if filters else []
    return rows


def _shortened(columns: Sequence[str], limit: int = 6) -> str:
    shown = ", ".join(columns[:limit])
    return f"{shown}, ... ({len(columns)} in all)" if len(columns) > limit else shown


def inspect_file(path: Path | str) -> Inspection:
    """Open a ROOT or Parquet file or a shard directory and say what it is.

    Raises:
        DataError: it is missing, empty, truncated, or of a format that is not known.
    """
    text = str(path)
    if is_url(text):
        check_url(text)
    elif Path(text).is_dir():
        return _inspect_shards(text)
    elif is_parquet(text):
        return _inspect_jets(text, "jetclass2")
    with open_root(text) as file:
        classes = file.classnames(cycle=False)
        if is_tree(classes.get(TREE, "")) and _is_nanoaod(set(file[TREE].keys())):
            return _inspect_nanoaod(text, file[TREE])
        kind = jet_reader(name for name, cls in classes.items() if is_tree(cls))
        if kind is not None:
            return _inspect_jets(text, kind)
        return _unknown_root(public_name(text), file, classes)


def _is_nanoaod(branches: set[str]) -> bool:
    collections = set(offered_columns(branches)) - {"context"}
    return bool(collections) and set(layout.EVENT_ID) <= branches


def _inspect_shards(path: str) -> Inspection:
    if not (Path(path) / CARD).exists() and not list(Path(path).glob("part-*.arrow")):
        raise DataError(f"{path}: is a directory, but holds no shards of transferline.")
    shards = ShardSet(path)
    shards.verify()
    card = shards.cards[0]
    kind = "simulation" if card.is_simulation else "collision data"
    selected = card.selection.get("name")
    return Inspection(
        path=path,
        format="shards",
        summary=f"shards of transferline {card.version}: sample '{card.sample}', {kind}, "
        f"{len(shards)} events after selection '{selected}'",
        entries=len(shards),
        is_simulation=card.is_simulation,
        count=card.count,
        sum_weight=card.sum_weight,
        columns={"object": shards.columns, "context": shards.context_names},
        reader="shards",
        details={
            "labels": card.labels or ", ".join(shards.label_names) or "none",
            "effective events": round(card.n_eff, 1),
            "negative weights": f"{card.negative_fraction:.2%}",
            "content": card.content_hash,
            **_mixture(card),
            "cutflow": card.cutflow,
            "files": [asdict(row) for row in read_ledger(Path(path), card)],
        },
    )


def _mixture(card: DataCard) -> dict[str, str]:
    """Of a mixture, its luminosity and what was drawn of each process."""
    if not card.composition:
        return {}
    drawn = ", ".join(f"{row.events:,} {row.name}" for row in card.shares())
    return {"mixture of": f"{card.luminosity_invpb() / 1000:.4g} /fb: {drawn}"}


def _inspect_jets(path: str, kind: str) -> Inspection:
    reader: Reader = READERS.load(kind)(kind=kind, files=[path])
    offered, source = reader.offers(path), reader.source(path)
    first = next(reader.read(path, 0, min(source.entries, 1), {}), None)
    details = {} if first is None else {"labels": ", ".join(first.labels) or "none"}
    summary = f"jets of constituents ({source.format}), {source.entries} entries"
    return _described(source, summary, offered, kind, {**details, **_made_by(source)})


def _made_by(source: Source) -> dict[str, str]:
    """What the program that made a file wrote about it."""
    if source.provenance is None:
        return {}
    name = source.provenance.get("kind", "transferline")
    return {"made by": f"{name}, process {source.provenance.get('process', '?')}"}


def _described(
    source: Source,
    summary: str,
    columns: Mapping[str, Sequence[str]],
    reader: str,
    details: dict[str, Any],
) -> Inspection:
    return Inspection(
        path=source.path,
        format=source.format,
        summary=summary,
        entries=source.entries,
        is_simulation=source.is_simulation,
        count=source.count,
        sum_weight=source.sum_weight,
        columns=columns,
        reader=reader,
        details=details,
    )


def _unknown_root(path: str, file: Any, classes: dict[str, str]) -> Inspection:
    trees = {name: int(file[name].num_entries) for name, kind in classes.items() if is_tree(kind)}
    rows = ", ".join(f"'{name}' ({n} entries)" for name, n in trees.items())
    what = f"a ROOT file with trees {rows}" if trees else f"a ROOT file; {describe_keys(classes)}"
    return Inspection(
        path=path, format="ROOT", summary=f"{what}: no reader for it", details={"trees": trees}
    )


def _inspect_nanoaod(path: str, tree: Any) -> Inspection:
    branches = set(tree.keys())
    source = NanoAOD(files=[path]).source(path)
    version = detect_version(branches)
    offered = offered_columns(branches)
    kind = "simulation" if source.is_simulation else "collision data"
    details: dict[str, Any] = {"version": f"{version} ({version.reason})", **_made_by(source)}
    details["shipped selections"] = _usable_selections(offered)
    jets = constituents_of(branches)
    if jets:
        details["constituents"] = f"of {', '.join(jets)}; --reader pfnano --selection jets"
    summary = f"CMS {source.format}, {kind}, {source.entries} events"
    missing = _missing(offered, source.is_simulation, source.sum_weight)
    return replace(_described(source, summary, offered, "nanoaod", details), missing=missing)


def _missing(
    offered: Mapping[str, Sequence[str]], is_simulation: bool, sum_weight: float | None
) -> list[str]:
    rows = []
    for name, collection in layout.COLLECTIONS.items():
        if name not in offered:
            rows.append(f"{name}: the whole collection (branches {collection.prefixes[0]}_*)")
            continue
        absent = [c for c in collection.columns if c not in offered[name]]
        rows += [
            f"{name}.{column} ({' or '.join(branch_names(name, column))})"
            for column in absent
            if not _is_natural(column, offered[name], is_simulation)
        ]
    for prefix, what in ((layout.TRIGGER_PREFIX, "triggers"), (layout.FILTER_PREFIX, "filters")):
        if not any(column.startswith(prefix) for column in offered["context"]):
            rows.append(f"{what} ({prefix}*)")
    if sum_weight is None:
        rows.append("sums of weights: the file cannot be normalised to a cross section")
    return rows


def _is_natural(column: str, offered: Sequence[str], is_simulation: bool) -> bool:
    """Truth is not in collision data, and no version has all the taggers."""
    if column == "hadron_flavour":
        return not is_simulation
    return column.startswith("btag") and any(name.startswith("btag") for name in offered)


def _usable_selections(offered: Mapping[str, Sequence[str]]) -> str:
    """Say which of the shipped selections can be applied, and what the others lack."""
    verdicts: dict[str, list[str]] = {}
    for name in shipped():
        verdicts.setdefault(_verdict(selection(name), offered), []).append(name)
    if len(verdicts) == 1:
        return next(iter(verdicts))
    return "; ".join(f"{', '.join(names)} {verdict}" for verdict, names in verdicts.items())


def _verdict(chosen: Selection, offered: Mapping[str, Sequence[str]]) -> str:
    needed = needed_columns(chosen)
    lacking = [
        f"{collection}.{column}" if collection in offered else f"{collection}.*"
        for collection, columns in needed.items()
        for column in columns
        if collection != "context" and column not in offered.get(collection, ())
    ]
    if lacking:
        return f"cannot be applied, the file lacks {', '.join(dict.fromkeys(lacking))}"
    absent = [column for column in needed["context"] if column not in offered["context"]]
    if chosen.triggers and set(chosen.triggers) <= set(absent):
        return f"would pass no event, the file has none of {', '.join(chosen.triggers)}"
    working_points = f"can be applied (working points of {chosen.era})"
    return f"{working_points}, without {', '.join(absent)}" if absent else working_points
