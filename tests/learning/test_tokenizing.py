"""`tokenize train` and `inspect`, and a pre-training with the tokenizer, on files of jets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from transferline.cli import run
from transferline.config import load_config
from transferline.data.prepare import prepare
from transferline.data.readers.jetclass import JetClass
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import load_selection
from transferline.errors import ConfigError, DataError
from transferline.evaluation import records
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.source_costs import cost_facts
from transferline.learning.study import study
from transferline.learning.study_config import StudyConfig
from transferline.models.checkpoint import Checkpoint
from transferline.models.tokenizer_checkpoint import TokenizerCheckpoint
from transferline.testing import toy_shards

from ..data import jet_files

SIZE = "{kind: transformer, width: 16, depth: 1, heads: 2, hidden: 16}"
KMEANS = "tokenizer: {kind: kmeans, codes: 64, batch_size: 512, passes: 5}"
VQVAE = f"""
tokenizer: {{kind: vqvae, codes: 32, latent: 4, encoder: {SIZE}, decoder: {SIZE}}}
optim: {{steps: 60, batch_size: 32, lr: 3e-3, validate_every: 10}}
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jets")
    file = jet_files.write_jetclass(folder / "a.root", jet_files.random_jets(400, 1))
    prepare(JetClass(files=[str(file)]), load_selection("jets"), folder / "jets", sample="jets")
    return folder / "jets"


def write(folder, shards, text):
    file = folder / "tokens.yaml"
    file.write_text(f"data: {{kind: shards, files: [{shards}]}}\n{text}")
    return str(file)


