"""The program behind `make bench-pretrain` counts what torch counts, and writes what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Inputs, InputSpec

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "benchmarks" / "results" / "pretrain.json"


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr("transferline.runtime.prepare_process", lambda: None)
    from benchmarks import pretrain

    return pretrain


@pytest.mark.parametrize("hidden", [None, 40])
def test_useful_arithmetic_is_what_torch_counts_on_full_events(program, hidden):
    """Without padding nothing is useless: all matrix products, forward and backward."""
    recipe = Transformer(width=16, depth=3, heads=2, hidden=hidden)
    backbone = recipe.build(InputSpec(n_features=5))
    backbone.fused = False  # torch counts no arithmetic of kernels
    x, is_real = torch.randn(32, 8, 5), torch.ones(32, 8, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        backbone(Inputs(x=x, p4=torch.zeros(32, 8, 4), is_real=is_real)).pooled.sum().backward()
    found = program.useful_flops(recipe, 5, is_real.sum(1))
    assert found == pytest.approx(counter.get_total_flops())


def test_padding_is_no_useful_arithmetic(program):
    recipe = Transformer(width=16, depth=1, heads=2)
    one = program.useful_flops(recipe, 5, torch.tensor([4]))
    assert program.useful_flops(recipe, 5, torch.tensor([4, 0, 4])) == 2 * one
    assert program.useful_flops(recipe, 5, torch.tensor([8])) > 2 * one  # pairs


def test_the_program_writes_rates_shares_and_the_published_figures(program, tmp_path, capsys):
    out = tmp_path / "pretrain.json"
    with torch.random.fork_rng():
        program.main(["--seconds", "0", "--only", "spine pre-training", "--out", str(out)])
    found = json.loads(out.read_text())
    assert set(found["trainings"]) == {
        "spine pre-training",
        "spine pre-training, float32",
        "spine pre-training, plain attention",
    }
    for row in found["trainings"].values():
        for name in ("events_per_s", "share_of_ceiling", "loader_share"):
            assert 0 < row[name]["min"] <= row[name]["median"] <= row[name]["max"]
        assert row["loader_share"]["max"] < 0.5
        assert row["parameters"]["classifier"] == 97 * 5
    assert found["published"]["batches_per_s"] == 20
    assert found["target"] == {"share_of_ceiling": 0.6, "of": "cpu pre-training", "met": False}
    assert "of the ceiling" in capsys.readouterr().out


def test_the_table_says_what_the_program_wrote():
    """Numbers on the page are rounded from the committed results."""
    page = (ROOT / "benchmarks" / "README.md").read_text()
    section = page.partition("make bench-pretrain\n")[2].partition("\n## ")[0]
    found = json.loads(COMMITTED.read_text())["trainings"]
    row = r"^\| ([a-z][^|]*) \| [^|]* \| ([\d,]+) \| ([\d.]+) \|"
    rows = re.findall(row, section, re.MULTILINE)
    assert {name for name, _, _ in rows} == set(found)
    for name, rate, share in rows:
        assert int(rate.replace(",", "")) == pytest.approx(
            found[name]["events_per_s"]["median"], abs=51
        )
        assert float(share) == round(found[name]["share_of_ceiling"]["median"], 2)
