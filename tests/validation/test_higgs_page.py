"""The page on the HIGGS benchmark: with a file of our own making, and with the real one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from transferline.cli import run
from transferline.validation.cascade_masses import JETS, MASSES
from transferline.validation.higgs_events import decays, generate
from transferline.validation.higgs_file import KINDS, HiggsFile, description

from ..conftest import REAL_DATA

N, SEED = 400, 3
REAL = Path(os.environ.get("TRANSFERLINE_HIGGS_FILE", REAL_DATA / "Higgs_data.root"))


def write_like_the_benchmark(events, path):
    """Write events as the benchmark has them: columns over their units, tags as 0 or 2."""
    with uproot.recreate(path) as file:
        for kind in KINDS:
            file[description().trees[kind]] = {
                name: (values / description().units.get(name, 1.0)).astype(np.float32)
                for name, values in raw_columns(events[kind]).items()
            }


def raw_columns(events):
    positive = events.columns()
    found = {name: values for name, values in positive.items() if not re.match(r"b\d", name)}
    found |= {f"jet{i}_b-tag": 2.0 * positive[f"b{i}"] for i in JETS}
    for i in JETS:
        # The benchmark's format has two digits for momenta.
        found[f"jet{i}_pt"] = np.round(found[f"jet{i}_pt"], 2)
        for angle in ("eta", "phi"):
            found[f"jet{i}_{angle}"] = ak.to_numpy(events.jets[angle][:, i - 1])
    found["lepton_pT"] = np.round(found["lepton_pT"], 2)
    found |= {f"lepton_{a}": ak.to_numpy(events.lepton[a]) for a in ("eta", "phi")}
    return found | {"missing_energy_phi": ak.to_numpy(events.met.phi)}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """Our own events in the format of the benchmark."""
    path = tmp_path_factory.mktemp("higgs") / "Higgs_data.root"
    write_like_the_benchmark({k: decays(f) for k, f in generate(N, SEED).items()}, path)
    return path


@pytest.fixture(scope="module")
def page(benchmark):
    out = benchmark.parent / "docs" / "higgs_benchmark.md"
    words = ["validate", "higgs", str(benchmark), "--n", str(N), "--seed", str(SEED)]
    assert run([*words, "--out", str(out)]) == 0
    return out


def checks(page):
    found = json.loads((page.parent / "validation" / "higgs.json").read_text())
    return {c["quantity"]: c for section in found["sections"] for c in section["checks"]}


def test_the_page_has_the_command_the_verdicts_and_one_figure(page):
    text = page.read_text()
    assert f"transferline validate higgs Higgs_data.root --n {N} --seed {SEED}\n" in text
    assert text.index("**Verdicts**") < text.index("\n## ")
    assert str(page.parent) not in text
    (name,) = re.findall(r"\]\((validation/higgs-[\w-]+\.png)\)", text)
    assert (page.parent / name).stat().st_size > 50_000


def test_our_own_events_agree_with_themselves(page):
    found = checks(page)
    assert len(found) == 4 + 34 + 14 + 5
    equal = {name: c for name, c in found.items() if "AUC" not in name and "from the" not in name}
    assert sum("median of" in name for name in equal) == 24
    assert sum("half of the central" in name for name in equal) == 14
    for name, c in equal.items():
        if "momenta that are" not in name:
            assert c["measured"]["value"] == pytest.approx(c["expected"]["value"], rel=1e-3), name


def test_what_gave_the_units_is_shown_but_not_judged(page):
    found = checks(page)
    judged = {name: c for name, c in found.items() if "from the file's momenta" in name}
    assert [name.split(":")[0] for name in judged] == list(KINDS)
    assert {c["verdict"] for c in judged.values()} == {"agrees"}
    text = page.read_text()
    assert not any("median of m_lv" in name for name in found)
    (table,) = re.findall(r"\*\*Calibration: .*?\n\n(.*?)\n\n", text, re.DOTALL)
    rows = table.splitlines()[2:]
    assert len(rows) == len(KINDS) * len(MASSES)
    medians = [float(row.split("|")[3].split("±")[0]) for row in rows]
    assert medians == pytest.approx([1.0] * len(rows), abs=0.005)


def test_units_and_tags_of_the_file_are_taken_off(benchmark):
    file = HiggsFile(benchmark)
    columns = file.columns("signal")
    assert columns["lepton_pT"].min() > 15.0
    assert set(columns["b1"]) <= {0.0, 1.0}
    events, both = file.decays("signal")
    assert len(events.weight) == both.sum() == np.sum(sum(columns[f"b{i}"] for i in JETS) == 2)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.root"], 3, "missing.root: no such file"),
        (["{here}", "--n", "10"], 2, "at least 400 events"),
        (["{text}"], 3, "is not the HIGGS benchmark"),
        (["{other}"], 3, "is not the HIGGS benchmark"),
    ],
)
def test_wrong_requests_say_what_is_wrong(words, code, message, benchmark, tmp_path):
    (tmp_path / "text.root").write_text("no ROOT file")
    with uproot.recreate(tmp_path / "other.root") as file:
        file["sig_tree"] = {"x": np.ones(3)}
    places = {"here": benchmark, "text": tmp_path / "text.root", "other": tmp_path / "other.root"}
    words = [word.format(**places) for word in words]
    out = tmp_path / "x.md"
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert run(["validate", "higgs", *words, "--out", str(out)]) == code
    assert message in said.getvalue()
    assert not out.exists()


@pytest.mark.skipif(not REAL.is_file(), reason="the file of the HIGGS benchmark is not here")
def test_the_real_benchmark_has_the_units_and_masses_that_we_say():
    file = HiggsFile(REAL)
    for kind in KINDS:
        columns = file.columns(kind)
        momenta = np.concatenate([columns["lepton_pT"], *(columns[f"jet{i}_pt"] for i in JETS)])
        assert np.abs(momenta * 100 - np.round(momenta * 100)).max() < 0.2
        assert momenta.min() == pytest.approx(15.0, abs=0.05)
        events, both = file.decays(kind)
        for name, least in (("m_jj", 0.6), ("m_bb", 0.99), ("m_wbb", 0.5), ("m_wwbb", 0.4)):
            ratio = events.masses()[name] / columns[name][both]
            assert np.mean(np.abs(ratio - 1.0) < 0.005) > least
