"""export_onnx(): a trained model as one ONNX file, checked against torch before it appears."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferline.data.readers.base import Reader
from transferline.deploy.batches import chosen
from transferline.deploy.onnx_check import compare, session
from transferline.deploy.onnx_description import check_summary, describe, write_into
from transferline.deploy.onnx_events import RealEvents, real_events
from transferline.deploy.onnx_graph import (
    OPSET,
    RawColumns,
    columns_read,
    onnx_graph,
    pad_whole_grid,
)
from transferline.deploy.trained import checkpoint_directory
from transferline.errors import ConfigError, DataError, NumericalError
from transferline.files import atomic_path, file_hash, write_json
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHead
from transferline.models.model import Model
from transferline.progress import progress

if TYPE_CHECKING:
    import onnx

_LARGEST = 2**31 - 1  # of one Protocol Buffers message, which an ONNX file is


def export_onnx(
    place: Path | str,
    out: Path,
    *,
    events: Sequence[Path | str] = (),
    reader: Reader | str = "nanoaod",
    opset: int = OPSET,
    embedding: bool = False,
) -> dict[str, Any]:
    """Write the model of a run or checkpoint to `out`, and its description to `out` + `.json`.

    Inputs of the graph are the raw columns of a `Batch`: `p4 [n, p, 4]`, `is_real [n, p]` and
    what else the model reads; n and p are free. Outputs are `logits` and `probability` `[n, c]`,
    and with `embedding` `pooled` `[n, d]`. The graph is compared with the library on real events
    and on edges (`onnx_check`); only then is it renamed to `out`. The description is written
    last and holds the hash of the graph; it also stands in the file's metadata.

    Args:
        place: directory of a run or a checkpoint.
        out: the file, `*.onnx`.
        events: directories of shards, or files that the model's selection is applied to, to
            compare on; without any, the sample inside the package.
        reader: of such files, or the name of their format.
        opset: version of the ONNX operators.
        embedding: add `pooled`; a backbone without a head gives nothing else, nor does one whose
            head takes events of jets.

    Returns:
        The description.

    Raises:
        ConfigError: the extra `onnx` is not installed, the model has no head on single sets and
            no `embedding` was asked for, or another argument is not usable.
        DataError: checkpoint or events are missing or damaged.
        NumericalError: graph and library differ by more than `onnx_check.TOLERANCE`.
    """
    _need_extra()
    if out.suffix != ".onnx" or out.is_dir():
        raise ConfigError(f"--out {out}: give the name of a file that ends in .onnx.")
    checkpoint = _load(place, embedding)
    _need_exportable(checkpoint)
    with progress(3, "export") as ticker:
        real = real_events(events, checkpoint, reader)
        module = _module(checkpoint, real, embedding)
        ticker.advance()
        graph = onnx_graph(module, real.batch, opset)
        description = describe(checkpoint, place, module, graph)
        ticker.advance()
        description["check"] = _check(checkpoint, module, graph, real, out)
        ticker.advance()
    return _write(graph, description, out)


def _need_exportable(checkpoint: Checkpoint) -> None:
    recipe = checkpoint.recipe.backbone
    if not _model(checkpoint).backbone.exportable:
        raise ConfigError(
            f"the backbone {recipe.kind} cannot be written as an ONNX graph; "
            "`transferline predict` gives its scores."
        )


def _need_extra() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f'exporting needs the package {name}: pip install "transferline[onnx]"'
            ) from error


def _load(place: Path | str, embedding: bool) -> Checkpoint:
    found = Checkpoint.load(checkpoint_directory(place))
    if found.recipe.head is None and not embedding:
        raise ConfigError(
            f"{place}: is a backbone without a head, so it has no scores. Export its embeddings "
            "with --embedding, or train it on a task first: "
            f"transferline transfer {place} task.yaml --mode finetuned --n-train 1000 --out RUN"
        )
    if isinstance(found.recipe.head, EventHead) and not embedding:
        raise ConfigError(
            f"{place}: its head takes events of jets of constituents, a graph takes single sets. "
            "Export its backbone, which gives the embedding of each jet: --embedding"
        )
    return found


def _model(checkpoint: Checkpoint) -> Model:
    """What becomes a graph: the model, without a head on events of jets."""
    if isinstance(checkpoint.recipe.head, EventHead):
        return checkpoint.backbone()
    return checkpoint.model()


def _module(checkpoint: Checkpoint, real: RealEvents, embedding: bool) -> RawColumns:
    model = _model(checkpoint).eval()
    try:
        columns = columns_read(model, chosen(real.batch, [int(real.sizes.argmax())]))
    except DataError as error:
        raise DataError(f"--events {real.source}: {error}") from error
    pad_whole_grid(model)
    return RawColumns(model, columns, embedding).eval()


def _check(
    checkpoint: Checkpoint, module: RawColumns, graph: onnx.ModelProto, real: RealEvents, out: Path
) -> dict[str, Any]:
    if graph.ByteSize() > _LARGEST:
        raise ConfigError(f"{out}: would be {graph.ByteSize() / 1e9:.1f} GB; one file holds 2 GB.")
    model = _model(checkpoint).eval()  # untouched by the tracer, packed as in training
    try:
        found = compare(session(graph.SerializeToString()), model, module, real)
    except NumericalError as error:
        raise NumericalError(
            f"{out}: not written. {error} Try another --opset or version of onnxruntime; "
            "please report it with the output of: transferline doctor"
        ) from error
    return check_summary(found, real.source)


def _write(graph: onnx.ModelProto, description: dict[str, Any], out: Path) -> dict[str, Any]:
    """Rename the graph into place between removing the old description and writing the new."""
    import onnx  # noqa: PLC0415  an extra

    write_into(graph, description)
    beside = out.with_name(out.name + ".json")
    with atomic_path(out) as temporary:
        onnx.save_model(graph, temporary)
        onnx.checker.check_model(temporary, full_check=True)
        written = {"file": out.name, "sha256": file_hash(temporary), **description}
        beside.unlink(missing_ok=True)
    write_json(beside, written)
    return written
