"""Speed and memory of Particle Transformer beside weaver-core's: make bench-part.

The published network (2,143,486 parameters) with the same weights and the same jets of 45
particles on average (log-normal, at most 128), one thread, float32. weaver-core as it comes:
random batches, its own trimming (which drops particles of the longest jets while it trains) and
its pairs of real particles. Ours as it comes: batches of similar length from a pool of 16, every
particle kept, padding in no BatchNorm. A training step is forward, cross-entropy, backward and
the same AdamW; dropout is on. Every turn is a quarter of the pool for each contestant, buckets of
all lengths; the ratios are those of CPU seconds over whole passes, so that a busy machine hits
all alike (those of wall-clock seconds stand beside them). Beside it, in the first pass only,
weaver-core with batches of similar length, and in bfloat16 where the processor has it.

Memory is the growth of the resident set from before the first training step, each network in a
process of its own, the longest bucket included. Writes benchmarks/results/part_vs_weaver.json.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from transferline.runtime import prepare_process

prepare_process()  # before torch: malloc keeps freed memory, for all contestants

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from weaver.nn.model.ParticleTransformer import ParticleTransformer  # noqa: E402

from transferline.data.batch import Batch, cartesian  # noqa: E402
from transferline.data.events import CONSTITUENTS  # noqa: E402
from transferline.deploy.import_weaver import import_weaver  # noqa: E402
from transferline.files import write_json  # noqa: E402
from transferline.models.backbones.part import ParT  # noqa: E402
from transferline.models.checkpoint import Checkpoint  # noqa: E402
from transferline.models.features import Inputs  # noqa: E402
from transferline.models.model import Model  # noqa: E402
from transferline.provenance import run_facts  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "part_vs_weaver.json"
PLACES, MEAN, SPREAD, POOL, PARTS = 128, 45.0, 0.40, 16, 4
TARGETS = {"train_ratio": 3.0, "infer_ratio": 4.0, "memory_ratio": 0.6}
OURS, THEIRS = "ours", "weaver-core as it comes"
BUCKETED, BFLOAT16 = "weaver-core, similar lengths", "weaver-core, similar lengths, bfloat16"
PRODUCTS = ((1024, 1024, 1024), (2048, 1024, 1024), (4096, 128, 512), (4096, 512, 128))


def multiplicities(n: int) -> np.ndarray:
    """Particles of each jet."""
    mu = np.log(MEAN) - SPREAD**2 / 2
    counts = np.random.default_rng(0).lognormal(mu, SPREAD, n).round()
    return np.clip(counts, 1, PLACES).astype(np.int64)


def jets(counts: np.ndarray, seed: int, places: int | None = None) -> Batch:
    """Particles around an axis, soft and collinear ones more often; padded to `places`."""
    random = torch.Generator().manual_seed(seed)
    n, p = len(counts), places or int(counts.max())
    is_real = torch.arange(p) < torch.from_numpy(counts)[:, None]
    angle = 0.8 * torch.rand(n, p, generator=random) ** 2
    turn = 2 * torch.pi * torch.rand(n, p, generator=random)
    axis = torch.rand(n, 2, 1, generator=random) * torch.tensor([[3.0], [5.0]]) - 2.0
    share = torch.exp(2.0 * torch.randn(n, p, generator=random)) * is_real
    pt = 750 * share / share.sum(1, keepdim=True)
    species = torch.tensor(list(CONSTITUENTS.values()))[
        torch.randint(len(CONSTITUENTS), (n, p), generator=random)
    ]
    charged = (species != CONSTITUENTS["photon"]) & (species != CONSTITUENTS["neutral_hadron"])
    sign = torch.randint(2, (n, p), generator=random) * 2.0 - 1.0
    columns = {"species": species, "charge": charged * sign}
    for name in ("d0", "dz"):
        columns[name] = charged * torch.randn(n, p, generator=random)
        columns[f"{name}err"] = charged * torch.rand(n, p, generator=random)
    p4 = torch.stack(
        (pt, axis[:, 0] + angle * turn.cos(), axis[:, 1] + angle * turn.sin(), 0.14 * charged), -1
    )
    return Batch(
        p4=p4 * is_real.unsqueeze(-1),
        is_real=is_real,
        weight=torch.ones(n),
        id=torch.zeros(n, 3, dtype=torch.int64),
        columns={name: values * is_real for name, values in columns.items()},
    )


def weaver_network() -> nn.Module:
    torch.manual_seed(0)
    return ParticleTransformer(
        input_dim=17, num_classes=10, pair_input_dim=4, use_pre_activation_pair=False, fc_params=[]
    )


def like(theirs: nn.Module) -> Model:
    """Our network with the weights of weaver-core's."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net_state.pt"
        torch.save(theirs.state_dict(), file)
        import_weaver(file, Path(folder) / "out")
        return Checkpoint.load(Path(folder) / "out").model()


