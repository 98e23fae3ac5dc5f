from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from transferline.cli import run
from transferline.errors import ConfigError, DataError
from transferline.evaluation.two_sample import wasserstein
from transferline.learning.jet_sampling import load_generator, sample_codes
from transferline.learning.objectives.next_token import NextToken, by_falling_pt
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.tokenizing import TokenizeConfig, tokenize
from transferline.models.backbones.deepsets import DeepSets
from transferline.models.model import ModelRecipe
from transferline.reporting.generated_jets import compare_generated
from transferline.testing import check_objective
from transferline.testing.objective import tiny_model

from ..models.jets import random_jets
from .jet_shards import write_jet_shards

THREE = {"particles": ["log_pt", "delta_eta", "delta_phi"], "species": "hidden"}
TINY = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2, "hidden": 16, "causal": True}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Shards of jets, a tokenizer of eight codes, a generator of jets from a short training."""
    folder = tmp_path_factory.mktemp("next_token")
    shards = write_jet_shards(folder, "QCD", 300, 1)
    data = {"kind": "shards", "files": [str(shards)]}
    codes = {"kind": "kmeans", "codes": 8}
    tokenize(
        TokenizeConfig.model_validate({"data": data, "features": THREE, "tokenizer": codes}),
        folder / "codes",
        label=None,
    )
    objective = {
        "kind": "next_token",
        "tokenizer": str(folder / "codes"),
        "inputs": "tokens",
    }
    config = {
        "data": data,
        "features": THREE,
        "backbone": TINY,
        "objective": objective,
        "optim": {"steps": 60, "batch_size": 64, "lr": 1e-2},
    }
    pretrain(PretrainConfig.model_validate(config), folder / "pre", label=None)
    return folder, shards, config


def test_with_tokens_it_keeps_the_promises(made):
    config = made[2]
    model = ModelRecipe.model_validate({"features": THREE, "backbone": TINY}).build()
    objective = NextToken.model_validate(config["objective"]).build(model)
    before = {n: t.clone() for n, t in objective.tokenizer.state_dict().items()}
    objective.train()(random_jets([5, 9, 0])).total.backward()
    after = objective.tokenizer.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    check_objective(NextToken())


def test_no_place_sees_a_later_particle(made):
    folder = made[0]
    generator = load_generator(folder / "pre").generator()
    batch = by_falling_pt(random_jets([12, 12]))
    asked = torch.ones(2, 13, dtype=torch.bool)
    codes = generator.tokenizer(batch)
    inputs = generator._inputs(batch, codes)
    before = generator.logits(inputs, asked).view(2, 13, -1)
    inputs.x[:, 7:] += 1.0
    after = generator.logits(inputs, asked).view(2, 13, -1)
    torch.testing.assert_close(after[:, :8], before[:, :8])
    assert (after[:, 8:] - before[:, 8:]).abs().amin(-1).max() > 1e-4
    assert torch.equal(codes, generator.tokenizer(batch))


def test_what_is_drawn_has_the_probabilities_that_were_learnt(made):
    """First codes come with the probability behind the start; jets end where stop is drawn."""
    folder = made[0]
    generator = load_generator(folder / "pre").generator()
    torch.manual_seed(0)
    codes, is_real = sample_codes(generator, 4000, most=30)
    assert (is_real.int().diff(dim=1) <= 0).all()  # padding stands behind
    empty = generator._inputs(random_jets([0]), torch.zeros(1, 1, dtype=torch.int64))
    start = torch.zeros(1, 2, dtype=torch.bool)
    start[0, 0] = True
    wanted = generator.logits(empty, start).softmax(-1)[0]
    found = torch.bincount(
        torch.where(is_real[:, 0], codes[:, 0], generator.stop), minlength=generator.stop + 1
    )
    expected = 4000 * wanted.double() / wanted.double().sum()
    likely = expected > 5
    chi2 = ((found - expected)[likely] ** 2 / expected[likely]).sum()
    assert stats.chi2.sf(float(chi2), int(likely.sum())) > 1e-3


def test_generated_jets_are_compared_with_real_ones(made, tmp_path):
    folder, shards, _ = made
    found = compare_generated(folder / "pre", shards, tmp_path, n=200)
    assert json.loads((tmp_path / "generated.json").read_text()) == found
    assert (tmp_path / "generated-mass.png").exists()
    for numbers in found["quantities"].values():
        assert numbers["w1_generated"] < 3 * numbers["spread"]
    multiplicity = found["quantities"]["multiplicity"]
    assert multiplicity["w1_tokens"] == 0  # tokens keep the number of particles


def test_a_page_of_generated_jets_names_its_command_and_no_machine(
    made, tmp_path, monkeypatch, capsys
):
    """Without DATA the real jets are those of the pre-training."""
    folder, shards, _ = made
    monkeypatch.chdir(tmp_path)
    words = ["tokenize", "sample", str(folder / "pre"), "-o", str(tmp_path / "out"), "-n", "60"]
    assert run([*words, "--markdown", "pages/generated jets.md"]) == 0
    assert "wrote page: pages/generated jets.md" in capsys.readouterr().out
    text = Path("pages/generated jets.md").read_text()
    command = "transferline tokenize sample pre --out out -n 60 --seed 0 --markdown"
    assert f"{command} 'pages/generated jets.md'" in text
    assert "60 real ones: QCD. They are those of the pre-training" in text
    assert str(tmp_path) not in text and str(folder) not in text
    alone = compare_generated(folder / "pre", [shards, shards], tmp_path / "alone", n=60)
    assert alone["sample"] == "QCD"
    for name, numbers in alone["quantities"].items():
        assert f"| {numbers['mean_generated']:.4g} |" in text
        assert f"(generated%20jets-generated-{name}.png)" in text
        assert Path(f"pages/generated jets-generated-{name}.png").exists()


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_drawn(
    made, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["tokenize", "sample", str(made[0] / "pre"), "-o", "out", "-n", "60", "--markdown"]
    for page in (".", "out/generated.json"):
        assert run([*words, page]) == 2
        assert page in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_jets_of_the_pretraining_that_are_gone_are_named(made, tmp_path, capsys):
    folder = made[0]
    shutil.copytree(folder / "pre", tmp_path / "pre")
    place = tmp_path / "pre" / "generator" / "config.json"
    stored = json.loads(place.read_text())
    stored["provenance"]["config"]["data"]["files"] = [f"{tmp_path}/gone*"]
    place.write_text(json.dumps(stored))
    assert run(["tokenize", "sample", str(tmp_path / "pre"), "-o", str(tmp_path / "out")]) != 0
    assert f"the jets of this pre-training are not at {tmp_path}/gone*" in capsys.readouterr().err


def test_what_cannot_generate_is_refused(made, tmp_path):
    config = made[2]
    with pytest.raises(ConfigError, match="tell nothing of eta, sin_phi"):
        NextToken.model_validate(config["objective"]).build(tiny_model())
    with pytest.raises(ConfigError, match="cannot hide later particles"):
        model = tiny_model()
        NextToken().build(type(model)(model.features, DeepSets().build(model.features.spec)))
    with pytest.raises(ValidationError, match="needs `tokenizer`"):
        NextToken(inputs="tokens")
    with pytest.raises(DataError, match="nothing else generates jets"):
        load_generator(tmp_path)


def test_a_tokenizer_that_moved_is_the_same(made):
    config = PretrainConfig.model_validate(made[2])
    other = {**made[2], "objective": {**made[2]["objective"], "tokenizer": "elsewhere"}}
    assert PretrainConfig.model_validate(other).digest() == config.digest()


def test_wasserstein_is_that_of_scipy():
    random = np.random.default_rng(0)
    a, b = random.normal(size=400), random.exponential(size=300)
    assert np.isclose(wasserstein(a, b), stats.wasserstein_distance(a, b))
