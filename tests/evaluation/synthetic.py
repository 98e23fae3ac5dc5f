"""Records of imagined runs whose true learning curve is known."""

from __future__ import annotations

import math

import numpy as np

from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.metrics import Measurement, measure
from transferline.evaluation.records import Cost, Hashes, Record

BACKBONE_HASHES = {
    "scratch": {"loaded": "aa", "start": "bb", "end": "cc"},
    "frozen": {"loaded": "aa", "start": "aa", "end": "aa"},
    "finetuned": {"loaded": "aa", "start": "aa", "end": "dd"},
    "trees": {},
}


def record(mode="scratch", n_train=300, seed=0, **changes):
    """One record; `auc` and `error` set its metric, other keywords any field."""
    auc = Measurement(changes.pop("auc", 0.8), changes.pop("error", 0.001))
    fields = {
        "study": "toy",
        "task": "ttH",
        "mode": mode,
        "pretraining": "none" if mode in ("scratch", "trees") else "masked_type",
        "objective": "none" if mode in ("scratch", "trees") else "masked_type",
        "backbone": "none" if mode == "trees" else "transformer",
        "n_train": n_train,
        "seed": seed,
        "metrics": {"auc": auc},
        "hashes": Hashes(config="c0ffee", data="da7a", **BACKBONE_HASHES.get(mode, {})),
        "commit": "0123abc",
        "version": "0.1.0",
        "time": "2026-01-01T00:00:00Z",
        "cost": Cost(examples_seen=n_train * 10, cpu_seconds=2.5, wall_seconds=3.0, steps=50),
    }
    return Record(**{**fields, **changes})


def log_line(n, offset=1.0):
    """A true curve: rises by 0.02 per decade; `offset` shifts it to `n * offset`."""
    return 0.70 + 0.02 * math.log10(n * offset)


def curve(mode, sizes, seeds, truth, *noise, shared=None, **changes):
    """Records along `truth(n)`; `noise` is a generator and its spread, `shared` `[seed, size]`."""
    made = []
    for i, n in enumerate(sizes):
        for seed in seeds:
            auc = truth(n)
            if noise:
                rng, spread = noise
                auc += spread * rng.standard_normal()
            if shared is not None:
                auc += shared[seed, i]
            made.append(record(mode, n, seed, auc=auc, **changes))
    return made


def separated_scores(rng, target, distance):
    """Scores in (0, 1) whose AUC grows with `distance`, in units of their spread."""
    return 1 / (1 + np.exp(-(rng.normal(target * distance, 1.0) - distance / 2)))


def scored(mode, n_train, seed, sample, **changes):
    """A record measured on `sample` (scores, target, weight), its replicas included."""
    metrics, replicas = measure(*sample)
    assert isinstance(replicas, Replicas)
    return record(mode, n_train, seed, metrics=metrics, replicas=replicas, **changes)
