"""The study of the joint analysis at the published scale, on files like the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transferline.config import load_config
from transferline.evaluation import records
from transferline.learning.study import study
from transferline.learning.study_config import StudyConfig
from transferline.models.checkpoint import Checkpoint

from ..data import jet_files
from .jet_shards import write_class_file

STUDIES = Path(__file__).parents[2] / "studies" / "joint_analysis"
EVENTS = 40


def write_stand_in(folder, sample, reader, seed):
    """Write a file of what a sample of the study reads; return its place."""
    (pattern,) = reader["files"]
    file = folder / f"{sample}.root"
    if reader["kind"] == "jetclass":
        name = "Hbb" if "HToBB" in pattern else "QCD"
        return write_class_file(file, name, 60, seed)
    per_event = np.full(EVENTS, 2)
    jets = jet_files.random_jets(2 * EVENTS, seed, counts=np.full(2 * EVENTS, 45))
    if reader.get("sets") == "events":
        return jet_files.write_hbb_jagged(file, jets, per_event)
    return jet_files.write_hbb_flat(file, jets)


def test_the_published_scale_survives_its_first_steps_on_a_stand_in(tmp_path):
    whole = load_config(STUDIES / "paper.yaml", StudyConfig)
    assert all(len(whole.grid.seeds_at(n)) == 5 for n in whole.grid.n_train[:3])
    assert {v.only.largest for v in whole.pretrain.values()} == {None}
    paper = whole.to_dict()
    paper["pretrain"] = {"xbb": paper["pretrain"]["xbb"]}
    paper["pretrain"]["xbb"]["optim"] |= {"steps": 2, "batch_size": 16}
    paper["tasks"] = paper["tasks"][:1]
    paper["tasks"][0] |= {"test_share": 0.5, "luminosity": 1.0}
    paper["tasks"][0]["jet_probe"]["n"] = 20
    paper["grid"] = {"modes": ["frozen", "finetuned"], "n_train": [40], "seeds": 1}
    few = {"steps": 2, "batch_size": 16, "validate_every": None}
    for mode in ("frozen", "finetuned"):
        paper[mode] |= {"min_steps": 1, "optim": {**paper[mode]["optim"], **few}}
    config = StudyConfig.model_validate(paper)
    for seed, sample in enumerate(config.used()):
        reader = paper["samples"][sample]["reader"]
        reader["files"] = [str(write_stand_in(tmp_path, sample, reader, seed))]
    paper["samples"] = {name: paper["samples"][name] for name in config.used()}

    out = study(StudyConfig.model_validate(paper), tmp_path / "out", cache=tmp_path / "cache")
    found = records.read(out / "records.jsonl")
    assert {record.mode for record in found} == {"frozen", "finetuned"}
    assert all("jet_probe" in record.metrics for record in found)
    tensors = Checkpoint.load(out / "pretrain" / "xbb").tensors
    assert sum(tensor.numel() for tensor in tensors.values()) > 2_000_000
