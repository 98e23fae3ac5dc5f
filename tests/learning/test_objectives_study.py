"""The study of all objectives, end to end on small shards of ten classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from transferline.config import load_config
from transferline.evaluation.records import read
from transferline.learning.study import study
from transferline.learning.study_config import StudyConfig
from transferline.reporting.pretext_table import cost_of_pretrainings, costs_of_records

from ..data import jet_files
from .jet_shards import write_jet_shards

SMOKE = Path(__file__).parents[2] / "studies" / "masked_particles" / "smoke.yaml"
OTHERS = ["contrastive", "jepa", "next_token", "supervised", "supervised_masked"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Those objectives on small shards, one run of each."""
    folder = tmp_path_factory.mktemp("jets")
    made = load_config(SMOKE, StudyConfig).to_dict()
    places = {}
    for i, name in enumerate(jet_files.CLASSES):
        places[name.lower()] = write_jet_shards(folder, name, 30, seed=i)
        places[f"pre_{name.lower()}"] = write_jet_shards(folder, name, 20, seed=100 + i)
    made["samples"] = {name: {"shards": str(place)} for name, place in places.items()}
    made["tokenizers"] = {"kmeans": made["tokenizers"]["kmeans"]}
    few = {"steps": 10, "batch_size": 64}
    made["pretrain"] = {
        name: {**made["pretrain"][name], "optim": few, "only": {}} for name in OTHERS
    }
    made["grid"] = {"modes": ["finetuned"], "n_train": [100], "seeds": 1}
    made["finetuned"] = {"optim": few, "min_steps": 10, "epochs": 1}
    return StudyConfig.model_validate(made)


def test_every_objective_is_run_and_tells_what_it_cost(config, tmp_path):
    out = study(config, tmp_path / "study")
    records = read([out / "records.jsonl"])
    assert {r.pretraining for r in records} == set(OTHERS)
    costs = costs_of_records(records)
    table = cost_of_pretrainings(costs)
    assert len(table.rows) == len(OTHERS)
    assert {name for name, cost in costs.items() if cost["labels"]} == {
        "supervised",
        "supervised_masked",
    }
    assert (out / "pretrain" / "next_token" / "generator" / "config.json").exists()
