"""Jets of many classes: the task, its transfer in every mode, its trees, and its study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from transferline.config import load_config
from transferline.data.batch import Batch
from transferline.data.events import CONSTITUENTS
from transferline.data.prepare import prepare
from transferline.data.readers.jetclass import JetClass
from transferline.data.selections import load_selection
from transferline.errors import ConfigError, DataError
from transferline.learning import source_rows
from transferline.learning.adaptation import transfer
from transferline.learning.baselines import Labelled, Trees, boosted_trees
from transferline.learning.engineered_jets import engineered_jets
from transferline.learning.network_run import Adaptation
from transferline.learning.objectives.supervised import Supervised
from transferline.learning.optim import Optim
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.study import study
from transferline.learning.study_config import StudyConfig
from transferline.learning.tasks.classification import NO_CLASS
from transferline.learning.tasks.jet_tagging import JetTagging
from transferline.learning.transfer_config import TransferConfig
from transferline.models.backbones.part import ParT
from transferline.models.checkpoint import Checkpoint
from transferline.models.features import JETCLASS_FEATURES
from transferline.models.heads import Head
from transferline.testing import check_task

from ..data import jet_files
from .jet_shards import write_class_file, write_jet_shards

STUDIES = Path(__file__).parents[2] / "studies" / "jet_tagging"
THREE = ("QCD", "Hbb", "Tbl")
FEATURES = {
    "particles": JETCLASS_FEATURES["full"],
    "species": "hidden",
    "scaling": "published",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jets")
    return {name: write_jet_shards(folder, name, 260, seed=i) for i, name in enumerate(THREE)}


def task(places, **changes) -> JetTagging:
    samples = {name: [name] for name in THREE}
    values = {"name": "t", "class_samples": samples, "valid_share": 0.0, **changes}
    return JetTagging.model_validate(values).located(places)


@pytest.fixture(scope="module")
def checkpoint(places, tmp_path_factory):
    """A ParT that has seen other jets."""
    folder = tmp_path_factory.mktemp("pretrained")
    files = [str(write_jet_shards(folder, name, 60, seed=50 + i)) for i, name in enumerate(THREE)]
    config = PretrainConfig.model_validate(
        {
            "data": {"kind": "shards", "files": files},
            "classes": {name: [file] for name, file in zip(THREE, files, strict=True)},
            "features": FEATURES,
            "backbone": ParT.example().to_dict(),
            "objective": Supervised().to_dict(),
            "optim": {"steps": 3, "batch_size": 32},
        }
    )
    return Checkpoint.load(pretrain(config, folder / "part", label=None))


def test_the_task_keeps_what_tasks_promise(places):
    check_task(task(places))
    check_task(task(places, subset="natural"))
    two = {"class_samples": {"QCD": ["QCD"], "Tbl": ["Tbl"]}}
    check_task(task(places, **two))  # two classes are as good as ten


def test_classes_by_sample_and_by_label_are_the_same(places):
    by_sample = task(places).load()
    by_label = task(places, class_samples={}, mixed_samples=THREE, labels=THREE).load()
    for name in ("target", "pool", "test", "training_weight"):
        assert np.array_equal(getattr(by_sample, name), getattr(by_label, name)), name


def test_jets_of_other_classes_take_no_part(tmp_path):
    jets = jet_files.write_jetclass(tmp_path / "all.root", jet_files.random_jets(400, 3))
    place = tmp_path / "all"
    prepare(JetClass(files=[str(jets)]), load_selection("jets"), place, sample="all")
    fields = {"class_samples": {}, "mixed_samples": ["all"], "labels": ["Hcc", "QCD"]}
    data = task({"all": place}, **fields).load()
    of_a_class = data.target != NO_CLASS
    assert of_a_class.sum() == 80 and of_a_class[[0, 2]].all()  # jet i is of class i modulo 10
    assert data.target[[0, 2]].tolist() == [1, 0]
    used = np.concatenate((data.pool, data.valid, data.test))
    assert of_a_class[used].all() and len(used) == 80


def test_a_sample_that_is_not_of_its_class_is_refused(places):
    wrong = {"QCD": ["QCD"], "Hbb": ["Tbl"]}
    with pytest.raises(DataError, match="260 jets in the samples of class Hbb do not carry"):
        task(places, class_samples=wrong).load()
    with pytest.raises(DataError, match=r"no label 'Hbbb'.*Did you mean 'Hbb'"):
        task(places, class_samples={}, mixed_samples=["QCD"], labels=["QCD", "Hbbb"]).load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class_samples: {}", "either `class_samples`, or `mixed_samples`"),
        ("class_samples: {QCD: [a]}", "at least two classes"),
        ("class_samples: {QCD: [a], Hbb: [a]}", "a sample stands twice"),
        ("class_samples: {QCD: [a], Hbb: [b]}\n  labels: [QCD, Hcc]", "`labels` tell classes"),
        ("class_samples: {QCDs: [a], Hbb: [b]}", "no class 'QCD'.*Did you mean 'QCDs'"),
        ("mixed_samples: [a]\n  efficiency: {Tblv: 99}", "'Tblv' is no class.*Did you mean 'Tbl'"),
        ("mixed_samples: [a]\n  efficiency: {Tbl: 100}", "less than 100"),
    ],
)
def test_bad_tasks_are_explained_with_their_line(tmp_path, text, message):
    file = tmp_path / "t.yaml"
    file.write_text(f"task:\n  kind: jet_tagging\n  name: t\n  {text}\n")
    with pytest.raises(ConfigError, match=message) as error:
        load_config(file, TransferConfig)
    assert "t.yaml:" in str(error.value)


def test_a_task_is_read_back_as_it_was(places):
    plain = task(places)
    assert JetTagging.model_validate(plain.to_dict()) == plain
    assert plain.question().metric("Tbl") == "rejection_99.5_Tbl"
    other = task(places, efficiency={"Tbl": 80, "Hbb": 30}).question()
    assert [other.metric(name) for name in other.signals()] == [
        "rejection_30_Hbb",
        "rejection_80_Tbl",
    ]


@pytest.mark.parametrize("mode", ["scratch", "frozen", "finetuned", "fixed", "trees"])
def test_every_mode_transfers_to_many_classes(places, checkpoint, tmp_path, mode):
    how = Adaptation(optim=Optim(steps=20, batch_size=64), lr=(3e-3,), min_steps=20)
    record = transfer(
        None if mode == "trees" else checkpoint,
        task(places),
        mode,
        n_train=300,
        seed=0,
        how=Trees(leaves=(4,), rounds=10) if mode == "trees" else how,
        out=tmp_path,
        keep_checkpoint=mode == "finetuned",
    )
    assert list(record.metrics)[:2] == ["auc", "accuracy"]
    assert {"rejection_50_Hbb", "rejection_99.5_Tbl"} < set(record.metrics)
    auc = record.metrics["auc"]
    if mode not in ("frozen", "fixed"):  # those have next to nothing to start from
        assert auc.value - 0.5 > 4 * auc.error
    assert np.array(record.extra["confusion"]).sum(1) == pytest.approx(1.0, abs=1e-3)
    assert record.extra["classes"] == list(THREE)
    with np.load(tmp_path / "scores.npz") as kept:
        assert kept["test_score"].shape == (len(kept["test_target"]), 3)
        assert kept["test_score"].sum(1) == pytest.approx(1.0, abs=1e-5)
    if mode == "finetuned":
        config = json.loads((tmp_path / "checkpoint" / "config.json").read_text())
        assert config["provenance"]["classes"] == list(THREE)


def test_scores_do_not_depend_on_the_order_in_which_jets_are_padded(places, checkpoint, tmp_path):
    """Long sets are scored by rising length; every jet gets its own scores back."""
    found = []
    for short in (0, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source_rows, "_SHORT", short)
            how = Adaptation(optim=Optim(steps=1, batch_size=32), min_steps=1)
            out = tmp_path / str(short)
            transfer(checkpoint, task(places), "scratch", n_train=30, seed=0, how=how, out=out)
        with np.load(out / "scores.npz") as kept:
            found.append(kept["test_score"])
    assert np.allclose(*found, atol=1e-5)


def test_trees_know_classes_that_a_subset_lacks():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 2], 50)
    fit = Labelled((rng.normal(size=(100, 2)) + y[:, None]).astype(np.float32), y, np.ones(100))
    found = boosted_trees(Trees(leaves=(4,), rounds=5), fit, fit, seed=0, n_classes=4)
    scores = found.scores(fit.x)
    assert scores.shape == (100, 4) and (scores[:, [1, 3]] == 0).all()
    assert (scores.argmax(1) == y).mean() > 0.9


# pt, eta, phi, mass, charge, species, d0, d0err: one jet that can be checked by hand
JET = [
    (60.0, 0.1, 0.0, 0.14, 1, "charged_hadron", 0.4, 0.1),
    (30.0, -0.2, 0.0, 0.0, 0, "photon", 0.0, 0.0),
    (10.0, 0.0, 0.3, 0.106, -1, "muon", -0.05, 0.02),
]


def one_jet(width=4) -> Batch:
    p4, is_real = torch.zeros(1, width, 4), torch.arange(width).unsqueeze(0) < len(JET)
    names = ("charge", "species", "d0", "d0err")
    columns = {name: torch.zeros(1, width) for name in names}
    for i, (*four, charge, species, d0, error) in enumerate(JET):
        p4[0, i] = torch.tensor(four)
        for name, value in zip(names, (charge, CONSTITUENTS[species], d0, error), strict=True):
            columns[name][0, i] = value
    context = {"jet_tau1": 0.4, "jet_tau2": 0.1, "jet_tau3": 0.0, "jet_mass": 80.0}
    return Batch(
        p4=p4,
        is_real=is_real,
        weight=torch.ones(1),
        id=torch.zeros(1, 3, dtype=torch.int64),
        columns=columns,
        context={name: torch.tensor([value]) for name, value in context.items()},
    )


@pytest.mark.parametrize("width", [3, 16])
def test_features_of_a_jet_computed_by_hand(width):
    names, values = engineered_jets(one_jet(width))
    found = dict(zip(names, values[0].tolist(), strict=True))
    expected = {
        "jet_mass": 80.0,
        "tau21": 0.25,
        "tau32": 0.0,
        "multiplicity": 3,
        "ptd": 0.01 * np.sqrt(60**2 + 30**2 + 10**2),
        "n_photon": 1,
        "share_photon": 0.3,
        "hardest_muon": 0.1,
        "n_electron": 0,
        "abs_charge": 0,
        "abs_jet_charge": (np.sqrt(60) - np.sqrt(10)) / 10,
        "n_tracks": 2,
        "n_displaced_3": 1,
        "n_displaced_2": 2,
        "share_displaced_3": 0.6,
        "significance_1": 4.0,
        "significance_2": 2.5,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert np.isnan(found["significance_3"])  # there are two tracks
    assert "jet_sdmass" not in found and "tau43" not in found  # no such columns


@pytest.mark.parametrize("scale", ["smoke", "cpu", "paper"])
def test_the_scales_of_the_study_parse(scale):
    config = load_config(STUDIES / f"{scale}.yaml", StudyConfig)
    assert config.scale == scale
    (asked,) = config.questions()
    assert asked.classes() == jet_files.CLASSES
    assert set(config.grid.modes) == {"scratch", "trees"}
    assert list(config.pretrain) == ["ParT", "transformer", "deep_sets"]
    inputs = {variant.features.particles for variant in config.pretrain.values()}
    assert inputs == {JETCLASS_FEATURES["full"]}


def test_the_published_scale_survives_its_first_steps_on_a_stand_in(tmp_path):
    paper = load_config(STUDIES / "paper.yaml", StudyConfig).to_dict()
    for seed, (sample, name) in enumerate(zip(paper["samples"], jet_files.CLASSES, strict=True)):
        given = paper["samples"][sample]["reader"]
        (pattern,) = given["files"]
        file = tmp_path / Path(pattern).name.replace("*", "000")
        given["files"] = [str(write_class_file(file, name, 40, seed))]
    few = {"steps": 3, "batch_size": 16, "validate_every": None}
    paper["scratch"] |= {"min_steps": 1, "optim": {**paper["scratch"]["optim"], **few}}
    paper["pretrain"] = {"ParT": {**paper["pretrain"]["ParT"], "n_train": 30}}
    paper["trees"] |= {"leaves": [4], "rounds": 3}
    paper["task"] |= {"test_share": 0.4}
    paper["grid"] |= {"n_train": [60], "seeds": 1}
    out = study(StudyConfig.model_validate(paper), tmp_path / "out", cache=tmp_path / "cache")
    assert len(list((out / "runs").iterdir())) == 2
    recipe = Checkpoint.load(out / "pretrain" / "ParT").recipe
    whole = recipe.model_copy(update={"head": Head(), "n_outputs": 10}).build()
    assert sum(p.numel() for p in whole.parameters()) == 2_143_486  # as published
