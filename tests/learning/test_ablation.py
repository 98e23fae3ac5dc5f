"""The ablation of the replaced-object study: every variant trains, and differs as its name says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from transferline.config import load_config
from transferline.learning.pretraining import pretrain
from transferline.learning.study_config import StudyConfig
from transferline.models.checkpoint import Checkpoint

from .event_shards import write_shards

FILE = Path(__file__).parents[2] / "studies" / "replaced_object" / "ablation.yaml"
STUDY = load_config(FILE, StudyConfig)
REFERENCE = STUDY.pretrain["replaced_object"]
DIFFERS = {
    "replaced_object": {},
    "types_visible": {"objective": {"types"}},
    "types_partly": {"objective": {"types"}},
    "none_half": {"objective": {"probability"}},
    "by_object": {"objective": {"draw"}},
    "dummy_padding": {"objective": {"dummy"}},
    "tau_own": {"objective": {"tau"}},
    "tau_never": {"objective": {"tau"}},
    "padding_seen": {"backbone": {"padding", "slots"}},
    "padding_seen_dummy_padding": {"backbone": {"padding", "slots"}, "objective": {"dummy"}},
}
QUARTER = load_config(FILE.with_name("quarter_ablation.yaml"), StudyConfig)
AROUND_PARTLY = {  # its reference shows 35 % of the types
    "types_visible": {"objective": {"types", "hide"}},
    "types_hidden": {"objective": {"types", "hide"}},
    **{name: DIFFERS[name] for name in ("none_half", "by_object", "dummy_padding", "padding_seen")},
    **{name: DIFFERS[name] for name in ("tau_own", "tau_never")},
    "another_seed": {},
}
OTHER_TASKS = {"masked_type", "supervised", "joint", "joint_masked_type"}


def test_the_variants_are_these():
    assert set(STUDY.pretrain) == {*DIFFERS, *OTHER_TASKS}


@pytest.mark.parametrize("name", DIFFERS)
def test_a_variant_differs_from_the_reference_in_what_its_name_says(name):
    variant = STUDY.pretrain[name]
    for part in ("objective", "backbone", "features", "optim"):
        one, other = dict(getattr(REFERENCE, part)), dict(getattr(variant, part))
        changed = {key for key in one if one[key] != other[key]}
        assert changed == DIFFERS[name].get(part, set()), part
    assert variant.samples == REFERENCE.samples


@pytest.mark.parametrize("name", AROUND_PARTLY)
def test_a_variant_of_the_smaller_study_differs_in_what_its_name_says(name):
    variant, reference = QUARTER.pretrain[name], QUARTER.pretrain["replaced_object"]
    for part in ("objective", "backbone", "features", "optim"):
        one, other = dict(getattr(reference, part)), dict(getattr(variant, part))
        changed = {key for key in one if one[key] != other[key]}
        assert changed == AROUND_PARTLY[name].get(part, set()), part
    assert variant.samples == reference.samples
    assert (variant.seed != reference.seed) == (name == "another_seed")


@pytest.mark.parametrize("name", sorted(OTHER_TASKS))
def test_other_tasks_share_network_events_and_steps(name):
    variant = STUDY.pretrain[name]
    for part in ("backbone", "features", "optim", "samples"):
        assert getattr(variant, part) == getattr(REFERENCE, part)
    assert variant.objective != REFERENCE.objective


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    names = REFERENCE.samples
    return {name: write_shards(folder, 120, seed=i) for i, name in enumerate(names)}


@pytest.mark.parametrize("name", STUDY.pretrain)
def test_every_variant_trains(name, places, tmp_path):
    whole = STUDY.pretrain[name].config(places)
    few = whole.optim.model_copy(update={"steps": 2, "batch_size": 64})
    out = pretrain(whole.model_copy(update={"optim": few}), tmp_path, label=None)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert 0 < rows[-1]["val_loss"] < 10
    assert ("val_counting_types" in rows[-1]) == (name in DIFFERS)
    recipe = Checkpoint.load(out).recipe
    assert recipe.backbone == STUDY.pretrain[name].backbone
