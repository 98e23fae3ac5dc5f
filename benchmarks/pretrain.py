"""Speed of pre-training and fine-tuning beside the processor's ceiling: make bench-pretrain.

Whole training steps on one thread (loader, augmentation, objective, forward, backward, clipping,
optimiser) of three networks: that of studies/spine/cpu.yaml, the CPU-sized one of
studies/replaced_object/ablation.yaml, and the published one (studies/spine/paper.yaml), each with
the settings of its study, on the simulated events inside the package. The contestants take turns
with float32 matrix products, whose largest rate is the ceiling, and every share is a ratio to the
ceilings just before and after, so that a busy machine hits all alike. Writes
benchmarks/results/pretrain.json.

Useful arithmetic, of real objects alone (no padding, norms, softmax, activations or optimiser), for
an event of N objects, f inputs, L blocks of width d and feed-forward size h, per forward pass:

    2 N f d  +  L (2 N (4 d^2 + 2 d h) + 4 N^2 d)

The backward pass costs twice that; of the embedding once, since its inputs get no gradient.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transferline.runtime import prepare_process

prepare_process()  # before torch: malloc keeps freed memory

import torch  # noqa: E402

from transferline.config import load_config  # noqa: E402
from transferline.data.batch import Batch  # noqa: E402
from transferline.data.loader import Loader  # noqa: E402
from transferline.data.readers.shards import ShardSet  # noqa: E402
from transferline.files import write_json  # noqa: E402
from transferline.learning.distributed import ALONE  # noqa: E402
from transferline.learning.network_run import Adaptation  # noqa: E402
from transferline.learning.study_config import StudyConfig  # noqa: E402
from transferline.learning.training_step import Stepper  # noqa: E402
from transferline.models.backbones.transformer import Transformer  # noqa: E402
from transferline.models.model import ModelRecipe, parameter_counts  # noqa: E402
from transferline.provenance import run_facts  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "src" / "transferline" / "shipped" / "samples"
BATCH = 512
TURN = 0.5  # seconds
TARGET, OF = 0.6, "cpu pre-training"
# PoS(ISGC2025) 488, 001: on one NVIDIA A100, batches of 512, 10^6 events in 500 epochs.
PUBLISHED = {"batches_per_s": 20, "events_per_s": 20 * BATCH, "hours_per_training": 13}
PASSES = 1_000_000 * 500
# The largest rate counts: squares, and the feed-forward network of width 96 and of width 256.
PRODUCTS = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 96, 384), (4096, 256, 1024))


def useful_flops(backbone: Transformer, n_features: int, objects: torch.Tensor) -> float:
    """Arithmetic of one training step on events of so many `objects` `[n]`; see above."""
    n, pairs = float(objects.sum()), float(objects.double().square().sum())
    d = backbone.width
    hidden = backbone.hidden or 4 * d
    blocks = backbone.depth * (2 * n * (4 * d * d + 2 * d * hidden) + 4 * pairs * d)
    return 3 * blocks + 2 * (2 * n * n_features * d)


@dataclass(frozen=True)
class Turn:
    """CPU seconds of some steps, of which so many waiting for batches, and their arithmetic."""

    steps: int
    seconds: float
    loading: float
    flops: float

    @property
    def events_per_s(self) -> float:
        return BATCH * self.steps / self.seconds


class Contestant:
    """A training, of which `turn` takes the next steps.

    Args:
        number: of this one; all see other batches, as prepared kernels belong to their sizes.
        study: whose pre-training `replaced_object`, or fine-tuning of it, is run.
        tuned: fine-tuning.
        fp32: float32 in place of the default, which takes bfloat16 where there is such hardware.
        fused: attention in the kernel for small sets, as it always is; or on the padded grid.
    """

    def __init__(self, number: int, study: StudyConfig, *, tuned=False, fp32=False, fused=True):
        torch.manual_seed(0)
        variant = study.pretrain["replaced_object"]
        backbone = variant.backbone
        model = ModelRecipe(features=variant.features, backbone=backbone).build()
        model.backbone.fused = fused
        how = study.how("finetuned")
        assert isinstance(how, Adaptation)
        recipe, optim = (how.objective, how.optim) if tuned else (variant.objective, variant.optim)
        if tuned:
            model.head = variant.head.build(backbone.width, 2)
        changes = {"batch_size": BATCH, "precision": "fp32" if fp32 else "auto", "device": "cpu"}
        shards = ShardSet([SAMPLES / "ttH", SAMPLES / "ttbar"])
        target = (torch.arange(len(shards)) % 2).numpy()
        self.loader = Loader(shards, None, BATCH, seed=number, drop_last=True, target=target)
        model.features.fit(self.loader.batches(0))
        self.backbone, self.n_features = backbone, model.features.spec.n_features
        objective = recipe.build(model)
        self.parameters = parameter_counts(objective)
        optim = optim.model_copy(update=changes)
        self.stepper = Stepper(objective, optim, seed=0, backbone="trained", world=ALONE)
        self.batches, self.done = self._batches(), 0

    def _batches(self) -> Iterator[Batch]:
        epoch = 0
        while True:
            yield from self.loader.batches(epoch)
            epoch += 1

    def turn(self) -> Turn:
        """Take steps for half a second, but one at least."""
        first, steps, loading, flops = time.process_time(), 0, 0.0, 0.0
        while not steps or time.process_time() - first < TURN * steps / (steps + 1):
            start = time.process_time()
            batch = next(self.batches)
            loading += time.process_time() - start
            self.stepper.step(self.done, batch, ROOT)
            self.done, steps = self.done + 1, steps + 1
            flops += useful_flops(self.backbone, self.n_features, batch.is_real.sum(1))
        return Turn(steps, time.process_time() - first, loading, flops)


def ceiling() -> Callable[[], float]:
    """Return a measurement: the largest float32 rate of the PRODUCTS, in FLOP per CPU second."""
    factors = [(torch.randn(m, k), torch.randn(k, n)) for m, k, n in PRODUCTS]

    def measured() -> float:
        rates = []
        for a, b in factors:
            work = 2 * a.shape[0] * a.shape[1] * b.shape[1]
            times = max(1, round(3e9 / work))
            start = time.process_time()
            for _ in range(times):
                torch.mm(a, b)
            rates.append(times * work / (time.process_time() - start))
        return max(rates)

    return measured


def contestants(begin: tuple[str, ...]) -> dict[str, Contestant]:
    """Name -> training, in the order in which they take turns; those whose names begin so."""
    studies = {
        name: load_config(ROOT / "studies" / file, StudyConfig)
        for name, file in (
            ("spine", "spine/cpu.yaml"),
            ("cpu", "replaced_object/ablation.yaml"),
            ("paper", "spine/paper.yaml"),
        )
    }
    kinds = {
        "pre-training": {},
        "fine-tuning": {"tuned": True},
        "pre-training, float32": {"fp32": True},
        "fine-tuning, float32": {"fp32": True, "tuned": True},
        "pre-training, plain attention": {"fused": False},
    }
    chosen = [
        (f"{name} {kind}", study, how)
        for name, study in studies.items()
        for kind, how in kinds.items()
        if f"{name} {kind}".startswith(begin)
    ]
    return {name: Contestant(i, study, **how) for i, (name, study, how) in enumerate(chosen)}


def race(
    trainings: dict[str, Contestant], seconds: float
) -> tuple[dict[str, list[Turn]], dict[str, list[float]], list[float]]:
    """Let all take turns: their turns, their shares of the ceiling next to them, the ceilings."""
    measure = ceiling()
    for training in trainings.values():  # compile, prepare kernels, touch the memory
        training.turn()
    turns: dict[str, list[Turn]] = {name: [] for name in trainings}
    shares: dict[str, list[float]] = {name: [] for name in trainings}
    tops = [measure()]
    start = time.monotonic()
    while time.monotonic() - start < seconds or len(tops) < 3:
        for name, training in trainings.items():
            done = training.turn()
            tops.append(measure())
            turns[name].append(done)
            shares[name].append(done.flops / done.seconds / statistics.mean(tops[-2:]))
    return turns, shares, tops


def spread(values: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "n": len(values),
    }


def summary(training: Contestant, turns: list[Turn], shares: list[float]) -> dict[str, object]:
    rates = [turn.events_per_s for turn in turns]
    events = BATCH * sum(turn.steps for turn in turns)
    return {
        "backbone": training.backbone.to_dict(),
        "parameters": training.parameters,
        "optimiser": training.stepper.optim.kind,
        "precision": "bfloat16" if training.stepper.bfloat16 else "float32",
        "events_per_s": spread(rates),
        "share_of_ceiling": spread(shares),
        "loader_share": spread([turn.loading / turn.seconds for turn in turns]),
        "mflop_per_event": sum(turn.flops for turn in turns) / events / 1e6,
        "hours_for_the_published_training": PASSES / statistics.median(rates) / 3600,
    }


def main(words: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=180)
    options.add_argument("--only", nargs="+", default=[""], help="beginnings of names")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/pretrain.json")
    given = options.parse_args(words)
    torch.set_num_threads(1)
    load = os.getloadavg()
    trainings = contestants(tuple(given.only))
    turns, shares, tops = race(trainings, given.seconds)
    share = {name: statistics.median(found) for name, found in shares.items()}
    result = {
        "facts": run_facts(),
        "unit": f"CPU seconds, one thread; batches of {BATCH}",
        "load": {"before": load, "after": os.getloadavg()},
        "ceiling_gflop_per_s": spread([top / 1e9 for top in tops]),
        "published": PUBLISHED,
        "target": {"share_of_ceiling": TARGET, "of": OF, "met": share.get(OF, 0) >= TARGET},
        "trainings": {n: summary(t, turns[n], shares[n]) for n, t in trainings.items()},
    }
    print(f"float32 ceiling {statistics.median(tops) / 1e9:.0f} GFLOP/s")
    for name, found in turns.items():
        rate = statistics.median(turn.events_per_s for turn in found)
        print(f"  {name:36}{rate:>9,.0f} events/s, {share[name]:.2f} of the ceiling")
    write_json(given.out, result)
    print(f"wrote {given.out}: " + json.dumps(result["target"]))


if __name__ == "__main__":
    main()
