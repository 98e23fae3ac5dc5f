from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferline.config import load_config
from transferline.errors import ConfigError, DataError
from transferline.learning.tasks import subsets
from transferline.learning.tasks.event_classification import EventClassification
from transferline.learning.tasks.subsets import draw, hold_out
from transferline.learning.transfer_config import TransferConfig

from .event_shards import write_shards

POOL = np.arange(1000, 3000)
TARGET = (np.arange(4000) % 3 == 0).astype(np.int64)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    return {
        "signal": write_shards(folder, 900, seed=1, hardness=1.5),
        "background": write_shards(folder, 1300, seed=2),
        "more": write_shards(folder, 500, seed=3),
    }


def task(places, **changes) -> EventClassification:
    values = {"name": "t", "signal": ["signal"], "background": ["background"], **changes}
    return EventClassification.model_validate(values).located(places)


@given(st.integers(2, 600), st.integers(2, 600), st.integers(0, 50))
def test_subsets_are_nested_and_balanced(a, b, seed):
    small, large = (draw(POOL, TARGET, n, seed, "balanced") for n in sorted((a, b)))
    assert set(small) <= set(large)
    assert len(np.unique(large)) == max(a, b)
    assert abs(2 * TARGET[large].sum() - len(large)) <= 1
    for part in ("fit", "select"):
        held = [set(getattr(hold_out(rows, TARGET, 0.2), part)) for rows in (small, large)]
        assert held[0] <= held[1]


def test_of_many_labels_no_more_select_than_are_needed(monkeypatch):
    monkeypatch.setattr(subsets, "SELECTING", 60)
    sizes = (100, 300, 600)
    drawn = [hold_out(draw(POOL, TARGET, n, 0, "balanced"), TARGET, 0.2) for n in sizes]
    assert [len(rows.select) for rows in drawn] == [20, 60, 60]
    assert [len(rows.fit) for rows in drawn] == [subsets.fitted(n, 0.2) for n in sizes]
    for small, large in pairwise(drawn):
        assert set(small.select) <= set(large.select) and set(small.fit) <= set(large.fit)
    assert abs(2 * TARGET[drawn[-1].select].sum() - 60) <= 1


def test_of_many_natural_labels_those_that_select_are_mixed_as_the_others(monkeypatch):
    monkeypatch.setattr(subsets, "SELECTING", 60)
    pool = np.concatenate([POOL[TARGET[POOL] == 0], POOL[TARGET[POOL] == 1][:100]])
    drawn = [draw(pool, TARGET, n, 0, "natural") for n in (200, 500, 1000)]
    held = [hold_out(rows, TARGET, 0.2, "natural") for rows in drawn]
    assert [len(rows.select) for rows in held] == [pytest.approx(40, abs=1), 60, 60]
    for small, large in pairwise(held):
        assert set(small.select) <= set(large.select) and set(small.fit) <= set(large.fit)
    of_signal = TARGET[held[-1].select].mean()
    assert of_signal == pytest.approx(TARGET[held[-1].fit].mean(), abs=0.03)


def test_natural_subsets_keep_the_mixture():
    rows = draw(POOL, TARGET, 900, 0, "natural")
    assert abs(TARGET[rows].mean() - TARGET[POOL].mean()) < 0.05
    assert set(draw(POOL, TARGET, 100, 0, "natural")) <= set(rows)


def test_subsets_differ_between_seeds_and_do_not_depend_on_the_order_of_the_pool():
    rows = draw(POOL, TARGET, 100, 0, "balanced")
    assert set(rows) != set(draw(POOL, TARGET, 100, 1, "balanced"))
    assert np.array_equal(rows, draw(POOL[::-1], TARGET, 100, 0, "balanced"))


def test_a_pool_that_is_too_small_names_how_many_there_are():
    with pytest.raises(DataError, match=r"5000 .* needs 2500 events of class 0 .* 1334"):
        draw(POOL, TARGET, 5000, 0, "balanced")
    with pytest.raises(DataError, match="there are 2000"):
        draw(POOL, TARGET, 5000, 0, "natural")


def test_n_train_counts_both_classes_and_the_selecting_share(places):
    chosen = task(places)
    rows = chosen.labelled(chosen.load(), 200, seed=3)
    assert len(rows) == 200
    assert (len(rows.fit), len(rows.select)) == (160, 40)
    target = chosen.load().target
    assert target[rows.select].sum() == 20
    assert not set(rows.fit) & set(rows.select)


def test_splits_are_disjoint_and_cut_by_identity(places):
    data = task(places).load()
    parts = {name: set(getattr(data, name)) for name in ("pool", "valid", "test")}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(data.target)
    by_hash = {}
    for name, rows in parts.items():
        for h in data.shards.hash[list(rows)]:
            assert by_hash.setdefault(int(h), name) == name


def test_the_test_set_depends_on_nothing_but_its_own_options(places):
    plain = task(places).load()
    for changes in ({"select_share": 0.5}, {"subset": "natural"}, {"weights": "drop"}):
        assert np.array_equal(task(places, **changes).load().test, plain.test)
    capped = task(places, test_max=50).load()
    assert set(capped.test) < set(plain.test)
    assert np.bincount(capped.target[capped.test]).tolist() == [50, 50]
    assert np.array_equal(capped.pool, plain.pool)


