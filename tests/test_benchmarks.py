"""The programs in benchmarks/io run and measure what they say; no times are compared here."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import uproot

from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection

from .data import jet_files
from .learning.event_shards import write_nanoaod

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "benchmarks" / "results" / "io.json"
TOP = {
    "generate_ratio",
    "generate_own_ms",
    "prepare_ratio",
    "prepare_scaling_2",
    "loader_share",
    "memory_prepare_growth",
    "memory_training_growth",
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture(scope="module")
def root_file(tmp_path_factory) -> Path:
    return write_nanoaod(tmp_path_factory.mktemp("nanoaod") / "events.root", 300, seed=1)


def test_the_command_writes_every_figure_with_its_spread(root_file, tmp_path, capsys):
    from benchmarks.io.command import main

    out = tmp_path / "results" / "io.json"
    sizes = ["--tiny", "--sample", "300", "--file", str(root_file)]
    main([*sizes, "--only", "generate", "prepare", "--out", str(out)])
    found = json.loads(out.read_text())
    for name, row in found["figures"].items():
        assert row["min"] <= row["median"] <= row["max"], name
        assert row["n"] >= 1 and row["unit"] and row["what"], name
        assert found[name] == row["median"]
    assert found["generate_ratio"] > 0 and found["prepare_ratio"] > 0
    assert {row["figure"]: row["target"] for row in found["targets"]} == {
        "generate_ratio": ">= 0.7",
        "generate_own_ms": "<= 2.5",
        "prepare_ratio": ">= 0.7",
    }
    assert all(row["met"] in {True, False} for row in found["targets"])
    assert {"transferline", "uproot", "pythia8mc", "python"} <= set(found["versions"])
    assert len(found["load_average"]["before"]) == len(found["load_average"]["after"]) == 3
    assert found["machine"]["cores"] >= 1 and found["sizes"]["sample"] == 300
    printed = capsys.readouterr().out
    assert all(name in printed for name in found["figures"])
    assert str(out) in printed


def test_plain_uproot_reads_the_branches_that_prepare_reads(root_file, tmp_path, monkeypatch):
    from benchmarks.io.preparation import SELECTION, branches_read

    read = []
    iterate = uproot.behaviors.TBranch.HasBranches.iterate

    def spy(self, expressions=None, *words, **named):
        read.extend(expressions)
        return iterate(self, expressions, *words, **named)

    chosen = selection(SELECTION)
    with monkeypatch.context() as patch:
        patch.setattr(uproot.behaviors.TBranch.HasBranches, "iterate", spy)
        prepare(NanoAOD(files=[str(root_file)]), chosen, tmp_path / "shards")
    named = branches_read(root_file, chosen)
    assert len(named) > 20
    assert sorted(named) == sorted(read)


def test_an_enlarged_file_holds_its_events_several_times(root_file, tmp_path):
    from benchmarks.io.inputs import enlarged

    large = enlarged(root_file, 3, tmp_path / "large.root")
    with uproot.open(root_file) as small, uproot.open(large) as file:
        assert set(file["Events"].keys()) == set(small["Events"].keys())
        once, thrice = small["Events"].arrays(), file["Events"].arrays()
        for name in ("event", "Jet_pt", "Muon_charge", "HLT_IsoMu24"):
            assert thrice[name].tolist() == 3 * once[name].tolist()


def test_memory_counts_all_processes_and_no_mapped_file(tmp_path):
    from benchmarks.io.memory import peak

    file = tmp_path / "mapped"
    file.write_bytes(bytes(120 << 20))
    waiting = "import time; time.sleep(0.3)"
    base = peak([sys.executable, "-c", waiting])
    mapped = (
        f"import mmap; f = open({str(file)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, access=1); "
        f"sum(m[i] for i in range(0, len(m), 4096)); {waiting}"
    )
    assert peak([sys.executable, "-c", mapped]) < base + 10
    taking = f"b = bytearray(60 << 20); b[::4096] = b'1' * (15 << 10); {waiting}"
    assert 55 < peak([sys.executable, "-c", taking]) - base < 70
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {taking!r}])"
    assert peak([sys.executable, "-c", parent]) - base > 55
    forking = taking.replace("; import time", "; import os; os.fork(); import time")
    assert peak([sys.executable, "-c", forking]) - base < 70, "the same memory counted twice"
    with pytest.raises(RuntimeError, match="no such thing"):
        peak([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_the_loader_takes_a_part_of_the_training(tmp_path):
    from benchmarks.io import loading
    from benchmarks.io.inputs import TINY

    from transferline.testing.shards import toy_shards

    found = loading.measure(TINY, toy_shards(tmp_path / "toys", 600), tmp_path)
    assert 0 < found["loader_share"].median < 1


def test_works_take_turns_and_the_first_round_is_not_counted():
    from benchmarks.io.figures import in_turns

    done = []
    taken = in_turns({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, rounds=2)
    assert done == ["a", "b"] * 3
    assert {name: len(times) for name, times in taken.items()} == {"a": 2, "b": 2}


def test_targets_bound_medians_and_the_worse_growth_counts():
    from benchmarks.io.figures import Figure
    from benchmarks.io.report import TARGETS, Target, with_worst

    growth = Target("growth", at_least=-0.1, at_most=0.1)
    for value, met in ((-0.11, False), (-0.1, True), (0.02, True), (0.11, False)):
        assert growth.met(Figure.of("", "1", [value, value, 5.0])) is met
    one, two = Figure.of("", "1", [0.03]), Figure.of("", "1", [-0.07])
    figures = {"memory_prepare_1_growth": one, "memory_prepare_2_growth": two}
    assert with_worst(figures)["memory_prepare_growth"] == two
    assert {target.figure for target in TARGETS} == TOP


def test_the_committed_results_are_complete():
    found = json.loads(COMMITTED.read_text())
    assert {row["figure"] for row in found["targets"]} == TOP
    for name in TOP:
        assert found[name] == found["figures"][name]["median"]
    assert found["sizes"]["memory_copies"] == [2, 20] and found["sizes"]["sample"] == 50_000
    assert len(found["commit"].rstrip("+")) == 40


def test_the_tables_say_what_the_programs_wrote():
    """Numbers on the page are rounded from the committed results, and not typed from memory."""
    page = (ROOT / "benchmarks" / "README.md").read_text()
    io = json.loads(COMMITTED.read_text())
    rows = re.findall(r"^\| `(\w+)`:.*\| ([\d.]+)(?: ms)? \| (yes|no) \|$", page, re.MULTILINE)
    joint = json.loads((COMMITTED.parent / "joint.json").read_text())
    assert {name for name, _, _ in rows} == TOP | {"step_ratio", "frozen_cheaper"}
    met = {target["figure"]: target["met"] for target in io["targets"]}
    met["step_ratio"] = joint["step_ratio"] <= joint["step_ratio_target"]
    met["frozen_cheaper"] = joint["frozen_cheaper"] >= joint["frozen_cheaper_target"]
    for name, said, verdict in rows:
        digits = len(said.partition(".")[2])
        assert float(said) == round((io | joint)[name], digits), name
        assert (verdict == "yes") == met[name], name
    part = json.loads((COMMITTED.parent / "part_vs_weaver.json").read_text())
    [row] = [line for line in page.splitlines() if re.match(r"\| ours \| .*x\) \|$", line)]
    ratios = [float(said) for said in re.findall(r"\(([\d.]+) x\)", row)]
    wanted = [part["train_ratio"], part["infer_ratio"], part["memory_ratio"]]
    assert ratios == [round(wanted[0], 1), round(wanted[1], 1), round(wanted[2], 2)]
    gat = json.loads((COMMITTED.parent / "gat_vs_pyg.json").read_text())
    for title, key in (("ours, float32", "ours fp32"), ("PyTorch Geometric, eager", "pyg fp32")):
        [row] = [line for line in page.splitlines() if line.startswith(f"| {title}")]
        said = [int(cell.replace(",", "")) for cell in re.findall(r"\| ([\d,]+)", row)]
        assert said == [round(gat[f"batch_{n}"][key]["median"]) for n in (256, 2048)]


def test_batches_of_jets(tmp_path, capsys):
    from benchmarks.io import jets

    files = [
        str(jet_files.write_jetclass(tmp_path / f"{i}.root", jet_files.random_jets(700, i)))
        for i in (1, 2)
    ]
    out = tmp_path / "jets.json"
    sizes = ["--copies", "1", "--batches", "2", "--rounds", "1"]
    jets.main(["--out", str(out), "--files", *files, *sizes])
    found = json.loads(out.read_text())
    assert all(row["median"] > 0 and row["what"] for row in found["figures"].values())
    assert {row["figure"] for row in found["targets"]} == {t.figure for t in jets.TARGETS}
    assert all(name in capsys.readouterr().out for name in ["loader_ms"])
