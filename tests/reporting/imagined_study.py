"""A study directory as a finished study leaves it, with imagined but measured scores."""

from __future__ import annotations

import json
import math

import numpy as np

from transferline.data.cutflow import Cutflow, Step
from transferline.evaluation.records import append

from ..evaluation.synthetic import scored, separated_scores

MODES = ("trees", "scratch", "frozen", "finetuned")
SIZES = (300, 1000, 3000)

# Separation at 1000 labels and its rise per decade.
_QUALITY = {
    "trees": (1.20, 0.22),
    "scratch": (1.24, 0.26),
    "frozen": (1.38, 0.08),
    "finetuned": (1.40, 0.18),
}


def quality(mode, n):
    base, slope = _QUALITY[mode]
    return base + slope * math.log10(n / 1000)


def write_study(path, sizes=SIZES, seeds=range(3), n_test=2000, variants=("masked_type",)):
    """Write records, scores, losses, cards and cut-flows below `path` and return it."""
    rng = np.random.default_rng(0)
    path.mkdir(parents=True)
    target = np.arange(n_test) % 2
    weight = np.where(rng.random(n_test) < 0.1, -1.0, 1.0)
    common = rng.normal(size=n_test)  # what the events, not the models, decide
    for mode in MODES:
        for variant in variants if mode in ("frozen", "finetuned") else ("none",):
            for n in sizes:
                for seed in seeds:
                    shift = 0.04 * variants.index(variant) if variant != "none" else 0.0
                    strength = quality(mode, n) - shift + 0.03 * rng.normal()
                    scores = _test_scores(rng, target, common, strength)
                    made = scored(mode, n, seed, (scores, target, weight), pretraining=variant)
                    _write_run(path, made, (scores, target, weight))
    for variant in variants:
        _write_pretraining(path / "pretrain" / variant, variant)
    samples = [_sample("ttH(bb)", "ttH", 0.9), _sample("ttbar+jets", "ttbar", 0.5)]
    (path / "samples.json").write_text(json.dumps(samples))
    config = {
        "name": "toy",
        "title": "A toy study",
        "note": "<b>not bold</b>",
        "seeds": list(seeds),
        "sizes": list(sizes),
    }
    (path / "study.json").write_text(json.dumps(config))
    return path


def _test_scores(rng, target, common, strength):
    noise = 0.9 * common + math.sqrt(1 - 0.81) * rng.normal(size=target.size)
    return 1 / (1 + np.exp(-(target * strength + noise - strength / 2)))


def _write_run(path, made, sample):
    rng = np.random.default_rng(made.seed)
    append(path / "records.jsonl", made)
    run = path / "runs" / made.key()
    run.mkdir(parents=True)
    train_target = np.arange(made.n_train) % 2
    strength = quality(made.mode, made.n_train) * 1.15
    np.savez(
        run / "scores.npz",
        test_score=sample[0],
        test_target=sample[1],
        test_weight=sample[2],
        train_score=separated_scores(rng, train_target, strength),
        train_target=train_target,
    )
    (run / "record.json").write_text(made.model_dump_json(exclude_none=True))
    if made.mode != "trees":
        start = {"finetuned": 0.58, "frozen": 0.64, "scratch": 0.70}[made.mode]
        (run / "metrics.jsonl").write_text(_losses(rng, 400, start, 0.5, 0.00025))


def _write_pretraining(path, variant):
    path.mkdir(parents=True)
    rng = np.random.default_rng(1)
    (path / "config.json").write_text(json.dumps({"objective": {"kind": variant}}))
    (path / "card.md").write_text(f"# Backbone {variant}\n\nTrained on <40 000> events.\n")
    (path / "metrics.jsonl").write_text(_losses(rng, 6000, 1.35, 0.92, 0.0))


def _losses(rng, steps, start, end, overtraining):
    rows = []
    for step in range(0, steps + 1, steps // 20):
        fall = end + (start - end) * math.exp(-5 * step / steps)
        rows.append(
            {
                "step": step,
                "epoch": step / 50,
                "train_loss": fall - overtraining * step + 0.004 * rng.normal(),
                "val_loss": fall + 0.01 + overtraining * step / 3,
                "lr": 1e-3,
            }
        )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _sample(label, name, pass_rate, simulation=True):
    names = ("all events", "trigger", "at least 1 lepton", "at least 4 jets", "at least 2 b jets")
    steps = [Step.of(step, np.ones(int(100_000 * pass_rate**i))) for i, step in enumerate(names)]
    card = {
        "cutflow": Cutflow(tuple(steps)).to_list(),
        "sum_weight": 83_000.5,
        "n_events": steps[-1].events,
        "n_eff": 0.7 * steps[-1].events,
        "negative_fraction": 0.08,
        "is_simulation": simulation,
    }
    return {"name": name, "label": label, "shards": f"shards/{name}", "card": card}
