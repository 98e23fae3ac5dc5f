"""Every backbone that docs/backbones.md names for jets takes them, and has the size it says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch
import yaml

from transferline.models.features import JETCLASS_FEATURES, Features
from transferline.models.model import ModelRecipe

from .jets import random_jets

PAGE = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text()
ROWS = re.findall(r"^\| `(\{kind: .*\})` \| ([\d,]+) \|$", PAGE, re.MULTILINE)
FEATURES = Features(
    **yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])["features"]
)


def test_the_features_are_those_of_the_published_models():
    assert FEATURES.particles == JETCLASS_FEATURES["full"]
    assert len(ROWS) == 8


@pytest.mark.parametrize(("text", "parameters"), ROWS, ids=[text for text, _ in ROWS])
def test_sizes_and_jets_of_any_length(text, parameters):
    settings = yaml.safe_load(text)
    if settings["kind"] == "lgatr" and importlib.util.find_spec("lgatr") is None:
        pytest.skip("lgatr is not installed")
    torch.manual_seed(0)
    model = ModelRecipe(features=FEATURES, backbone=settings).build().eval()
    assert sum(p.numel() for p in model.parameters()) == int(parameters.replace(",", ""))
    if int(parameters.replace(",", "")) > 500_000:
        return  # the same code at a size that takes long
    with torch.no_grad():
        longest = model.latent(random_jets([128, 7])).pooled
        padded = random_jets([1, 2, 45], p=128)
        pooled = [model.latent(batch).pooled for batch in (padded, trimmed(padded, 48))]
    assert longest.isfinite().all() and longest.shape == (2, model.backbone.width)
    torch.testing.assert_close(*pooled, atol=1e-5, rtol=1e-4)


def trimmed(batch, p):
    columns = {name: values[:, :p] for name, values in batch.columns.items()}
    return batch.replace(p4=batch.p4[:, :p], is_real=batch.is_real[:, :p], columns=columns)
