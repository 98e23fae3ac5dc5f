"""The layout of prepared shards: uncompressed Arrow IPC files in one directory, and a card.

Directory `NAME/`: `card.json` (written last: a directory without it is not a data set) and
`part-00000.arrow`, ... Each file has one row per event and the columns

- `particles`: `list<fixed_size_list<float32>[F]>`; the names of the F columns stand in the
  schema's metadata under `columns`, as JSON, and begin with pt, eta, phi, mass (GeV, rad);
- `constituents`, of events of jets alone, whose `particles` are then the jets:
  `list<list<fixed_size_list<float32>[C]>>`, those of jet j of event i, laid end to end under two
  levels of offsets; the outer ones equal those of `particles`, the names of the C columns stand in
  the metadata under `constituents`;
- `context.<name>`, `label.<name>`: float32;
- `weight`: float64, signed;
- `run`, `lumi`: uint32, `event`: uint64;
- `hash`: uint64, `identity_hash` of the event; folds and splits are cut from it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import pyarrow as pa
from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

CARD = "card.json"
FORMAT = "transferline-shards-1"
P4_COLUMNS = ("pt", "eta", "phi", "mass")


class ShardPart(TypedDict):
    """What the card says of one file; only files of its own directory can be named."""

    file: Annotated[str, Field(pattern=r"^part-[0-9]+\.arrow$")]
    rows: Annotated[int, Field(ge=0)]
    sha256: str
    size: int


def shard_schema(
    columns: Sequence[str],
    context: Sequence[str] = (),
    labels: Sequence[str] = (),
    constituents: Sequence[str] = (),
) -> pa.Schema:
    """Return the Arrow schema of a shard file with these columns."""
    for names in (columns, constituents or columns):
        if tuple(names[:4]) != P4_COLUMNS:
            raise ValueError(f"particle columns must begin with {P4_COLUMNS}, not {names[:4]}")
    inner = pa.list_(pa.list_(pa.list_(pa.float32(), max(len(constituents), 1))))
    metadata = {"columns": json.dumps(list(columns)), "format": FORMAT}
    if constituents:
        metadata["constituents"] = json.dumps(list(constituents))
    return pa.schema(
        [
            pa.field("particles", pa.list_(pa.list_(pa.float32(), len(columns)))),
            *([pa.field("constituents", inner)] if constituents else []),
            *(pa.field(f"context.{name}", pa.float32()) for name in context),
            *(pa.field(f"label.{name}", pa.float32()) for name in labels),
            pa.field("weight", pa.float64()),
            pa.field("run", pa.uint32()),
            pa.field("lumi", pa.uint32()),
            pa.field("event", pa.uint64()),
            pa.field("hash", pa.uint64()),
        ],
        metadata=metadata,
    )
