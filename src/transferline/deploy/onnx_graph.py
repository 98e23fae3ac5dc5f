"""A model as an ONNX graph: raw physical columns in, probabilities out, Features inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from transferline.data.batch import Batch
from transferline.errors import ConfigError, DataError, shortened
from transferline.models.heads import class_probability
from transferline.models.model import Model

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""Default: read by ONNX Runtime 1.14 (2023) and everything later."""

SMALLEST_OPSET = 17  # the first with LayerNormalization
_SMALLEST_TORCH = (2, 6)  # before it, torch.onnx.export ignores the opset

Columns = Mapping[str, Tensor]


class RawColumns(nn.Module):
    """A model whose arguments are tensors: `p4 [n, p, 4]`, `is_real [n, p]`, columns `[n, p]`.

    Attributes:
        columns: names of the further arguments, in order.
        outputs: names of what is returned: `logits` and `probability` `[n, c]` of a model with a
            head, `pooled` `[n, d]` if the embedding is asked for.
    """

    def __init__(self, model: Model, columns: Sequence[str], embedding: bool) -> None:
        super().__init__()
        self.model = model
        self.columns = tuple(columns)
        scores = ("logits", "probability") if model.head is not None else ()
        self.outputs = scores + (("pooled",) if embedding else ())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all arguments, in order."""
        return ("p4", "is_real", *self.columns)

    def arguments(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the arguments that stand for `batch`."""
        return (batch.p4, batch.is_real, *(batch.columns[name] for name in self.columns))

    def forward(self, p4: Tensor, is_real: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
        """Return the `outputs`."""
        n = p4.shape[0]
        batch = Batch(
            p4=p4,
            is_real=is_real,
            weight=p4.new_ones(n),
            id=p4.new_zeros((n, 3), dtype=torch.int64),
            columns=dict(zip(self.columns, columns, strict=True)),
        )
        pooled = self.model.latent(batch).pooled
        found = {"pooled": pooled}
        if self.model.head is not None:
            found["logits"] = self.model.head(pooled)
            found["probability"] = class_probability(found["logits"])
        return tuple(found[name] for name in self.outputs)


class _Noting(dict[str, Tensor]):
    """Columns that note which of them are read."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Tensor:
        if name not in self:
            raise DataError(f"the model reads the column '{name}', which these events do not have.")
        self.read += [] if name in self.read else [name]
        return super().__getitem__(name)


@torch.no_grad()
def columns_read(model: Model, batch: Batch) -> list[str]:
    """Return the names of the particle columns beyond `p4` that the model uses, in order.

    Raises:
        DataError: `batch` lacks one of them.
    """
    columns = _Noting(batch.columns)
    model.latent(batch.replace(columns=columns))
    return columns.read


def pad_whole_grid(model: nn.Module) -> None:
    """Switch off the packing of real particles: shapes that depend on data hold runtimes up.

    Backbones that pack say so by the attribute `packed`; their kernels for packed particles are
    no ONNX operators either.
    """
    for module in model.modules():
        if getattr(module, "packed", False) is True:
            module.packed = False  # type: ignore[assignment]  # a flag, no submodule


def onnx_graph(module: RawColumns, batch: Batch, opset: int = OPSET) -> onnx.ModelProto:
    """Trace `module` into a graph; the numbers of events `n` and of places `p` stay open.

    Args:
        module: in evaluation mode, on the CPU, in float32.
        batch: events that tell the type of each column.
        opset: version of the ONNX operators.

    Raises:
        ConfigError: the opset or the installed torch cannot do it.
    """
    _check_versions(opset)
    return _cleaned(_traced(module, batch, opset), opset)


def _traced(module: RawColumns, batch: Batch, opset: int) -> onnx.ModelProto:
    n, p = torch.export.Dim("n", min=0), torch.export.Dim("p", min=0)
    axes = {0: n, 1: p}
    further = [(axes,) * len(module.columns)] if module.columns else []  # one for all `*columns`
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                module,
                _example(module.arguments(batch)),
                dynamo=True,
                dynamic_shapes=(axes, axes, *further),
                input_names=module.inputs,
                output_names=module.outputs,
                opset_version=opset,
                verbose=False,
            )
    except Exception as error:  # the exporter's exceptions share no other base
        raise ConfigError(
            f"torch {torch.__version__} cannot write this model as an ONNX graph of opset {opset} "
            f"({shortened(error, 300)}). Try another --opset; `transferline predict` gives scores "
            "without a graph."
        ) from error
    assert program is not None  # it is None only where torch writes the file itself
    return program.model_proto


def _check_versions(opset: int) -> None:
    import onnx  # noqa: PLC0415  an extra

    largest = onnx.defs.onnx_opset_version()
    if not SMALLEST_OPSET <= opset <= largest:
        raise ConfigError(f"--opset {opset}: choose {SMALLEST_OPSET} to {largest}.")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SMALLEST_TORCH:
        raise ConfigError(f"exporting needs torch 2.6 or newer; this is {torch.__version__}.")


def _example(arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Arguments of the right types; sizes other than 0 and 1, which the tracer takes as fixed."""
    n, p = 3, 5
    return tuple(torch.ones((n, p, *given.shape[2:]), dtype=given.dtype) for given in arguments)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's remarks on its own internals from the user; errors are raised."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _cleaned(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Check the operators, drop stack traces, ask of the reader no more than is needed.

    Raises:
        ConfigError: the graph could not be expressed in this opset.
    """
    import onnx  # noqa: PLC0415  an extra

    found = {row.domain: row.version for row in proto.opset_import}
    if found != {"": opset}:
        raise ConfigError(f"--opset {opset}: the graph needs {found}; choose {OPSET} or higher.")
    rows: list[Any] = [*proto.graph.node, *proto.graph.input, *proto.graph.output]
    rows += [*proto.graph.initializer, *proto.graph.value_info, proto.graph, proto]
    for row in rows:
        del row.metadata_props[:]
        row.doc_string = ""
    del proto.graph.value_info[:]
    smallest: int = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
    proto.ir_version = smallest
    return proto
