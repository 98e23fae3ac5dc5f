"""A mixture in use: nested pre-trainings, and whether a model has seen an event."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from transferline.data.card import load_card
from transferline.data.mix import mix
from transferline.data.origins import Origin, Relation, RowOrigins, row_origins
from transferline.data.readers.shards import Shards, ShardSet
from transferline.data.selections import selection
from transferline.deploy.inputs import survey_inputs
from transferline.errors import DataError
from transferline.files import read_json, write_json
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.models.checkpoint import Checkpoint
from transferline.models.seen import Level, Seen, by_origin

from ..learning.event_shards import write_shards
from .mix_members import table, traced, write_member


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("seen")


@pytest.fixture(scope="module")
def members(folder):
    return [write_member(folder, i, np.ones(300), cross_section_pb=1.0 + i) for i in range(2)]


@pytest.fixture(scope="module")
def mixture(folder, members):
    mix({"a": members[0], "b": members[1]}, folder / "mixture", seed=3)
    return folder / "mixture"


def test_every_event_keeps_its_file(mixture, members):
    """Members number their events alike, so identities alone do not tell."""
    card = load_card(mixture)
    member, row = traced(table(mixture, card))
    origins = row_origins(mixture, card)
    seeds = np.array([origin.seed if origin.seed is not None else -1 for origin in origins.origins])
    assert np.array_equal(seeds[origins.which(np.arange(len(row)))], 2 * member + (row >= 150))
    assert [file["passed"] for file in card.files] == [
        int(((member == m) & (row // 150 == half)).sum()) for m in (0, 1) for half in (0, 1)
    ]


def test_a_model_of_a_mixture_knows_exactly_what_it_has_seen(mixture, members):
    shards = ShardSet(mixture)
    member, row = traced(table(mixture, shards.cards[0]))
    rows = np.random.default_rng(0).permutation(len(shards))[:200]
    seen = Seen.of("pretraining", shards, rows)
    assert seen.samples("pretraining") == ["mixture"]
    for number, place in enumerate(members):
        judged = ShardSet(place)
        found = np.zeros(len(judged), np.uint8)
        for _, origin, places in by_origin(judged, np.arange(len(judged))):
            found[places] = seen.level("pretraining", judged.hash[places], origin)
        drawn = np.isin(np.arange(len(judged)), row[rows][member[rows] == number])
        assert np.array_equal(found == Level.YES, drawn)
        assert 0 < drawn.sum() < len(judged)
        assert set(found.tolist()) == {Level.NO, Level.YES}


def test_mixed_and_other_directories_are_one_table_of_origins(mixture, members):
    shards = ShardSet([members[0], mixture])
    rows = np.arange(len(shards))[::-1].copy()
    seen = np.full(len(rows), -1)
    for _, origin, places in by_origin(shards, rows):
        seen[places] = origin.seed
    one = [by_origin(ShardSet(place), np.arange(n)) for place, n in
           ((members[0], 300), (mixture, len(shards) - 300))]  # fmt: skip
    expected = np.full(len(rows), -1)
    for start, groups in zip((0, 300), one, strict=True):
        for _, origin, places in groups:
            expected[start + places] = origin.seed
    assert np.array_equal(seen[::-1], expected)
    assert seen.min() >= 0


def test_origins_of_runs_are_found_by_row():
    one, copy = (
        Origin.of_file({"is_simulation": True, "path": p, "entries": n, "size": 9, "format": f})
        for p, n, f in (("a.root", 5, "JetClass"), ("b/merged.root", 8, "JetClass"))
    )
    assert one.relation(copy) is Relation.SAME  # numbered by what the jets are
    assert Origin.from_dict(one.to_dict()) == one
    other = Origin.of_file(
        {"is_simulation": True, "path": "c.root", "entries": 5, "size": 9, "format": "NanoAODv9"}
    )
    assert other.relation(one) is other.relation(copy) is Relation.ALIKE
    a, b = Origin("collisions"), Origin("unknown")
    runs = RowOrigins.of_runs([(a, 3), (b, 0), (b, 2)])
    found = {origin: places.tolist() for origin, places in runs.groups(np.array([4, 0, 3, 2]))}
    assert found == {a: [1, 3], b: [0, 2]}
    assert list(runs.groups(np.empty(0, np.int64))) == []


def test_another_generator_makes_other_collisions():
    made = {"kind": "transferline generate events", "process": "Zjets_ll", "seed": 1, "n": 9}
    older, pythia, harder, sherpa = (
        Origin.of_file({"is_simulation": True, "provenance": {**made, **more}})
        for more in (
            {"configuration": "a"},
            {"configuration": "a", "generator": "pythia"},
            {"configuration": "b", "generator": "pythia"},
            {"configuration": "c", "generator": "sherpa"},
        )
    )
    assert older == pythia
    assert pythia.relation(harder) is Relation.RELATED
    assert pythia.relation(sherpa) is sherpa.relation(older) is Relation.OTHER
    assert sherpa.relation(Origin.from_dict(sherpa.to_dict())) is Relation.SAME
    # What was stored without a generator may be of any: the file itself is known again, and
    # nothing is called independent for it.
    stored = [{k: v for k, v in o.to_dict().items() if k != "generator"} for o in (pythia, sherpa)]
    first, second = map(Origin.from_dict, stored)
    assert first.relation(pythia) is second.relation(sherpa) is Relation.SAME
    assert second.relation(replace(sherpa, configuration="d")) is Relation.RELATED


def test_members_of_unknown_files_stay_unknown(tmp_path):
    known = write_member(tmp_path, 0, np.ones(50))
    other = write_member(tmp_path, 1, np.ones(50), files=[])
    card = mix({"a": known, "b": other}, tmp_path / "out")
    member, _ = traced(table(tmp_path / "out", card))
    for origin, places in row_origins(tmp_path / "out", card).groups(np.arange(card.n_events)):
        assert origin.kind == ("generated" if member[places[0]] == 0 else "unknown")
        assert len(set(member[places])) == 1


def test_origins_that_are_missing_or_damaged_are_named(mixture, tmp_path):
    place = tmp_path / "copy"
    shutil.copytree(mixture, place)
    origins = np.load(place / "origins.npy")
    np.save(place / "origins.npy", origins[::-1])
    with pytest.raises(DataError, match=r"origins\.npy: is damaged"):
        row_origins(place, load_card(place))
    (place / "origins.npy").unlink()
    with pytest.raises(DataError, match=r"origins\.npy: is missing"):
        row_origins(place, load_card(place))
    assert len(ShardSet(place).gather(np.arange(9))) == 9  # training reads no origins


@pytest.fixture(scope="module")
def events(folder):
    """A mixture of events that a network can be trained on."""
    places = {}
    for seed, sigma in ((1, 3.0), (2, 1.0)):
        place = write_shards(folder, 700, seed=seed, hardness=float(seed))
        card = replace(load_card(place), cross_section_pb=sigma)
        write_json(place / "card.json", card.to_dict())
        places[f"process {seed}"] = place
    mix(places, folder / "events", seed=9)
    return folder / "events", list(places.values())


def made(events, folder, n_train, **changes):
    config = PretrainConfig.model_validate(
        {
            "data": {"kind": "shards", "files": [str(events)]},
            "backbone": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
            "objective": {"kind": "masked_type"},
            "optim": {"steps": 2, "batch_size": 32},
            "n_train": n_train,
            **changes,
        }
    )
    return Checkpoint.load(pretrain(config, folder / f"{n_train}-{len(changes)}", label=None))


def listed(checkpoint):
    """(origin, hash) of all events that a checkpoint was made from."""
    parts = checkpoint.saw().parts
    return {(part.origin, int(h)) for part in parts for h in part.hashes}


def test_pretrainings_of_rising_size_are_nested_and_of_one_composition(events, folder):
    place, members = events
    card = load_card(place)
    few, more = (made(place, folder, n) for n in (100, 400))
    assert listed(few) < listed(more)
    n_valid = len(listed(more)) - 400
    assert len(listed(few)) == 100 + n_valid > 100
    only = listed(made(place, folder, 100, valid_share=0.0))
    first = sum(origin == row_origins(members[0], load_card(members[0])).origins[0]
                for origin, _ in only)  # fmt: skip
    p = card.composition[0]["share"]
    assert card.composition[0]["name"] == "process 1"
    assert abs(first - 100 * p) < 5 * np.sqrt(100 * p * (1 - p))
    composition = read_json(folder / "400-0" / "config.json")["provenance"]["data"][0][
        "composition"
    ]
    assert composition == {row["name"]: row["events"] for row in card.composition}


def test_predict_asks_every_event_of_a_mixture_for_its_origin(events, folder):
    place, _ = events
    inputs = survey_inputs(Shards(files=[str(place)]), selection("l1_j4_b1"))
    groups = list(inputs.files[0].by_origin(np.arange(40)))
    assert sorted(np.concatenate([places for _, places in groups]).tolist()) == list(range(40))
    assert len({origin for origin, _ in groups}) == 2
