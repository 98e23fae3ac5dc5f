"""The page on jets: moments beside those that the network's own features give, and the verdicts."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pytest

from transferline.cli import run
from transferline.data.layouts.jetclass import CLASSES
from transferline.errors import ConfigError, DataError
from transferline.validation import jet_calibration, jet_evidence, jet_shift, jets
from transferline.validation.check import Verdict
from transferline.validation.jet_evidence import SHIFTED, JetEvidence
from transferline.validation.jet_file import JetFile
from transferline.validation.jet_moments import inputs, jetclass_moments, moments, sums

from ..data.jet_files import random_jets, write_jetclass


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jets")
    counts = np.random.default_rng(0).integers(1, 160, (len(CLASSES), 60))
    return {
        name: JetFile(write_jetclass(folder / f"{name}.root", random_jets(60, i, counts=counts[i])))
        for i, name in enumerate(CLASSES)
    }


def test_moments_are_those_of_the_inputs_that_a_network_sees(files):
    found = moments(files)
    columns = [inputs(file) for file in files.values()]
    for name, known in found.items():
        places = np.concatenate(
            [
                ak.to_numpy(ak.fill_none(ak.pad_none(1.0 * c[name], 128, clip=True), 0.0))
                for c in columns
            ]
        )
        assert places.shape == (600, 128)
        assert known.mean.value == pytest.approx(places.mean(), abs=1e-6)
        assert known.variance.value == pytest.approx(places.var(), rel=1e-4)


def test_errors_cover_what_other_jets_give(files):
    jets_of = [sums(file) for file in files.values()]
    rng = np.random.default_rng(1)
    again = []
    for _ in range(60):
        drawn = [s[:, rng.integers(0, s.shape[1], s.shape[1])] for s in jets_of]
        mean = np.mean([d[0].mean(axis=0) for d in drawn], axis=0)
        again.append(np.mean([d[1].mean(axis=0) for d in drawn], axis=0) - mean**2)
    for known, spread in zip(moments(files).values(), np.std(again, axis=0), strict=True):
        assert known.variance.error == pytest.approx(spread, rel=0.4)


def test_formulas_of_the_inputs(tmp_path):
    jets_ = random_jets(20, 3)
    found = inputs(JetFile(write_jetclass(tmp_path / "x.root", jets_)))
    parent = jets_.parent
    expected = {
        "pt_log": 0.7 * (np.log(jets_.pt) - 1.7),
        "logerel": 0.7 * (np.log(jets_.energy / jets_.jet_energy[parent]) + 4.7),
        "d0": np.tanh(jets_.d0),
        "isPhoton": jets_.kind == 2,
    }
    for name, values in expected.items():
        assert np.allclose(ak.flatten(found[name]), values, atol=2e-4), name
    assert list(found) == list(jetclass_moments().moments)
    assert ak.max(abs(found["deltaR"])) <= 5.0


def evidence(files, n=60):
    return JetEvidence(files, {"other": {name: files[name] for name in SHIFTED}}, n, 1)


def test_random_jets_are_not_those_of_jetclass(files):
    checks = jet_calibration.find(evidence(files)).checks
    assert len(checks) == 36
    verdicts = {check.quantity: check.verdict for check in checks}
    assert verdicts["mean of isElectron"] != Verdict.AGREES
    assert verdicts["mean of charge"] == Verdict.AGREES


def test_tolerances_are_those_that_were_asked_for(files):
    tolerance = {c.quantity: c.tolerance for c in jet_calibration.find(evidence(files)).checks}
    assert tolerance["variance of deta"] == pytest.approx(0.1 * 0.013929)
    assert tolerance["mean of pt_log"] == pytest.approx(0.1 * 0.042667)
    assert tolerance["mean of deta"] == pytest.approx(0.02 * np.sqrt(0.013929))


def test_page_by_the_command(files, tmp_path, monkeypatch, capsys):
    asked = []

    def made(sample, _cache, *, jobs):
        asked.append(sample)
        return files[sample.jets].path

    monkeypatch.setattr(jet_evidence, "generated_file", made)
    out = tmp_path / "jets.md"
    assert run(["validate", "jets", "--out", str(out), "--n", "60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 60
    assert len(found["sections"]) == 6
    assert {sample.jets for sample in asked} == set(CLASSES)
    assert {sample.detector for sample in asked} == {"cms", "atlas"}
    text = out.read_text()
    for picture in (tmp_path / "validation").glob("*.png"):
        assert f"validation/{picture.name}" in text
        assert picture.stat().st_size < 300_000


def test_sherpa_is_a_variant_where_it_is(files, tmp_path, monkeypatch):
    asked = []

    def made(sample, _cache, *, jobs):
        asked.append((sample.generator, sample.jets))
        return files[sample.jets].path

    monkeypatch.setattr(jet_evidence, "generated_file", made)
    for there in (False, True):
        monkeypatch.setattr(jet_evidence, "_has_sherpa", lambda there=there: there)
        asked.clear()
        found = jet_evidence.gather(60, 1)
        of_sherpa = [name for generator, name in asked if generator == "sherpa"]
        assert of_sherpa == (["QCD", "Tbqq"] if there else [])
        assert ("Sherpa" in found.shifted) is there
    titles = {table.title: [row[0] for row in table.rows] for table in jet_shift.find(found).tables}
    assert "Sherpa" in titles["QCD jets"]
    assert "Sherpa" not in titles["Hbb jets"]


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(ConfigError, match="at least 20 jets"):
        jets.validate_jets(tmp_path / "x.md", n=5, seed=1)
    (tmp_path / "no.root").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is not a file of JetClass"):
        JetFile(tmp_path / "no.root").count()
