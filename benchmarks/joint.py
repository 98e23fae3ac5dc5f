"""Joint analysis beside plain jet tagging: make bench-joint.

1. A step of fine-tuning through the backbone, beside a step of jet tagging of the same jets, in CPU
   seconds per jet; the target is at most 1.2.
2. An epoch of the head on cached embeddings beside one end to end; the target is 20 times cheaper.

The same loop, objective and optimiser as in training, alternating between the two, median of the
ratios, in benchmarks/results/joint.json; multiplicities as in JetClass (45 +- 17), up to 100
constituents, events of 2.25 jets.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch

from transferline import __version__
from transferline.data.card import DataCard
from transferline.data.events import ID_DTYPE, identity_hash
from transferline.data.layouts.shards import CARD, shard_schema
from transferline.data.loader import Loader
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.data.readers.shards import ShardSet
from transferline.files import file_hash, json_hash, write_json
from transferline.learning.distributed import ALONE
from transferline.learning.objectives.supervised import Supervised
from transferline.learning.optim import Optim
from transferline.learning.per_event import EventTable
from transferline.learning.probe import ProbedModel, embedded, embedder
from transferline.learning.training_step import Stepper
from transferline.models.event_head import EventHead
from transferline.models.heads import Head
from transferline.models.model import Model, ModelRecipe
from transferline.runtime import prepare_process

RESULT = Path(__file__).parent / "results" / "joint.json"
PARTS = ["pt", "eta", "phi", "mass", "charge"]
JETS = ["pt", "eta", "phi", "mass", "sdmass"]
FEATURES = {"particles": ["log_pt", "log_energy", "delta_eta", "delta_phi", "charge"],
            "species": "hidden"}  # fmt: skip
PER_EVENT = np.array([0.78, 0.19, 0.03])  # two, three or four jets: 2.25 on average


def _flat(values: np.ndarray, offsets: np.ndarray) -> pa.Array:
    inner = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), inner)


def _bounds(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def write_events(out: Path, n: int, nested: bool) -> Path:
    """Write events of jets, or the same jets one by one, without meaning but of the real sizes."""
    rng = np.random.default_rng(0)
    jets = rng.choice([2, 3, 4], n, p=PER_EVENT)
    counts = np.clip(rng.normal(45, 17, jets.sum()), 2, 100).astype(int)
    parts = rng.normal(size=(counts.sum(), len(PARTS))).astype(np.float32)
    parts[:, 0], parts[:, 3] = np.abs(parts[:, 0]) + 1, 0.14
    of_jets = np.abs(rng.normal(size=(jets.sum(), len(JETS)))).astype(np.float32) + 1
    rows = n if nested else int(jets.sum())
    identity = np.zeros(rows, ID_DTYPE)
    identity["event"] = np.arange(rows)
    constituents = _flat(parts, _bounds(counts))
    if nested:
        outer = pa.array(_bounds(jets).astype(np.int32))
        arrays = [
            _flat(of_jets, _bounds(jets)),
            pa.ListArray.from_arrays(outer, constituents),
        ]
        schema = shard_schema(JETS, constituents=PARTS)
    else:
        arrays, schema = [constituents], shard_schema(PARTS)
    arrays += [pa.array(np.ones(rows))]
    arrays += [pa.array(np.ascontiguousarray(identity[k])) for k in ("run", "lumi", "event")]
    arrays += [pa.array(identity_hash(identity))]
    out.mkdir()
    part = out / "part-00000.arrow"
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch)
    size, sha256 = part.stat().st_size, file_hash(part)
    card = DataCard(
        sample="toy", version=__version__, n_events=rows, columns=JETS if nested else PARTS,
        context=[], labels={}, selection={"name": "toy"}, selection_hash="toy", reader={},
        is_simulation=True, files=[], skipped={}, count=rows, sum_weight=rows, sum_weight2=rows,
        cutflow=[], n_eff=rows, negative_fraction=0.0, capped=0,
        parts=[{"file": part.name, "rows": rows, "sha256": sha256, "size": size}],
        content_hash=json_hash([sha256]), config_hash="toy",
        constituents=PARTS if nested else [],
    )  # fmt: skip
    write_json(out / CARD, card.to_dict())
    return out


@dataclass
class Training:
    """Steps of one training, and how many jets each has."""

    model: Model
    shards: ShardSet
    batch_size: int
    frozen: bool = False

    def __post_init__(self) -> None:
        optim = Optim(steps=10_000, batch_size=self.batch_size)
        self.stepper = Stepper(
            Supervised().build(self.model), optim, seed=0,
            backbone="frozen" if self.frozen else "trained", world=ALONE,
        )  # fmt: skip
        target = np.arange(len(self.shards)) % 2
        self.loader = Loader(self.shards, None, self.batch_size, target=target, drop_last=True)
        self.batches, self.steps = iter(()), 0

    def run(self, steps: int) -> float:
        """Return the CPU seconds per event, or jet where the events are jets."""
        events, cpu = 0, 0.0
        for _ in range(steps):
            start = time.process_time()
            batch = next(self.batches, None)
            if batch is None:
                self.batches = self.loader.batches(self.steps)
                batch = next(self.batches)
            self.stepper.step(self.steps, batch, Path())
            cpu += time.process_time() - start
            self.steps += 1
            events += len(batch)
        return cpu / events


def measured(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    width = options.width
    backbone = {"kind": "part", "embed": [width, 4 * width, width], "depth": options.layers}
    recipe = ModelRecipe(features=FEATURES, backbone=backbone)
    single = ShardSet(write_events(folder / "jets", options.events, False))
    events = NestedShardSet(write_events(folder / "events", options.events, True))
    jets_per_event = float(events.n_particles.mean())
    head = EventHead(kind="deepsets", representation="embedding_and_kinematics")

    def model(probed: bool = False, of_events: bool = True) -> Model:
        torch.manual_seed(0)
        made = recipe.build()
        made.head = (head if of_events else Head()).build(made.backbone.width, 2)
        return ProbedModel(made.features, made.backbone, made.head) if probed else made

    tagging = Training(model(of_events=False), single, round(options.batch * jets_per_event))
    joint = Training(model(), events, options.batch)
    start = time.process_time()
    some = np.arange(len(events))
    table = EventTable(events, embedder(model(), Optim(steps=1)))
    table(some)
    embedding = (time.process_time() - start) / len(events)
    frozen = Training(model(probed=True), embedded(events, table), 256, frozen=True)
    for training in (tagging, joint, frozen):
        training.run(2)
    rows = [
        (tagging.run(options.steps), joint.run(options.steps), frozen.run(options.steps))
        for _ in range(options.rounds)
    ]
    per_jet = [j / jets_per_event / t for t, j, _ in rows]
    cheaper = [j / f for _, j, f in rows]
    tagged, passed, cached = (median(column) for column in zip(*rows, strict=True))
    return {
        "backbone": f"part, width {width}, {options.layers} layers",
        "jets_per_event": round(jets_per_event, 3),
        "tagging_ms_per_jet": round(1e3 * tagged, 4),
        "joint_ms_per_jet": round(1e3 * passed / jets_per_event, 4),
        "step_ratio": round(median(per_jet), 3),
        "step_ratio_range": [round(min(per_jet), 3), round(max(per_jet), 3)],
        "step_ratio_target": 1.2,
        "end_to_end_ms_per_event": round(1e3 * passed, 4),
        "cached_ms_per_event": round(1e3 * cached, 4),
        "embedding_ms_per_event": round(1e3 * embedding, 4),
        "frozen_cheaper": round(median(cheaper), 1),
        "frozen_cheaper_range": [round(min(cheaper), 1), round(max(cheaper), 1)],
        "frozen_cheaper_target": 20,
        "settings": vars(options) | {"out": options.out.name},
        "machine": {"cpu": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="per round")
    parser.add_argument("--events", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=32, help="events; jets: 2.25 times as many")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    prepare_process()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = measured(options, Path(folder))
    write_json(options.out, result)
    for name, value in result.items():
        print(f"{name:<26}{value}")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
