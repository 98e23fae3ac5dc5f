from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from transferline.data.readers.shards import ShardSet
from transferline.errors import ConfigError
from transferline.files import json_hash
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.source_facts import source_facts
from transferline.learning.source_labels import UNLABELLED, source_labels
from transferline.models.checkpoint import Checkpoint

from .event_shards import write_shards


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    return [
        str(write_shards(folder, n, seed=i, hardness=h))
        for i, (n, h) in enumerate([(400, 1.0), (200, 3.0), (100, 1.0)])
    ]


def config(places, **changes):
    kind = changes.pop("kind", "supervised")
    settings = {
        "data": {"kind": "shards", "files": places},
        "backbone": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
        "objective": {"kind": kind},
        "optim": {"steps": 60, "batch_size": 64, "lr": 1e-2},
        "classes": {"soft": [places[0]], "hard": [places[1]]},
        "valid_share": 0.2,
    }
    return PretrainConfig.model_validate({**settings, **changes})


def test_classes_count_equally_and_other_samples_have_none(places):
    shards = ShardSet([*places])
    train = np.arange(0, len(shards), 2)
    found = source_labels(shards, {"soft": [places[0]], "hard": [places[1]]}, train)
    counts = [int((found["target"] == code).sum()) for code in (0, 1, UNLABELLED)]
    assert counts == [int((shards.source == i).sum()) for i in range(3)]
    sums = [found["weight"][train][found["target"][train] == code].sum() for code in (0, 1)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    labelled = train[found["target"][train] != UNLABELLED]
    # A supervised loss, a mean over all events, has the size of one label's.
    assert found["weight"][labelled].sum() == pytest.approx(len(train), rel=1e-5)


def test_a_backbone_learns_classes_and_keeps_no_head(places, tmp_path):
    pretrain(config(places), tmp_path / "run", label=None)
    last = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    accuracy = dict(zip(last[0].split(","), last[-1].split(","), strict=True))["val_accuracy"]
    assert float(accuracy) > 0.75
    checkpoint = Checkpoint.load(tmp_path / "run")
    assert checkpoint.recipe.head is None
    facts = source_facts(checkpoint.provenance)["pretraining"]
    assert 0 < facts["labels"] < facts["events"]
    card = (tmp_path / "run" / "card.md").read_text()
    assert "events labelled as soft, hard" in card
    assert f", accuracy {checkpoint.provenance['validation']['accuracy']:.4f}" in card


def test_labels_that_are_missing_or_misplaced_are_named(places, tmp_path):
    with pytest.raises(ValidationError, match="needs labels: give `classes:`"):
        config(places, classes={})
    with pytest.raises(ValidationError, match="stands twice"):
        config(places, classes={"a": [places[0]], "b": [places[0]]})
    other = config(places, classes={"a": [places[0]], "b": ["elsewhere"]})
    with pytest.raises(ConfigError, match=r"classes\.b: 'elsewhere' is none of the files"):
        pretrain(other, tmp_path / "run", label=None)


def test_which_files_have_labels_tells_pretrainings_apart(places):
    """The names of the classes alone do not: their curves would be one, of more and less events."""
    contents = [{"content_hash": name} for name in "abc"]

    def family(classes, **changes):
        made = config(places, classes=classes, **changes).to_dict()
        told = source_facts({"config": made, "data": contents, "n_train": 500})["pretraining"]
        return told["family"], told["labelled"]

    soft, hard, more = places
    first = family({"soft": [soft], "hard": [hard]})
    assert family({"hard": [hard], "soft": [soft]}) == first
    assert family({"soft": [soft], "hard": [hard]}, n_train=100) == first
    others = [
        family(classes)
        for classes in (
            {"soft": [soft, more], "hard": [hard]},
            {"soft": [more], "hard": [hard]},
            {"soft": [hard], "hard": [soft]},
        )
    ]
    assert len({first, *others}) == 4
    assert len({family for family, _ in (first, *others)}) == 1


@pytest.mark.parametrize("labels", [True, False])
def test_the_family_is_that_which_older_records_tell(places, labels):
    """A study that is continued has Records from before and after: their sizes are one line."""
    classes = {"soft": [places[0]], "hard": [places[1]]} if labels else {}
    kind = "supervised" if labels else "masked_type"
    made = config(places, classes=classes, kind=kind).to_dict()
    told = {"config": made, "data": [{"content_hash": name} for name in "abc"], "n_train": 500}
    rest = {name: made[name] for name in made if name not in ("n_train", "data", "classes")}
    older = json_hash({**rest, "events": ["a", "b", "c"], "classes": sorted(classes)})[:16]
    found = source_facts(told)["pretraining"]
    assert found["family"] == older and ("labelled" in found) == labels