def useful_flops(recipe: ParT, n_features: int, counts: np.ndarray) -> tuple[float, float]:
    """Floating point operations of the forward pass and of a training step, real particles alone.

    Matrix products only. Backwards they are twice as many, except for the first layers, whose
    inputs get no gradient.
    """
    n, pairs = counts.astype(float), counts * (counts + 1) / 2.0
    d, h = recipe.embed[-1], recipe.expansion * recipe.embed[-1]
    first = 2 * n_features * recipe.embed[0] * n + 2 * 4 * recipe.pair_embed[0] * pairs
    sizes = (*recipe.pair_embed, recipe.heads)
    rest = sum(2 * a * b for a, b in pairwise(sizes)) * pairs
    rest = rest + sum(2 * a * b for a, b in pairwise(recipe.embed)) * n
    rest = rest + recipe.depth * (2 * n * (4 * d * d + 2 * d * h) + 4 * n * n * d)
    token = 2 * (2 * d * d + 2 * d * h)
    rest = rest + recipe.class_depth * (4 * (n + 1) * d * d + 4 * (n + 1) * d + token)
    return float((first + rest).sum()), float((2 * first + 3 * rest).sum())


@dataclass
class Contestant:
    """A network, the batches of the pool in its order, and how a batch becomes logits."""

    model: nn.Module
    batches: list[Inputs]
    logits: Callable[[Inputs], Tensor]
    bf16: bool = False

    def __post_init__(self) -> None:
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)

    def train(self, number: int) -> None:
        self.model.train()
        inputs = self.batches[number]
        target = torch.arange(len(inputs.x)) % 10
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = F.cross_entropy(self.logits(inputs).float(), target)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    @torch.no_grad()
    def infer(self, number: int) -> Tensor:
        self.model.eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return self.logits(self.batches[number])


def weaver_logits(model: nn.Module) -> Callable[[Inputs], Tensor]:
    def logits(inputs: Inputs) -> Tensor:
        energy, px, py, pz = cartesian(inputs.p4).unbind(-1)
        vectors = torch.stack((px, py, pz, energy), dim=1)
        return model(inputs.x.transpose(1, 2), v=vectors, mask=inputs.is_real.unsqueeze(1))

    return logits


def contestants(batch: int, names: Sequence[str]) -> dict[str, Contestant]:
    theirs = weaver_network()
    ours = like(theirs)
    counts = multiplicities(POOL * batch)
    ordered = np.sort(counts)

    def cut(numbers: np.ndarray, places: int | None) -> list[Inputs]:
        parts = [numbers[k * batch : (k + 1) * batch] for k in range(POOL)]
        return [ours.features(jets(part, k, places)) for k, part in enumerate(parts)]

    buckets = cut(ordered, None)
    theirs.trimmer._counter.fill_(theirs.trimmer.warmup_steps)
    made = {
        OURS: lambda: Contestant(ours, buckets, lambda i: ours.head(ours.backbone(i).pooled)),
        THEIRS: lambda: Contestant(theirs, cut(counts, PLACES), weaver_logits(theirs)),
        BUCKETED: lambda: Contestant(theirs, buckets, weaver_logits(theirs)),
        BFLOAT16: lambda: Contestant(theirs, buckets, weaver_logits(theirs), bf16=True),
    }
    return {name: made[name]() for name in names}


