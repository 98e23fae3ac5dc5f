"""Training speed of the graph attention network beside PyTorch Geometric's: make bench-gat.

The same model (six GATv2 blocks, 334,848 parameters), the same weights, the same events of five to
eight objects, one thread: our backbone, eager PyTorch Geometric, and its compiled form. The
contestants take turns, and each turn is a whole training step (forward, backward, SGD), so that a
busy machine hits all alike. Writes benchmarks/results/gat_vs_pyg.json.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from transferline.runtime import prepare_process

prepare_process()  # before torch: malloc keeps freed memory, for all contestants

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch_geometric.nn import GATv2Conv  # noqa: E402

from transferline.files import write_json  # noqa: E402
from transferline.models.backbones.gat import GAT  # noqa: E402
from transferline.models.features import Inputs, InputSpec  # noqa: E402
from transferline.provenance import run_facts  # noqa: E402

FEATURES, WIDTH, DEPTH, HEADS = 5, 256, 6, 4


class Geometric(nn.Module):
    """The published model in PyTorch Geometric: convolution, residual, BatchNorm, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [FEATURES] + [WIDTH] * (DEPTH - 1)
        self.convolutions = nn.ModuleList(
            GATv2Conv(
                size, WIDTH // HEADS, heads=HEADS, share_weights=True, bias=False,
                residual=False, add_self_loops=False,
            )
            for size in sizes
        )  # fmt: skip
        self.residual = nn.Linear(FEATURES, WIDTH, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm1d(WIDTH) for _ in sizes)

    def forward(self, x: Tensor, edges: Tensor, event: Tensor, n: int) -> Tensor:
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = F.relu(norm(convolution(x, edges) + (self.residual(x) if i == 0 else x)))
        total = x.new_zeros(n, WIDTH).index_add(0, event, x)
        return total / torch.bincount(event, minlength=n).clamp(min=1).unsqueeze(1)


def like(ours: nn.Module) -> Geometric:
    """PyTorch Geometric's model with the weights of ours."""
    theirs = Geometric()
    with torch.no_grad():
        theirs.residual.weight.copy_(ours.residual.weight)
        for mine, conv in zip(ours.convolutions, theirs.convolutions, strict=True):
            conv.lin_l.weight.copy_(mine.linear.weight)
            conv.att.copy_(mine.attention[None])
    return theirs


def events(n: int) -> Inputs:
    """Five to eight objects in each event."""
    torch.manual_seed(0)
    is_real = torch.arange(8)[None] < torch.randint(5, 9, (n, 1))
    x = torch.randn(n, 8, FEATURES).masked_fill(~is_real.unsqueeze(-1), 0)
    return Inputs(x=x, p4=torch.zeros(n, 8, 4), is_real=is_real)


def edge_list(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Node features, edges of the fully connected graphs with self-loops, event of each node."""
    index = inputs.is_real.flatten().nonzero().squeeze(1)
    number = torch.cumsum(inputs.is_real.flatten().long(), 0).view(inputs.is_real.shape) - 1
    pairs = inputs.is_real[:, :, None] & inputs.is_real[:, None]
    event, i, j = pairs.nonzero(as_tuple=True)
    edges = torch.stack((number[event, j], number[event, i]))
    return inputs.x.flatten(0, 1)[index], edges, index // inputs.is_real.shape[1]


Step = Callable[[], None]


def training_step(model: nn.Module, forward: Callable[[], Tensor], n: int, bf16: bool) -> Step:
    """One step on all events: forward, cross-entropy, backward, SGD with momentum."""
    head = nn.Linear(WIDTH, 2)
    target = torch.arange(n) % 2
    parameters = [*model.parameters(), *head.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(head(forward()).float(), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def contestants(n: int, compiled: bool) -> tuple[dict[str, Step], float]:
    """Name -> training step, and the largest difference of the outputs of ours and theirs."""
    inputs = events(n)
    x, edges, event = edge_list(inputs)
    ours = GAT(width=WIDTH, depth=DEPTH, heads=HEADS).build(InputSpec(n_features=FEATURES)).train()
    theirs = like(ours).train()
    with torch.no_grad():
        difference = (ours(inputs).pooled - theirs(x, edges, event, n)).abs().max().item()
    steps = {
        "ours fp32": training_step(ours, lambda: ours(inputs).pooled, n, bf16=False),
        "ours bf16": training_step(ours, lambda: ours(inputs).pooled, n, bf16=True),
        "pyg fp32": training_step(theirs, lambda: theirs(x, edges, event, n), n, bf16=False),
    }
    if compiled:
        quick = torch.compile(like(ours).train(), dynamic=True)
        steps["pyg fp32 compiled"] = training_step(
            quick, lambda: quick(x, edges, event, n), n, bf16=False
        )
    return steps, difference


def race(steps: dict[str, Step], n: int, seconds: float) -> dict[str, list[float]]:
    """Events per CPU second of every turn; contestants take turns until the time is over."""
    for step in steps.values():  # compile, and touch the memory
        step()
        step()
    rates: dict[str, list[float]] = {name: [] for name in steps}
    start = time.monotonic()
    while time.monotonic() - start < seconds or len(rates["pyg fp32"]) < 3:
        for name, step in steps.items():
            cpu = time.process_time()
            step()
            rates[name].append(n / (time.process_time() - cpu))
    return rates


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60, help="per batch size")
    options.add_argument("--no-compile", action="store_true", help="leave out compiled PyG")
    options.add_argument("--batches", type=int, nargs="+", default=[256, 2048])
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/gat_vs_pyg.json"))
    given = options.parse_args()
    torch.set_num_threads(1)
    result = {"facts": run_facts(), "unit": "events per CPU second, one thread"}
    result["load"] = os.getloadavg()
    for n in given.batches:
        steps, difference = contestants(n, compiled=not given.no_compile)
        rates = race(steps, n, given.seconds)
        result[f"batch_{n}"] = {
            name: {"median": statistics.median(r), "min": min(r), "max": max(r), "n": len(r)}
            for name, r in rates.items()
        }
        ratios = [a / b for a, b in zip(rates["ours fp32"], rates["pyg fp32"], strict=True)]
        result[f"train_ratio_{n}"] = statistics.median(ratios)
        result[f"difference_{n}"] = difference
        print(f"batch {n}, outputs differ by at most {difference:.1e}")
        for name, r in rates.items():
            ratio = statistics.median(r) / statistics.median(rates["pyg fp32"])
            print(f"  {name:20}{statistics.median(r):>8,.0f} events/s{ratio:>8.2f} x PyG eager")
    write_json(given.out, result)
    print(f"wrote {given.out}: " + json.dumps({k: result[k] for k in result if "ratio" in k}))


if __name__ == "__main__":
    main()
