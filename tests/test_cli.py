from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from transferline.cli import app, application, run
from transferline.errors import TransferlineError
from transferline.evaluation.records import read

from .learning.event_shards import write_nanoaod

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "transferline"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_nanoaod(folder / "a.root", 300, seed=1)
    write_nanoaod(folder / "b.root", 300, seed=2, hardness=2.0)
    return folder


@pytest.fixture(scope="module")
def shards(files):
    for name in "ab":
        words = ["prepare", f"{files}/{name}.root", "--selection", "l1_j4_b1", "--sample", name]
        assert run([*words, "--label", "signal=1", "--out", f"{files}/{name}"]) == 0
    return files


PRETRAIN = """
data: {{kind: shards, files: [{folder}/a]}}
backbone: {{kind: transformer, width: 16, depth: 1, heads: 2}}
objective: {{kind: masked_type}}
optim: {{steps: 12, batch_size: 32, validate_every: 6}}
"""

TASK = """
task: {{kind: event_classification, name: b_or_a, signal: [{folder}/b], background: [{folder}/a]}}
finetuned: {{optim: {{steps: 10, batch_size: 32}}}}
trees: {{leaves: [3], rounds: 10}}
"""


@pytest.fixture(scope="module")
def checkpoint(shards):
    (shards / "pre.yaml").write_text(PRETRAIN.format(folder=shards))
    assert run(["pretrain", f"{shards}/pre.yaml", "--out", f"{shards}/pre"]) == 0
    return shards / "pre"


def commands() -> list[list[str]]:
    """Every command and group of the application."""

    def walk(command, words):
        yield words
        if isinstance(command, TyperGroup):
            for name, inner in command.commands.items():
                yield from walk(inner, [*words, name])

    return list(walk(get_command(app), []))


@pytest.mark.parametrize("words", commands(), ids=" ".join)
@pytest.mark.parametrize("width", [80, 100])
def test_every_help_page_fits_and_says_something(words, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(" ".join(["Usage: transferline", *words]))
    assert max(map(len, lines)) <= width
    assert not any(line.endswith("...") and not line.startswith("Usage") for line in lines)


def test_commands_stand_in_the_order_of_the_work(capsys):
    run(["--help"])
    listed = capsys.readouterr().out.partition("Commands:")[2].partition("\n\n")[0]
    shown = re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)
    assert shown == [
        *("demo", "generate", "validate", "inspect", "prepare", "mix", "tokenize"),
        *("pretrain", "transfer", "study", "report", "predict", "export", "import", "list"),
        "doctor",
    ]