def difference(all_: dict[str, Contestant]) -> float:
    """Largest difference of the logits of both networks, of the bucket in the middle."""
    ours, theirs = all_[OURS], all_[THEIRS]
    inputs = ours.batches[POOL // 2]
    theirs.model.eval()
    with torch.no_grad():
        return (ours.infer(POOL // 2) - theirs.logits(inputs)).abs().max().item()


def ceiling() -> float:
    """Largest rate of float32 matrix products, in FLOP per CPU second."""
    rates = []
    for m, k, n in PRODUCTS:
        a, b = torch.randn(m, k), torch.randn(k, n)
        times = max(1, round(1e9 / (m * k * n)))
        torch.mm(a, b)
        start = time.process_time()
        for _ in range(times):
            torch.mm(a, b)
        rates.append(2 * m * k * n * times / (time.process_time() - start))
    return max(rates)


def seconds(act: Callable[[int], object], part: int) -> np.ndarray:
    """CPU and wall-clock seconds of every fourth batch of the pool."""
    start = np.array((time.process_time(), time.perf_counter()))
    for number in range(part, POOL, PARTS):
        act(number)
    return np.array((time.process_time(), time.perf_counter())) - start


def race(
    all_: dict[str, Contestant], kind: str, passes: int
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Seconds `[pass, CPU or wall clock]` of every contestant, and the ceilings beside them."""
    acts = {name: getattr(contestant, kind) for name, contestant in all_.items()}
    for act in acts.values():  # compile, and touch the memory
        act(POOL - 1)
    times: dict[str, list[np.ndarray]] = {name: [] for name in all_}
    tops = []
    for _ in range(passes):
        sums = {name: np.zeros(2) for name in acts}
        for part in range(PARTS):
            for name, act in acts.items():
                sums[name] += seconds(act, part)
            tops.append(ceiling())
        for name, total in sums.items():
            times[name].append(total)
        acts = {name: acts[name] for name in (OURS, THEIRS)}
    return {name: np.array(found) for name, found in times.items()}, tops


def resident() -> int:
    """Resident set now, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def memory(name: str, batch: int) -> int:
    """Growth of the resident set while one network trains on four batches, in bytes."""
    contestant = contestants(batch, [name])[name]
    whole = contestant.batches
    contestant.batches = [
        Inputs(x=i.x[:2, :8], p4=i.p4[:2, :8], is_real=i.is_real[:2, :8]) for i in whole
    ]
    contestant.train(0)  # libraries, machine code and the optimiser's state
    contestant.batches = whole
    before = resident()
    for number in range(PARTS - 1, POOL, PARTS):  # the last bucket is the longest
        contestant.train(number)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def memory_of(name: str, batch: int) -> int:
    """The same, measured in another process."""
    words = [sys.executable, __file__, "--memory-of", name, "--batch", str(batch)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def summary(times: np.ndarray, n: int) -> dict[str, float]:
    rates = (n / times[:, 0]).tolist()
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}


def measured(batch: int, passes: int, others: bool) -> dict[str, object]:
    names = [OURS, THEIRS]
    if others:
        has_bfloat16 = torch.cpu._is_avx512_bf16_supported()
        names += [BUCKETED, BFLOAT16] if has_bfloat16 else [BUCKETED]
    all_ = contestants(batch, names)
    counts = multiplicities(POOL * batch)
    result: dict[str, object] = {"difference_of_logits": difference(all_)}
    recipe = ParT()
    for kind, flops in zip(("infer", "train"), useful_flops(recipe, 17, counts), strict=True):
        times, tops = race(all_, kind, passes)
        ratios, walls = (times[THEIRS] / times[OURS]).T.tolist()
        result[f"{kind}_ratio"] = statistics.median(ratios)
        result[f"{kind}_ratios"] = ratios
        result[f"{kind}_ratios_of_wall_clock"] = walls
        result[f"{kind}_jets_per_s"] = {n: summary(t, len(counts)) for n, t in times.items()}
        rate = flops / statistics.median(times[OURS][:, 0])
        result[f"{kind}_share_of_ceiling"] = rate / statistics.median(tops)
        result[f"{kind}_gflop_per_jet"] = flops / len(counts) / 1e9
        result[f"{kind}_ceiling_gflop_per_s"] = statistics.median(tops) / 1e9
    return result


def main(words: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--batch", type=int, default=64, help="jets per batch")
    options.add_argument("--passes", type=int, default=2, help="over the pool of 16 batches")
    options.add_argument("--no-others", action="store_true", help="only ours and the default")
    options.add_argument("--memory-of", help="measure the memory of one network only")
    options.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks/results/part_vs_weaver.json"
    )
    given = options.parse_args(words)
    torch.set_num_threads(1)
    if given.memory_of:
        print(memory(given.memory_of, given.batch))
        return
    load = os.getloadavg()
    memories = {name: memory_of(name, given.batch) for name in (OURS, THEIRS, BUCKETED)}
    result = {
        "facts": run_facts(),
        "unit": f"jets per CPU second, one thread; batches of {given.batch} jets",
        "targets": TARGETS,
        **measured(given.batch, given.passes, not given.no_others),
        "memory_ratio": memories[OURS] / memories[THEIRS],
        "memory_unit": "bytes of resident set, growth from before the first training step",
        "memory_bytes": memories,
        "load": {"before": load, "after": os.getloadavg()},
    }
    write_json(given.out, result)
    for kind in ("train", "infer"):
        for name, rates in result[f"{kind}_jets_per_s"].items():
            print(f"  {kind} {name:40}{rates['median']:>8.1f} jets/s")
        print(f"  {kind}: {result[f'{kind}_share_of_ceiling']:.2f} of the ceiling")
    print(f"wrote {given.out}: " + json.dumps({k: round(result[k], 3) for k in TARGETS}))


if __name__ == "__main__":
    main()
