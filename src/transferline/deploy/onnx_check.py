"""Whether ONNX Runtime and torch agree on a model: on real events, and where graphs break."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from transferline.data.batch import Batch
from transferline.deploy.batch_sizes import cuts
from transferline.deploy.batches import chosen, widened
from transferline.deploy.onnx_events import RealEvents
from transferline.deploy.onnx_graph import RawColumns
from transferline.errors import DataError, NumericalError
from transferline.models.heads import class_probability
from transferline.models.model import Model

TOLERANCE = {"probability": 1e-5, "logits": 1e-4, "pooled": 1e-4}
"""Largest allowed absolute difference; logits and embeddings: times the largest value above 1."""

_BATCH = 509  # a prime: the last batch of a sample has another size
_PAIRS = 2**18  # n p^2: both runtimes take about 2 kB for each of Particle Transformer's

Arrays = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Case:
    """Events given to ONNX Runtime, and those given to torch, which must come out the same.

    Attributes:
        name: for people.
        given, expected: they differ in padding alone.
        optional: a graph may refuse it, but not answer wrongly.
    """

    name: str
    given: Batch
    expected: Batch
    optional: bool = False


@dataclass(frozen=True)
class Difference:
    """What came out of all batches of one name; `largest` is None where the graph refused.

    Attributes:
        name: of the case.
        events: how many; `particles`: the most that one of them has.
        largest: output -> largest absolute difference.
    """

    name: str
    events: int
    particles: int
    largest: dict[str, float] | None


def cases(events: RealEvents) -> Iterator[Case]:
    """Yield the comparisons: real events first, then edges.

    Raises:
        DataError: there is not a single particle.
    """
    batch, sizes = events.batch, events.sizes
    longest = int(sizes.max(initial=0))
    if longest == 0:
        raise DataError(f"{events.source}: no event has a particle to compare with.")
    for rows in cuts(sizes, _BATCH, _PAIRS):
        cut = widened(chosen(batch, rows), max(int(sizes[rows].max()), 1))
        yield Case("real events", cut, cut)
    alone = widened(chosen(batch, [int(sizes.argmax())]), longest)
    yield Case("longest event, alone", alone, alone)
    long = lengthened(batch, 2 * longest + 1)
    yield Case("longer than any in the data", long, long)
    few = chosen(batch, np.arange(min(7, len(batch))))
    yield Case("anything in the padding", _filled(widened(few, longest + 3)), few)
    empty = _filled(widened(chosen(batch, [0]), 1), everywhere=True)
    yield Case("empty event", empty, empty)
    yield Case("empty event, no place (p = 0)", widened(empty, 0), empty, optional=True)
    none = chosen(batch, [])
    yield Case("no event (n = 0)", none, none, optional=True)


def lengthened(batch: Batch, length: int) -> Batch:
    """Return two events of `length` particles, taken from the real particles of all events."""
    event, place = (index[:length] for index in batch.is_real.nonzero(as_tuple=True))
    turns = torch.arange(length) % len(event)
    event, place = event[turns].expand(2, -1), place[turns].expand(2, -1)
    two = chosen(batch, [0, 0])
    return two.replace(
        p4=batch.p4[event, place],
        is_real=torch.arange(length) < torch.tensor([[length], [length - 1]]),
        columns={name: values[event, place] for name, values in batch.columns.items()},
    )


def _filled(batch: Batch, everywhere: bool = False) -> Batch:
    """Put numbers into the padding; `everywhere` makes padding of all."""
    is_real = torch.zeros_like(batch.is_real) if everywhere else batch.is_real
    hollow = ~is_real
    return batch.replace(
        is_real=is_real,
        p4=batch.p4 + 7.0 * hollow.unsqueeze(-1),
        columns={name: (v + 7 * hollow).to(v.dtype) for name, v in batch.columns.items()},
    )


def session(graph: bytes) -> Any:
    """Open a graph in ONNX Runtime on the CPU, with as many threads as torch."""
    import onnxruntime  # noqa: PLC0415  an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # failures are raised, and told by us
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def answers(runtime: Any, module: RawColumns, batch: Batch) -> Arrays:
    """Return the outputs of the graph for `batch`, by name."""
    values = [argument.numpy() for argument in module.arguments(batch)]
    found = runtime.run(list(module.outputs), dict(zip(module.inputs, values, strict=True)))
    return {
        name: value.astype(np.float64) for name, value in zip(module.outputs, found, strict=True)
    }


@torch.no_grad()
def reference(model: Model, module: RawColumns, batch: Batch) -> Arrays:
    """Return what the library itself says, computed in float32, by name of the output."""
    found: dict[str, torch.Tensor] = {}
    if "logits" in module.outputs:
        found["logits"] = model(batch).double()
        found["probability"] = class_probability(found["logits"])
    if "pooled" in module.outputs:
        found["pooled"] = model.latent(batch).pooled.double()
    return {name: value.numpy() for name, value in found.items()}


def compare(runtime: Any, model: Model, module: RawColumns, events: RealEvents) -> list[Difference]:
    """Compare the graph with `model` on all cases.

    Raises:
        NumericalError: they differ by more than `TOLERANCE`, or a number is not finite.
    """
    found: dict[str, Difference] = {}
    for case in cases(events):
        one = _difference(runtime, model, module, case)
        found[case.name] = _larger(found[case.name], one) if case.name in found else one
    return list(found.values())


def _difference(runtime: Any, model: Model, module: RawColumns, case: Case) -> Difference:
    n, p = case.given.is_real.shape
    try:
        given = answers(runtime, module, case.given)
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        if case.optional:
            return Difference(case.name, n, p, None)
        raise NumericalError(f"ONNX Runtime fails on '{case.name}': {error}") from error
    if n == 0:
        return Difference(case.name, n, 0, _shapes(case, given, module))
    expected = reference(model, module, case.expected)
    largest = {name: _gap(case, name, given[name], expected[name]) for name in module.outputs}
    return Difference(case.name, n, int(case.given.is_real.sum(1).max()), largest)


def _shapes(case: Case, given: Arrays, module: RawColumns) -> dict[str, float]:
    """Torch's layers need not take a batch of nothing: the shape is all that can be right."""
    for name, values in given.items():
        if values.ndim != 2 or len(values):
            raise NumericalError(f"'{case.name}': {name} has the shape {values.shape}.")
    return dict.fromkeys(module.outputs, 0.0)


def _gap(case: Case, name: str, given: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    if not np.isfinite(expected).all():
        raise NumericalError(f"the model itself gives {name} on '{case.name}' that are not finite.")
    gap = float(np.abs(given - expected).max()) if given.shape == expected.shape else math.inf
    allowed = TOLERANCE[name]
    if name != "probability":
        allowed *= max(1.0, float(np.abs(expected).max()))
    if not gap <= allowed:  # true for NaN, too
        raise NumericalError(
            f"ONNX Runtime and torch differ on '{case.name}' by {gap:.3g} in {name}; "
            f"{allowed:.3g} is allowed."
        )
    return gap


def _larger(one: Difference, other: Difference) -> Difference:
    assert one.largest is not None  # cases of several batches are not optional
    assert other.largest is not None
    return Difference(
        one.name,
        one.events + other.events,
        max(one.particles, other.particles),
        {name: max(gap, other.largest[name]) for name, gap in one.largest.items()},
    )