def test_help_answers_at_once():
    """No command may import torch, numpy or rich before it runs."""
    code = (
        "import sys; from transferline.cli import run; run(['--help']);"
        "bad = {'torch', 'numpy', 'awkward', 'uproot', 'pydantic'} & set(sys.modules);"
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    start = time.monotonic()
    subprocess.run([*PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
    # Half a second on an idle machine; tests run beside other work.
    assert time.monotonic() - start < 3.0


def test_version(capsys):
    assert run(["--version"]) == 0
    assert re.fullmatch(r"transferline \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


FAMILIES = {
    "processes": "ttH_bb_1l",
    "readers": "nanoaod",
    "selections": "pretraining",
    "backbones": "transformer",
    "objectives": "masked_type",
    "tasks": "event_classification",
}


@pytest.mark.parametrize(("family", "member"), FAMILIES.items())
def test_list_names_and_explains(family, member, capsys):
    assert run(["list", family, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert member in rows
    assert all(rows.values())
    assert run(["list", family]) == 0
    assert capsys.readouterr().out.count("\n") == len(rows)


def test_inspect(files, capsys):
    assert run(["inspect", f"{files}/a.root"]) == 0
    out = capsys.readouterr().out
    assert "300 events" in out
    assert f"next:  transferline prepare {files}/a.root --selection" in out
    assert run(["inspect", f"{files}/a.root", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 300


def test_prepare_shows_the_cut_flow_and_the_next_command(files, tmp_path, capsys):
    words = ["prepare", f"{files}/a.root", "--selection", "l1_j4_b1", "--out", f"{tmp_path}/a"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert "jets >= 4" in out
    assert f"next:  transferline inspect {tmp_path}/a" in out
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_events"] > 100


def test_pretrain_writes_a_checkpoint_and_says_where(checkpoint, shards, tmp_path, capsys):
    words = ["pretrain", f"{shards}/pre.yaml", "--out", f"{tmp_path}/pre"]
    assert run([*words, "--set", "optim.steps=2", "--set", "seed=3"]) == 0
    assert f"wrote checkpoint: {tmp_path}/pre" in capsys.readouterr().out
    resolved = json.loads((tmp_path / "pre" / "resolved.json").read_text())
    assert (resolved["optim"]["steps"], resolved["seed"]) == (2, 3)


def test_transfer_measures_and_keeps_a_record(checkpoint, shards, tmp_path, capsys):
    (shards / "task.yaml").write_text(TASK.format(folder=shards))
    for mode, start in (("finetuned", str(checkpoint)), ("trees", "none")):
        words = ["transfer", start, f"{shards}/task.yaml", "--mode", mode, "--n-train", "40"]
        words += ["--seed", "1", "--allow-overlap"]  # its background is what it was pre-trained on
        assert run([*words, "--out", f"{tmp_path}/{mode}"]) == 0
        out = capsys.readouterr().out
        assert f"b_or_a, {mode}, 40 labelled events, seed 1" in out
        assert re.search(r"auc +0\.\d+ ± 0\.\d+", out)
        assert run([*words, "--out", f"{tmp_path}/{mode}"]) == 0
        assert "this run is finished" in capsys.readouterr().err
        assert len((tmp_path / mode / "records.jsonl").read_text().splitlines()) == 1
    records = [f"{tmp_path}/{mode}/records.jsonl" for mode in ("finetuned", "trees")]
    assert run(["report", *records, "--markdown", f"{tmp_path}/results.md"]) == 0
    assert "fine-tuned" in (tmp_path / "results.md").read_text()


def test_a_run_done_anew_takes_the_place_of_its_record(checkpoint, shards, tmp_path, capsys):
    """With other settings; Records of both would be two of one seed."""
    (shards / "task.yaml").write_text(TASK.format(folder=shards))
    words = ["transfer", str(checkpoint), f"{shards}/task.yaml", "--mode", "finetuned", "--n-train"]
    words += ["40", "--allow-overlap", "--out", f"{tmp_path}/run"]
    assert run(words) == 0
    assert run([*words, "--overwrite", "--set", "finetuned.optim.steps=3"]) == 0
    capsys.readouterr()
    kept = [read(tmp_path / "run" / name) for name in ("records.jsonl", "records.superseded.jsonl")]
    assert [len(found) for found in kept] == [1, 1]
    assert kept[0][0].extra["cap"] == 3 != kept[1][0].extra["cap"]
    assert {found[0].pretraining for found in kept} == {checkpoint.name}


def test_what_is_finished_is_not_replaced_unasked(checkpoint, shards, capsys):
    config = shards / "pre.yaml"
    code, text = failure(capsys, "pretrain", config, "--out", checkpoint)
    assert code == 2
    assert "--overwrite makes it anew" in text


def test_the_plan_is_followed_by_the_command_that_does_it(tmp_path, capsys):
    study = ROOT / "studies" / "spine" / "smoke.yaml"
    words = ["study", str(study), "--check", "--set", "grid.seeds=1", "--jobs", "2"]
    assert run([*words, "--task", "ttH"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith("--task ttH --set grid.seeds=1 --jobs 2")


def test_options_of_the_other_report_are_refused(tmp_path, capsys):
    for more, says in (
        (["--claims", "c.yaml"], "give --markdown FILE"),
        (["--title", "T"], "give --markdown FILE"),
        (["--markdown", "m.md", "--out", "d"], "--out is for the report of a study"),
    ):
        code, text = failure(capsys, "report", tmp_path, *more)
        assert code == 2
        assert says in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pretrain",), "again with --resume to go on"),
        (("tokenize", "train", "a.yaml"), "again with --resume to go on"),
        (("tokenize", "sample"), "to begin anew"),
        (("study", "a.yaml"), "again to go on"),
        (("mix",), "to begin anew"),
        (("transfer", "pre", "task.yaml"), "to begin anew"),
        (("transfer", "pre", "task.yaml", "--folds", "2"), "again to go on"),
        (("predict", "run", "a.root", "-o", "scores"), "again to go on"),
        (("transfer", "pre", "task.yaml", "--folds=2"), "again to go on"),
        (("predict", "run", "a.root", "--out", "scores.root"), "to begin anew"),
        (("predict", "run", "a.root", "-oscores.root"), "to begin anew"),
        (("predict", "run", "a.root", "-o", "scores.parquet"), "to begin anew"),
        (("predict", "run", "a.root", "--out=scores.parquet"), "to begin anew"),
    ],
)
def test_after_ctrl_c_a_command_says_what_is_left(words, says):
    assert says in application._after(words[0], words[1:])


def test_after_ctrl_c_a_directory_is_one_whatever_its_name(tmp_path):
    (tmp_path / "scores.root").mkdir()
    left = application._after("predict", ("run", "a.root", "-o", str(tmp_path / "scores.root")))
    assert "again to go on" in left


def failure(capsys, *words: object) -> tuple[int, str]:
    code = run([str(word) for word in words])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.err


def test_wrong_usage_is_2_and_names_the_nearest(capsys, files, tmp_path):
    assert failure(capsys, "prepar")[0] == 2
    code, text = failure(capsys, "list", "taks")
    assert (code, text) == (2, "transferline: 'taks' cannot be listed. Did you mean 'tasks'?\n")
    wrong = {
        (
            "generate",
            "events",
            "ttH_b_1l",
            "--out",
            tmp_path / "x.root",
        ): "Did you mean 'ttH_bb_1l'",
        ("prepare", files / "a.root", "--selection", "l1_j4b1", "--out", tmp_path): "'l1_j4_b1'",
        (
            *("prepare", files / "a.root", "--selection", "l1_j4_b1", "--out", tmp_path),
            *("--reader", "nanaod"),
        ): "'nanoaod'",
        (
            *("prepare", files / "a.root", "--selection", "l1_j4_b1", "--out", tmp_path),
            *("--label", "signal"),
        ): "--label signal: is not of the form NAME=NUMBER.",
        ("study", files / "no.yaml", "--check"): "no.yaml: cannot be read",
    }
    for words, wanted in wrong.items():
        code, text = failure(capsys, *words)
        assert code == 2, text
        assert wanted in text


WRONG = {
    "objective: {kind: masked_tpe}": r":5:1: objective: 'masked_tpe' is not.*'masked_type'\?",
    "optim: {stpes: 3, steps: 2}": r":5:9: optim\.stpes: unknown key. Did you mean 'steps'\?",
    "optim: {steps: many}": r":5:9: optim\.steps: Input should be a valid integer",
}


@pytest.mark.parametrize(("line", "wanted"), WRONG.items())
def test_a_wrong_configuration_names_line_column_and_nearest_key(
    shards, tmp_path, capsys, line, wanted
):
    keys = [text for text in PRETRAIN.strip().splitlines() if text[:5] != line[:5]]
    path = tmp_path / "wrong.yaml"
    kept = "\n".join(["seed: 1", *keys]).format(folder=shards)
    path.write_text(f"{kept}\n{line}\n")
    code, text = failure(capsys, "pretrain", path, "--out", tmp_path / "pre")
    assert code == 2
    assert re.search(re.escape(str(path)) + wanted, text), text


def test_bad_data_is_3_and_names_the_file(capsys, files, tmp_path):
    bad = tmp_path / "cut.root"
    bad.write_bytes((files / "a.root").read_bytes()[:2000])
    code, text = failure(capsys, "inspect", bad)
    assert code == 3
    assert str(bad) in text
    assert failure(capsys, "inspect", tmp_path / "no.root")[0] == 3
    assert failure(capsys, "transfer", tmp_path, files / "a.root", "--mode", "x", "--n-train", 4,
                   "--out", tmp_path)[0] == 2  # fmt: skip
    code, text = failure(capsys, "report", tmp_path / "nowhere")
    assert code == 3


@pytest.mark.filterwarnings("default")
def test_skip_bad_leaves_damaged_files_out_with_a_warning(capsys, files, tmp_path):
    (tmp_path / "bad.root").write_bytes(b"root" + bytes(100))
    words = ["prepare", f"{files}/a.root", f"{tmp_path}/bad.root", "--selection", "l1_j4_b1"]
    assert failure(capsys, *words, "--out", tmp_path / "s1")[0] == 3
    code, text = failure(capsys, *words, "--out", tmp_path / "s2", "--skip-bad")
    assert code == 0
    assert re.search(r"warning: 1 damaged or unreachable files left out:\n .*bad\.root", text)


def test_an_output_that_cannot_be_written_is_said_plainly(capsys, files, tmp_path):
    (tmp_path / "file").write_text("in the way")
    words = ("prepare", files / "a.root", "--selection", "l1_j4_b1")
    code, text = failure(capsys, *words, "--out", tmp_path / "file")
    assert code in (2, 3)
    assert "file" in text


def test_a_diverging_training_is_4(capsys, checkpoint, shards, tmp_path):
    words = ("pretrain", shards / "pre.yaml", "--out", tmp_path / "pre")
    changes = ("--set", "optim.lr=1e30", "--set", "optim.clip=null", "--set", "optim.kind=sgd")
    code, text = failure(capsys, *words, *changes)
    assert code == 4
    assert "not finite" in text


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(TransferlineError):
        run(["--debug", "inspect", f"{tmp_path}/no.root"])


def test_the_program_sets_the_process_before_torch_loads():
    code = (
        "import sys; sys.argv = ['transferline', '--version'];"
        "import transferline.__main__ as m, os; assert 'torch' not in sys.modules;"
        "\ntry: m.main()\nexcept SystemExit: pass\n"
        "assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE', os.environ"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_closed_pipe_is_no_traceback():
    command = f"{' '.join(PROGRAM)} list processes | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path):
    out = tmp_path / "x.root"
    words = ["generate", "events", "ttbar_1l", "-n", "100000", "--no-mpi", "--out", str(out)]
    # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
    listen = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", listen, *PROGRAM, *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        parts = Path(f"{out}.parts")
        deadline = time.monotonic() + 240
        while not parts.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        # It stops between two batches of events, which take long on a busy machine.
        _, text = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 130, text
    assert "Type the same command again" in text
    assert "Traceback" not in text