@pytest.fixture(scope="module")
def made(shards, tmp_path_factory):
    """Both tokenizers."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, text in (("kmeans", KMEANS), ("vqvae", VQVAE)):
        config = write(folder, shards, text)
        assert run(["tokenize", "train", config, "--out", f"{folder}/{name}"]) == 0
    return folder


@pytest.mark.parametrize("kind", ["kmeans", "vqvae"])
def test_resuming_a_finished_tokenizer_leaves_it(kind, made, shards, tmp_path, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in (made / kind).iterdir()}
    config = write(tmp_path, shards, {"kmeans": KMEANS, "vqvae": VQVAE}[kind])
    assert run(["tokenize", "train", config, "--out", f"{made}/{kind}", "--resume"]) == 0
    assert "is finished" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in (made / kind).iterdir()} == before


@pytest.mark.parametrize("kind", ["kmeans", "vqvae"])
def test_a_tokenizer_is_made_and_tells_how_good_it_is(kind, made, shards):
    found = TokenizerCheckpoint.load(made / kind)
    numbers = found.provenance["quality"]
    assert 0.2 < numbers["usage"] <= 1
    assert 4 < numbers["perplexity"] <= found.recipe.tokenizer.codes * numbers["usage"] + 1e-3
    assert numbers["l2"] < 0.5  # of a variance of 1
    assert f"{numbers['perplexity']:.1f}" in found.card
    assert sum(part["events"] for part in found.seen.describe()) == len(ShardSet([shards]))
    assert not (made / kind / "training").exists()
    assert cost_facts(found.provenance)["cpu_seconds"] > 0


def test_kmeans_counts_only_the_jets_that_it_read(shards, tmp_path):
    few = write(tmp_path, shards, f"{KMEANS}\nparticles: 2000\nvalid_share: 0")
    assert run(["tokenize", "train", few, "--out", f"{tmp_path}/few"]) == 0
    found = TokenizerCheckpoint.load(tmp_path / "few").provenance
    sizes = ShardSet([shards]).n_particles
    assert found["n_train"] == len(sizes)
    # Every seventh jet: a step of six would be more particles than were asked for.
    assert found["result"]["examples_seen"] == len(sizes[::7]) < round(2000 / sizes.mean())


def test_the_codes_of_a_vqvae_are_learned(made):
    rows = [json.loads(r) for r in (made / "vqvae" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["val_reconstruction"] < 0.8 * rows[0]["val_reconstruction"]
    assert rows[-1]["val_perplexity"] > 4


def test_inspect_draws_every_quantity(made, shards, tmp_path, capsys):
    words = ["tokenize", "inspect", f"{made}/kmeans", str(shards), "--out", str(tmp_path)]
    assert run([*words, "-n", "200", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["events"] == 200
    assert set(found["quantities"]) == {"pt", "eta", "phi", "multiplicity", "mass"}
    for name in (*found["quantities"], "codes"):
        assert (tmp_path / f"tokens-{name}.png").stat().st_size > 5000
    pt = found["quantities"]["pt"]
    assert pt["median_difference"] < 0.5 * pt["spread"]
    assert json.loads((tmp_path / "tokenizer.json").read_text()) == found


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(made, shards, tmp_path):
    config = write(tmp_path, shards, VQVAE.replace("steps: 60", "steps: 100"))
    words = [sys.executable, "-m", "transferline", "tokenize", "train", config, "--out"]
    log = tmp_path / "cut" / "training" / "metrics.jsonl"
    with subprocess.Popen([*words, f"{tmp_path}/cut"], stderr=subprocess.PIPE, text=True) as cut:
        while not (log.exists() and log.read_text()) and cut.poll() is None:
            time.sleep(0.05)
        os.kill(cut.pid, signal.SIGTERM)
        message = cut.communicate()[1]
    assert cut.returncode != 0
    assert "--resume" in message
    told = log.with_name("resolved.json").read_text()
    other = write(tmp_path, shards, VQVAE.replace("steps: 60", "steps: 7"))
    assert run(["tokenize", "train", other, "--out", f"{tmp_path}/cut", "--resume"]) == 3
    assert log.with_name("resolved.json").read_text() == told
    write(tmp_path, shards, VQVAE.replace("steps: 60", "steps: 100"))
    for name in ("cut", "whole"):
        words = ["tokenize", "train", config, "--out", f"{tmp_path}/{name}", "--resume"]
        assert run(words) == 0
    cut, whole = (TokenizerCheckpoint.load(tmp_path / name).tensors for name in ("cut", "whole"))
    assert all(torch.equal(cut[name], value) for name, value in whole.items())


def pretraining(shards, tokenizer, kind="kmeans"):
    return PretrainConfig.model_validate(
        {
            "data": {"kind": "shards", "files": [str(shards)]},
            "features": {"particles": ["log_pt", "delta_eta", "delta_phi"], "species": "hidden"},
            "backbone": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
            "objective": {
                "kind": "masked_particles",
                "target": kind,
                "tokenizer": str(tokenizer),
                "reader": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
            },
            "optim": {"steps": 20, "batch_size": 32, "validate_every": 10},
            "n_train": 100,
        }
    )


def test_a_pretraining_records_its_tokenizer_and_what_that_has_seen(made, shards, tmp_path):
    place = pretrain(pretraining(shards, made / "kmeans"), tmp_path / "pre", label=None)
    found = Checkpoint.load(place)
    tokenizer = TokenizerCheckpoint.load(made / "kmeans")
    assert found.provenance["ingredients"]["tokenizer"]["sha256"] == tokenizer.sha256
    assert found.provenance["parameters"]["other"] < 40_000  # the tokenizer does not count
    # 100 events trained the backbone, all of them the tokenizer.
    assert sum(part["events"] for part in found.seen.describe()) == len(ShardSet([shards]))
    assert not any("tokenizer" in name for name in found.tensors)


def test_bad_input_is_named(made, shards, tmp_path, capsys):
    def fails(text, code, message):
        config = write(tmp_path, shards, text)
        assert run(["tokenize", "train", config, "--out", f"{tmp_path}/bad"]) == code
        assert message in capsys.readouterr().err

    fails("tokenizer: {kind: vqvae}", 2, "is trained: give `optim:`")
    fails(f"{KMEANS}\noptim: {{steps: 3}}", 2, "takes no `optim:`")
    fails("tokenizer: {kind: kmean}", 2, "Did you mean 'kmeans'?")
    fails(KMEANS.replace("64", "100_000"), 3, "make no 100000 codes")
    words = ["tokenize", "inspect", str(tmp_path), str(shards), "--out", f"{tmp_path}/plots"]
    assert run(words) == 3
    assert "is not a checkpoint" in capsys.readouterr().err


STUDY = """
name: tokens
title: Two tokenizers by name
scale: smoke
samples:
  one: {{shards: {one}}}
  two: {{shards: {two}}}
  free: {{shards: {free}}}
