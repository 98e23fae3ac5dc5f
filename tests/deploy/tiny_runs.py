"""Small files, tasks and trainings for tests of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import uproot

from transferline.data.events import ID_DTYPE
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection
from transferline.learning.adaptation import transfer
from transferline.learning.network_run import Adaptation
from transferline.learning.pretraining import PretrainConfig
from transferline.learning.tasks.base import Task
from transferline.learning.tasks.event_classification import EventClassification
from transferline.models.checkpoint import Checkpoint

BACKBONE = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}
SELECTION = "l1_j4_b1"


def shards_of(file: Path, sample: str = "") -> Path:
    """Prepare one file; return the directory beside it."""
    out = file.with_suffix("")
    prepare(NanoAOD(files=[str(file)]), selection(SELECTION), out, sample=sample or file.stem)
    return out


def pretraining(*shards: Path, steps: int = 8, **more: object) -> PretrainConfig:
    """A pre-training that takes a moment."""
    return PretrainConfig.model_validate(
        {
            "data": {"kind": "shards", "files": [str(place) for place in shards]},
            "backbone": BACKBONE,
            "objective": {"kind": "masked_type"},
            "optim": {"steps": steps, "batch_size": 32},
            **more,
        }
    )


def adaptation(steps: int = 8, **more: object) -> Adaptation:
    """Settings of a training that takes a moment."""
    optim = {"steps": steps, "batch_size": 32, "precision": "fp32"}
    return Adaptation.model_validate({"optim": optim, **more})


def tuned(start: Checkpoint, task: Task, out: Path, n_train: int) -> Path:
    """Fine-tune, keep the model, and return the directory of the run."""
    transfer(
        *(start, task, "finetuned"),
        n_train=n_train,
        seed=0,
        how=adaptation(),
        out=out,
        keep_checkpoint=True,
    )
    return out


def question(signal: Path, background: Path, **more: object) -> EventClassification:
    """Signal against background."""
    return EventClassification(
        name="hard vs soft", signal=[str(signal)], background=[str(background)], **more
    )


def identities(file: Path, tree: str = "Events") -> np.ndarray:
    """Identity of every entry of a ROOT file, in order."""
    with uproot.open(file) as content:
        found = content[tree].arrays(["run", "luminosityBlock", "event"], library="np")
    identity = np.empty(len(found["run"]), ID_DTYPE)
    identity["run"], identity["lumi"] = found["run"], found["luminosityBlock"]
    identity["event"] = found["event"]
    return identity
