"""A pre-training that begins with the weights of another one."""

from __future__ import annotations

import json

import pytest
import torch

from transferline.errors import ConfigError
from transferline.learning.folded_pretraining import pretrain_folds
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.source_costs import cost_facts
from transferline.learning.study import study
from transferline.learning.study_config import StudyConfig
from transferline.models.checkpoint import Checkpoint

from .event_shards import write_shards

NET = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return [
        write_shards(folder, 200, seed=seed, hardness=hardness)
        for seed, hardness in ((1, 1.6), (2, 1.0), (3, 1.3))
    ]


def config(place, steps=8, lr=1e-2, **more):
    return PretrainConfig.model_validate(
        {
            "data": {"files": [str(place)]},
            "backbone": NET,
            "objective": {"kind": "masked_type"},
            "optim": {"steps": steps, "batch_size": 64, "lr": lr},
            **more,
        }
    )


def weights(checkpoint):
    return torch.cat([t.float().flatten() for t in checkpoint.backbone().state_dict().values()])


def test_it_begins_with_weights_and_constants_and_has_seen_both(places, tmp_path):
    first = Checkpoint.load(pretrain(config(places[0]), tmp_path / "first", label=None))
    how = {"steps": 1, "lr": 1e-9}
    alone = Checkpoint.load(pretrain(config(places[1], **how), tmp_path / "alone", label=None))
    chained = config(places[1], **how, start=str(tmp_path / "first"))
    after = Checkpoint.load(pretrain(chained, tmp_path / "after", label=None))
    torch.testing.assert_close(weights(after), weights(first), atol=1e-6, rtol=0)
    assert (weights(alone) - weights(first)).abs().max() > 0.01
    told = after.provenance["ingredients"]["start"]
    assert told["sha256"] == first.sha256
    costs = [cost_facts(checkpoint.provenance) for checkpoint in (first, after)]
    own = after.provenance["result"]
    assert costs[1]["passes"] == costs[0]["passes"] + own["examples_seen"]
    assert costs[1]["cpu_seconds"] == pytest.approx(costs[0]["cpu_seconds"] + own["cpu_seconds"])
    seen = [set(c.saw().samples("pretraining")) for c in (first, alone, after)]
    assert seen[2] == seen[0] | seen[1]
    moved = chained.model_copy(update={"start": "elsewhere"})
    assert moved.digest() == chained.digest()


def test_another_architecture_is_refused(places, tmp_path):
    pretrain(config(places[0]), tmp_path / "first", label=None)
    wider = config(places[1], backbone={**NET, "width": 32}, start=str(tmp_path / "first"))
    with pytest.raises(ConfigError, match="other backbone"):
        pretrain(wider, tmp_path / "after", label=None)


def test_folds_begin_with_nothing_that_has_seen_them(places, tmp_path):
    pretrain(config(places[0]), tmp_path / "first", label=None)
    chained = config(places[1], start=str(tmp_path / "first"))
    with pytest.raises(ConfigError, match="may have seen the events"):
        pretrain_folds(chained, 2, tmp_path / "folds", label=None)


@pytest.fixture
def chained_study(places):
    one = {
        "samples": ["one"],
        "backbone": NET,
        "objective": {"kind": "masked_type"},
        "optim": {"steps": 8, "batch_size": 64, "lr": 1e-2},
    }
    network = {"lr": [1e-2], "optim": {"steps": 4, "batch_size": 32}}
    return {
        "name": "chain",
        "title": "One after the other",
        "scale": "smoke",
        "samples": {n: {"shards": str(p)} for n, p in zip(("one", "s", "b"), places, strict=True)},
        # The one that goes on stands first: the order in the file does not matter.
        "pretrain": {"second": {**one, "start": "first"}, "first": one},
        "task": {"kind": "event_classification", "name": "t", "signal": ["s"], "background": ["b"]},
        "grid": {"modes": ["frozen"], "n_train": [40], "seeds": 1},
        "frozen": network,
    }


def test_a_study_makes_the_start_first(chained_study, tmp_path):
    out = study(StudyConfig.model_validate(chained_study), tmp_path / "out")
    first, second = (Checkpoint.load(out / "pretrain" / n) for n in ("first", "second"))
    assert second.provenance["ingredients"]["start"]["sha256"] == first.sha256
    lines = (out / "records.jsonl").read_text().splitlines()
    assert {json.loads(line)["pretraining"] for line in lines} == {"first", "second"}


def test_twins_of_a_start_and_of_what_goes_on_share_it(chained_study, tmp_path, monkeypatch):
    trained = []

    def noted(config, out, **more):
        trained.append(out.name)
        return pretrain(config, out, **more)

    monkeypatch.setattr("transferline.learning.study_pretraining.pretrain", noted)
    variants = chained_study["pretrain"]
    variants["other_first"] = {
        **variants["first"],
        "frozen": {**chained_study["frozen"], "lr": [3e-2]},
    }
    variants["other_second"] = {**variants["second"], "start": "other_first"}
    out = study(StudyConfig.model_validate(chained_study), tmp_path / "out")
    loaded = {name: Checkpoint.load(out / "pretrain" / name) for name in variants}
    assert sorted(trained) == ["first", "second"]
    assert loaded["other_first"].sha256 == loaded["first"].sha256
    assert loaded["other_second"].sha256 == loaded["second"].sha256
    assert loaded["second"].sha256 != loaded["first"].sha256


@pytest.mark.parametrize(("start", "message"), [("firts", "first"), ("second", "itself")])
def test_a_start_that_cannot_be_is_explained(chained_study, start, message):
    chained_study["pretrain"]["second"]["start"] = start
    with pytest.raises(ValueError, match=message):
        StudyConfig.model_validate(chained_study)


def test_a_start_of_another_width_is_refused_before_anything_is_trained(chained_study):
    chained_study["pretrain"]["second"]["backbone"] = {**NET, "width": 32}
    with pytest.raises(ValueError, match="other backbone"):
        StudyConfig.model_validate(chained_study)