tokenizers:
  eight:
    samples: [free]
    features: &angles {{particles: [log_pt, eta, phi], species: hidden}}
    tokenizer: {{kind: kmeans, codes: 8}}
pretrain:
  alone: &variant
    samples: [free]
    features: *angles
    backbone: &tiny {{kind: transformer, width: 16, depth: 1, heads: 2}}
    objective: &masked {{kind: masked_particles, target: kmeans, tokenizer: eight, reader: *tiny}}
    optim: {{steps: 3, batch_size: 64}}
  together: {{<<: *variant, objective: {{kind: joint, parts: [*masked, {{kind: masked_type}}]}}}}
task: {{kind: event_classification, name: toy, signal: [one], background: [two]}}
grid: {{modes: [frozen], n_train: [60], seeds: 1}}
frozen: {{lr: [1e-2], optim: {{steps: 3, batch_size: 64}}}}
"""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("alone", "tokenizer: eight", "tokenizer: ASKED"),
        ("together", "parts: [*masked", "parts: [{<<: *masked, tokenizer: ASKED}"),
    ],
)
def test_a_study_without_a_tokenizer_says_so_before_anything_is_made(name, old, new, tmp_path):
    text = STUDY.format(one="one", two="two", free="free").replace(old, new)
    file = tmp_path / "study.yaml"
    file.write_text(text.replace("ASKED", "eigth"))
    with pytest.raises(ConfigError, match=rf"pretrain\.{name}\..*'eigth'.*Did you mean 'eight'"):
        load_config(file, StudyConfig)
    file.write_text(text.replace("ASKED", str(tmp_path)))
    load_config(file, StudyConfig)  # a directory is opened later


class _Counting(ThreadPoolExecutor):
    """Counts the calls of each function."""

    def __init__(self, workers):
        super().__init__(workers)
        self.calls = Counter()

    def submit(self, function, /, *arguments, **settings):
        self.calls[function.__name__] += 1
        return super().submit(function, *arguments, **settings)


def test_a_study_makes_its_tokenizers_once(tmp_path):
    names = ("one", "two", "free")
    places = {name: toy_shards(tmp_path / name, 250, seed=i) for i, name in enumerate(names)}
    (tmp_path / "study.yaml").write_text(STUDY.format(**places))
    config = load_config(tmp_path / "study.yaml", StudyConfig)
    too_many = load_config(
        tmp_path / "study.yaml", StudyConfig, ("tokenizers.eight.tokenizer.codes=100000",)
    )
    with pytest.raises(DataError, match="codes"):
        study(too_many, tmp_path / "out")
    with _Counting(1) as pool:  # nothing was made, so that it may be corrected
        out = study(config, tmp_path / "out", executor=pool)
    assert pool.calls["_tokenize"] == len(config.tokenizers)
    assert len(records.read(out / "records.jsonl")) == 2
    sha256 = TokenizerCheckpoint.load(out / "tokenizers" / "eight").sha256
    made = out / "tokenizers" / "eight" / "model.safetensors"
    stamp = made.stat().st_mtime_ns
    for name in ("alone", "together"):
        (used,) = Checkpoint.load(out / "pretrain" / name).provenance["ingredients"].values()
        assert used["sha256"] == sha256
    study(config, out)
    assert made.stat().st_mtime_ns == stamp
    more = ("tokenizers.eight.tokenizer.codes=9",)
    with pytest.raises(DataError, match="eight: was made with other settings or data"):
        study(load_config(tmp_path / "study.yaml", StudyConfig, more), out)
