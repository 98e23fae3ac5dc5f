from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from transferline.data.folds import Fold
from transferline.data.readers.shards import ShardSet
from transferline.errors import ConfigError, DataError
from transferline.evaluation.significance import significance_improvements
from transferline.learning.tasks.weak_supervision import WeakSupervision
from transferline.testing import toy_shards

N = 60


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weak")
    samples = [str(toy_shards(folder / name, 4000, seed=i)) for i, name in enumerate("sb")]
    return WeakSupervision(
        name="weak", signal=samples[:1], background=samples[1:], n_signal=N, test_share=0.5
    )


def truth(task, data):
    return (np.asarray(data.shards.source) < len(task.signal)).astype(int)


def drawn(task, data, seed=0):
    """All events of the two samples that belong to a seed."""
    size = task.details(None, data, data.test)["weak"]["n_mixed"]
    rows = task.labelled(data, 2 * size, seed)
    return np.concatenate((rows.fit, rows.select))


def test_every_seed_mixes_in_signal_of_its_own(task):
    data = task.load()
    found = [drawn(task, data, seed) for seed in (0, 1, 0)]
    signal = [set(rows[truth(task, data)[rows] == 1]) for rows in found]
    assert signal[0] == signal[2]
    assert len(signal[0] & signal[1]) < N / 4  # by chance
    for chosen in signal:
        assert len(chosen) == N
        assert (data.target[list(chosen)] == 1).all()
    few = task.labelled(data, 400, 1)
    assert set(few.fit) | set(few.select) <= set(found[1])


def test_one_sample_is_background_and_the_other_holds_the_signal(task):
    data = task.load()
    rows = drawn(task, data)
    first, second = (rows[data.target[rows] == label] for label in (0, 1))
    assert len(first) == len(second)
    assert truth(task, data)[first].sum() == 0
    assert truth(task, data)[second].sum() == N
    assert set(rows) <= set(data.pool)
    assert (data.target[data.test] == truth(task, data)[data.test]).all()
    assert not set(data.pool) & set(data.test)


def test_more_signal_contains_less_and_the_test_events_stay(task):
    data = task.load()
    more = task.model_copy(update={"n_signal": 2 * N}).load()
    richer = task.model_copy(update={"n_signal": 2 * N})
    both = [(task, drawn(task, data, 3)), (richer, drawn(richer, more, 3))]
    signal = [set(rows[truth(t, data)[rows] == 1]) for t, rows in both]
    assert signal[0] < signal[1]
    assert (more.test == data.test).all()
    fewer = task.model_copy(update={"n_mixed": 500})
    few = fewer.load()
    rows = drawn(fewer, few)
    assert len(rows) == 1000
    assert truth(task, few)[rows].sum() == N


def test_mixed_samples_are_told_apart_as_far_as_their_signal_goes(task):
    """The best score of all gives one half plus half the share of signal in the second sample."""
    data = task.load()
    for n in (0, N, 8 * N):
        other = task.model_copy(update={"n_signal": n})
        data = other.load()
        best = truth(other, data)[data.test].astype(float)
        found = other.evaluate(best, data, data.test)[0]
        share = n / other.details(best, data, data.test)["weak"]["n_mixed"]
        assert found["auc"].value == 1.0
        assert found["auc_mixed"].value == pytest.approx(0.5 + share / 2, abs=0.002)
        backwards = other.evaluate(best[::-1], data, data.test[::-1])[0]
        assert backwards["auc_mixed"].value == pytest.approx(found["auc_mixed"].value)
        assert other.details(best, data, data.test)["weak"]["n_signal"] == n


def test_without_signal_no_score_tells_the_samples_apart(task):
    other = task.model_copy(update={"n_signal": 0})
    data = other.load()
    scores = np.random.default_rng(0).random(len(data.test))
    found = other.evaluate(scores, data, data.test)[0]["auc_mixed"]
    assert abs(found.value - 0.5) < 4 * found.error


def test_significance_improvements_are_their_formulae():
    random = np.random.default_rng(0)
    target = np.repeat([1.0, 0.0], [20_000, 20_000])
    scores = np.clip(random.normal(0.4 + 0.4 * target, 0.2), 0, 1)
    found = significance_improvements(scores, target, np.ones(len(target)))
    signal, background = ((scores[target == t] >= 0.5).mean() for t in (1, 0))
    assert found["sic_cut"].value == pytest.approx(signal / np.sqrt(background))
    edge = np.quantile(scores[target == 0], 0.99)
    tight = (scores[target == 1] > edge).mean() / 0.1
    assert found["sic_fpr1"].value == pytest.approx(tight, rel=0.01)
    spread = np.hypot(
        np.sqrt(signal * (1 - signal) / 20_000) / signal,
        np.sqrt((1 - background) / background / 20_000) / 2,
    )
    error = found["sic_cut"].error / found["sic_cut"].value
    assert error == pytest.approx(spread, rel=0.3)
    nothing = significance_improvements(scores * (target + 0.01), target, np.ones(len(target)))
    assert nothing["sic_cut"].value == np.inf


def test_every_event_of_a_mixed_sample_counts_one(task, monkeypatch):
    """As in data, however simulation weighs its samples; unequal weights cannot be mixed."""
    of_sample = property(lambda self: np.where(np.asarray(self.source) == 0, 100.0, 1.0))
    monkeypatch.setattr(ShardSet, "weight", of_sample)
    data = task.load()
    rows = drawn(task, data)
    assert np.ptp(data.training_weight[rows]) == pytest.approx(0.0)
    monkeypatch.setattr(ShardSet, "weight", property(lambda self: 1.0 + np.arange(len(self)) % 2))
    with pytest.raises(DataError, match="unequal weights"):
        task.load()


def test_what_cannot_be_mixed_is_refused(task):
    with pytest.raises(DataError, match="cannot be mixed"):
        task.model_copy(update={"n_signal": 100_000}).load()
    with pytest.raises(DataError, match="cannot be mixed"):
        task.model_copy(update={"n_mixed": 100_000}).load()
    with pytest.raises(ConfigError, match="no folds"):
        task.folded(task.load(), Fold(number=0, of=2))
    with pytest.raises(ValidationError, match="stands twice"):
        WeakSupervision(name="w", signal=("a",), background=("a",), n_signal=1)
