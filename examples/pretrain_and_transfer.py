"""Prepare shards, pre-train on them without labels, transfer, and compare with scratch.

The events are toys, so that it takes a minute; with `prepare` in place of `toy_shards` the rest
stays as it is. Run: python examples/pretrain_and_transfer.py [STEPS]
"""

import sys
import tempfile
from pathlib import Path

from transferline.learning.adaptation import transfer
from transferline.learning.network_run import Adaptation
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.tasks.event_classification import EventClassification
from transferline.models.checkpoint import Checkpoint
from transferline.testing import toy_shards


def main(steps: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        free, signal, background = (
            str(toy_shards(folder / kind, 1000, seed=i)) for i, kind in enumerate("abc")
        )
        config = PretrainConfig.model_validate(
            {
                "data": {"kind": "shards", "files": [free]},
                "backbone": {"kind": "transformer", "width": 32, "depth": 2, "heads": 4},
                "objective": {"kind": "masked_type"},
                "optim": {"steps": steps, "batch_size": 128},
            }
        )
        checkpoint = Checkpoint.load(pretrain(config, folder / "pre", label=None))
        task = EventClassification(name="toy", signal=[signal], background=[background])
        how = Adaptation.model_validate({"optim": {"steps": steps, "batch_size": 64}})
        for mode in ("scratch", "frozen", "finetuned"):
            out = folder / mode
            record = transfer(checkpoint, task, mode, n_train=200, seed=0, how=how, out=out)
            print(f"{mode:10} AUC {record.metrics['auc']}")
        print("(signal and background are the same toy: one half is the truth)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
