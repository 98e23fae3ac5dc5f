"""weaver-core reads generated files as they are, and its Particle Transformer learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from transferline.data.layouts.jetclass import CLASSES

from .conftest import read

CARD = Path(__file__).parent / "jetclass_card.yaml"


@pytest.fixture
def batch(made, tmp_path):
    """All jets of three classes through weaver's own loader, in the order of its shuffling."""
    dataset = pytest.importorskip("weaver.utils.dataset")
    card = tmp_path / CARD.name  # weaver writes its derived card beside this one
    card.write_text(CARD.read_text())
    files = {name: [str(made(name).path)] for name in ("QCD", "Hbb", "Tbl")}
    data = dataset.SimpleIterDataset(
        files, str(card), for_training=True, fetch_step=1, async_load=False
    )
    return next(iter(DataLoader(data, batch_size=36, num_workers=0)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weaver_trains_on_generated_jets(batch, made):
    inputs, labels, _ = batch
    assert {name: tuple(values.shape) for name, values in inputs.items()} == {
        "pf_points": (36, 2, 128),
        "pf_features": (36, 17, 128),
        "pf_vectors": (36, 4, 128),
        "pf_mask": (36, 1, 128),
    }
    assert all(torch.isfinite(values).all() for values in inputs.values())
    target = labels["_label_"]
    places = [CLASSES.index(name) for name in ("QCD", "Hbb", "Tbl")]
    assert sorted(target.tolist()) == sorted(places * 12)
    check_inputs(inputs, target, made)
    losses = train(inputs, target)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def check_inputs(inputs, target, made):
    """The features of Hbb jets, found by their hardest particle, are those of the file."""
    jets = read(made("Hbb").path)
    for row in np.flatnonzero(target.numpy() == CLASSES.index("Hbb")):
        hardest = float(inputs["pf_vectors"][row, 0, 0])
        (place,) = np.flatnonzero(np.isclose(jets.part_px[:, 0], hardest, rtol=1e-5))
        n = len(jets.part_px[place])
        assert inputs["pf_mask"][row].sum() == n
        features = inputs["pf_features"][row, :, :n].numpy()
        assert np.allclose(features[5], jets.part_charge[place])
        assert np.allclose(features[11], np.tanh(jets.part_d0val[place]), atol=1e-5)
        pt = np.hypot(jets.part_px[place], jets.part_py[place])
        assert np.allclose(features[0], (np.log(pt) - 1.7) * 0.7, atol=1e-4)


def train(inputs, target):
    module = pytest.importorskip("weaver.nn.model.ParticleTransformer")
    torch.manual_seed(0)
    sizes = {"embed_dims": [16, 16], "pair_embed_dims": [8], "num_heads": 2}
    network = module.ParticleTransformer(
        input_dim=17, num_classes=10, num_layers=1, num_cls_layers=1, trim=False, **sizes
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(4):
        mask = inputs["pf_mask"]
        loss = F.cross_entropy(network(inputs["pf_features"], inputs["pf_vectors"], mask), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
