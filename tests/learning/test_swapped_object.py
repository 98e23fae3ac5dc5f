from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from transferline.data.batch import PT, Batch
from transferline.learning.objectives.swapped_object import SwappedObject, exchanged
from transferline.testing.batches import toy_batch
from transferline.testing.objective import tiny_model


def drawn(batch, probability=0.3):
    return SwappedObject(probability=probability).build(tiny_model()).hidden(batch)


@given(n=st.integers(1, 40), seed=st.integers(0, 99), probability=st.floats(0.05, 0.95))
def test_what_comes_in_is_of_the_same_type_and_of_another_event(n, seed, probability):
    batch = toy_batch(n, seed=seed)
    torch.manual_seed(seed)
    hidden = drawn(batch, probability)
    event = torch.arange(n).unsqueeze(1).expand_as(hidden)
    place = torch.arange(hidden.numel()).reshape(hidden.shape)
    known = batch.replace(columns={**batch.columns, "event": event, "place": place})
    found = exchanged(known, hidden)
    assert torch.equal(found.columns["species"], batch.columns["species"])
    assert torch.equal(found.columns["event"] != event, hidden)
    kept = (batch.is_real & ~hidden).flatten()
    taken = found.columns["place"][hidden]
    assert kept[taken].all()
    assert torch.equal(found.p4[hidden], batch.p4.flatten(0, 1)[taken])
    assert torch.equal(found.p4[~hidden], batch.p4[~hidden])


def test_all_other_objects_are_equally_likely():
    batch = toy_batch(6, p=3, fewest=3)
    species = torch.full_like(batch.columns["species"], 2)
    hidden = torch.zeros_like(batch.is_real)
    hidden[2, 1] = True
    batch = batch.replace(columns={"species": species})
    torch.manual_seed(0)
    seen = torch.stack([exchanged(batch, hidden).p4[2, 1, PT] for _ in range(3000)])
    values, counts = seen.unique(return_counts=True)
    assert len(values) == 15  # five events of three objects
    assert (counts - 200).abs().max() < 5 * 200**0.5


def test_the_only_lepton_of_its_kind_stays():
    batch = toy_batch(20)
    species = batch.columns["species"].clone()
    species[species == 1] = 2
    species[3, 1] = 1
    alone = batch.replace(columns={**batch.columns, "species": species})
    torch.manual_seed(0)
    assert not any(drawn(alone, 0.9)[3, 1] for _ in range(50))


def test_momentum_balance_tells():
    """Two objects back to back: the task can be learnt, and not by counting."""
    torch.manual_seed(0)

    def pairs(n):
        p4 = torch.zeros(n, 2, 4)
        p4[:, :, PT] = 30 + 100 * torch.rand(n, 1)
        p4[:, 0, 2] = 2 * torch.pi * torch.rand(n) - torch.pi
        p4[:, 1, 2] = torch.remainder(p4[:, 0, 2] + 2 * torch.pi, 2 * torch.pi) - torch.pi
        there = torch.ones(n, 2, dtype=torch.bool)
        columns = {"species": torch.full((n, 2), 5), "charge": torch.zeros(n, 2)}
        ids = torch.zeros(n, 3, dtype=torch.int64)
        return Batch(p4=p4, is_real=there, weight=torch.ones(n), id=ids, columns=columns)

    objective = SwappedObject(probability=0.5).build(tiny_model())
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        objective(pairs(256)).total.backward()
        optimizer.step()
    with torch.no_grad():
        assert objective(pairs(2000)).total < 0.6  # 0.69 without knowledge