def test_training_weights_balance_the_classes(places):
    balanced = task(places).load()
    for label in (0, 1):
        of_class = balanced.pool[balanced.target[balanced.pool] == label]
        assert balanced.training_weight[of_class].mean() == pytest.approx(1.0)
    natural = task(places, subset="natural").load()
    sums = np.bincount(natural.target[natural.pool], natural.training_weight[natural.pool])
    assert sums[0] == pytest.approx(sums[1])


def test_negative_weights_follow_the_policy(places, monkeypatch):
    from transferline.data.readers.shards import ShardSet

    true = ShardSet.weight.func
    sign = lambda self: np.where(np.arange(len(self)) % 5 == 0, -1.0, 1.0) * true(self)  # noqa: E731
    monkeypatch.setattr(ShardSet, "weight", property(sign))
    plain, signed, dropped = (
        task(places, weights=policy).load() for policy in ("abs", "signed", "drop")
    )
    assert (plain.weight < 0).any() and (plain.training_weight >= 0).all()
    assert (signed.training_weight[signed.pool] < 0).any()
    assert (dropped.weight[dropped.pool] > 0).all()
    assert np.array_equal(dropped.test, plain.test)
    assert (dropped.weight[dropped.test] < 0).any()


def test_samples_of_one_class_add_up_by_cross_section(places):
    chosen = task(
        places,
        background=["background", "more"],
        cross_sections={"background": 30.0, "more": 10.0},
    )
    data = chosen.load()
    sums = np.bincount(data.shards.source, data.weight)
    rates = [
        sums[i] / (len(data.shards.weight[data.shards.source == i]) / card.sum_weight)
        for i, card in enumerate(data.shards.cards)
    ]
    assert rates[1] / rates[2] == pytest.approx(3.0)
    with pytest.raises(DataError, match="cross section"):
        task(places, background=["background", "more"]).load()


def test_slices_of_one_process_keep_the_cross_sections_that_are_given(places):
    """Of equal ones they are one sample in parts, of which each has its share."""
    for told, rates in (((700.0, 3.0), (700.0, 3.0)), ((8.0, 8.0), (4.0, 4.0))):
        names = ("background", "more")
        chosen = task(
            places, background=list(names), cross_sections=dict(zip(names, told, strict=True))
        )
        shards = chosen.opened([places[name] for name in ("signal", *names)])
        for card in shards.cards:
            card.provenance[:] = [{"process": "QCD", "filter": {"name": "none"}}]
        weights = [card.sum_weight for card in shards.cards[1:]]
        scales = chosen._scales(shards)[1:]
        if told[0] != told[1]:
            assert scales * weights == pytest.approx(rates)
        else:
            assert (scales * weights).sum() == pytest.approx(told[0])
            assert scales[0] == pytest.approx(scales[1])


def test_one_process_with_two_filters_would_count_twice(places):
    names = ("background", "more")
    for told, fine in (((8.0, 8.0), False), ((700.0, 3.0), True)):
        given = dict(zip(names, told, strict=True))
        chosen = task(places, background=list(names), cross_sections=given)
        shards = chosen.opened([places[name] for name in ("signal", *names)])
        for card, rule in zip(shards.cards, ("none", "lepton", "emu"), strict=True):
            card.provenance[:] = [{"process": "QCD", "filter": {"name": rule}}]
        if fine:
            assert (chosen._scales(shards) > 0).all()
            both = shards.cards[1]
            both.provenance.append({"process": "QCD", "filter": {"name": "none"}})
            assert not both.counts_again(both)  # a mixture of two parts
        else:
            with pytest.raises(ConfigError, match="has another filter"):
                chosen._scales(shards)


def test_unknown_sums_of_weights_are_named(places):
    given = {"background": 1.0, "more": 2.0}
    chosen = task(places, background=["background", "more"], cross_sections=given)
    shards = chosen.opened([places[name] for name in ("signal", "background", "more")])
    shards.cards[1:] = [replace(card, sum_weight=None) for card in shards.cards[1:]]
    with pytest.raises(DataError, match="sum of weights"):
        chosen._scales(shards)


def test_perfect_and_random_scores_give_the_known_values(places):
    chosen = task(places)
    data = chosen.load()
    perfect, _ = chosen.evaluate(data.target[data.test].astype(float), data, data.test)
    assert perfect["auc"].value == perfect["accuracy"].value == 1.0
    noise = np.random.default_rng(0).random(len(data.test))
    random, _ = chosen.evaluate(noise, data, data.test)
    assert abs(random["auc"].value - 0.5) < 4 * random["auc"].error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("signal: [a]\n  background: [a]", "signal and background at once"),
        ("signal: [a]\n  background: [b]\n  test_share: 0.99", "leave nothing to train on"),
        ("signal: [a]\n  background: [b]\n  test_shar: 0.5", "test_share"),
        ("signal: []\n  background: [b]", "at least 1"),
    ],
)
def test_bad_tasks_are_explained_with_their_line(tmp_path, text, message):
    file = tmp_path / "t.yaml"
    file.write_text(f"task:\n  kind: event_classification\n  name: t\n  {text}\n")
    with pytest.raises(ConfigError, match=message) as error:
        load_config(file, TransferConfig)
    assert "t.yaml:" in str(error.value)


def test_a_missing_sample_is_named(places):
    with pytest.raises(ConfigError, match=r"no sample 'sginal'.*Did you mean 'signal'"):
        task(places, signal=["sginal"])
