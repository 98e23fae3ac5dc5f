"""The pages are executed: every block of commands, of YAML and of Python, from top to bottom."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest

from tests import generated_events
from tests.generate import drell_yan_lhe
from transferline.cli import run as transferline

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "study.yaml"
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALLER = [  # the same commands on fewer events and steps: what a page says must run, not learn
    (r"-n 100000\b", "-n 400"),
    (r"\bn: (\d+)000\b", r"n: \g<1>0"),
    (r"-n (\d+)000\b", r"-n \g<1>0"),
    (r"--n-train \d+", "--n-train 20"),
    (r"n_train: \[[^]]*\]", "n_train: [16, 24]"),
    (r"seeds: 5", "seeds: 1"),
    (r"steps[:=] ?(\d+)00\b", r"steps: \g<1>"),
    (r"lr: \[[^]]*\]", "lr: [1e-3]"),
    (r"epochs: \d+", "epochs: 2"),
    (r"--jobs \d+", "--jobs 1"),
    (r"leaves: \[[^]]*\]", "leaves: [3], rounds: 10"),
    (r"(?m)^grid:$", "trees: {leaves: [3], rounds: 10}\ngrid:"),
]
"""Pattern -> replacement, in every block."""

PLAIN = re.compile(r"transferline [^|&;<>$`*?{}()]*")
"""A command of ours without anything that only a shell understands."""

COMMENT = re.compile(r"\s+#.*$")
REPORTED: set[tuple[Path, str]] = set()

MADE_ELSEWHERE = re.compile(r"^(make|git clone|pip install|bash \.ci|python -m pip)\b")
"""Commands that continuous integration itself consists of."""


def small(text: str) -> str:
    for pattern, replacement in SMALLER:
        text = re.sub(pattern, replacement, text)
    return text


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return (language, title, text) of every block of a page."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def run(language: str, title: str, text: str, folder: Path) -> None:
    """Do what the reader does with a block: save it, type it, or run it."""
    text = small(text)
    if title:
        (folder / title).write_text(text)
    if language == "bash":
        type_in([line for line in text.splitlines() if not MADE_ELSEWHERE.match(line)], folder)
    elif language == "python":
        execute([sys.executable, "-W", "error", "-c", text], folder)
    elif language == "yaml":
        assert title, "a reader cannot know where to save this"


def type_in(lines: list[str], folder: Path) -> None:
    """Run plain commands of ours in this process, which has imported everything, others in bash.

    What is in the background, and what comes after it, is one script. A report that was written
    in `folder` by the same words is not drawn again: half of a minute for the same plots.
    """
    while lines:
        command, n = lines[0], 1
        while command.endswith("\\"):
            command, n = command[:-1] + lines[n], n + 1
        command = COMMENT.sub("", command)
        if any(re.search(r"&\s*$", line) for line in lines) or not PLAIN.fullmatch(command):
            execute(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], folder)
            return
        lines = lines[n:]
        words = shlex.split(command)[1:]
        if words[0] == "report" and (folder, command) in REPORTED:
            continue
        REPORTED.add((folder, command))
        printed = io.StringIO()
        with (
            contextlib.chdir(folder),
            redirect_stdout(printed),
            redirect_stderr(printed),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("default")  # a reader sees them, and goes on
            assert transferline(words) == 0, f"{command}\n{printed.getvalue()[-3000:]}"


def execute(command: list[str], folder: Path) -> None:
    here = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what it leaves in the background can be ended as one
    )
    SESSIONS.append(done.pid)
    out, errors = done.communicate()
    assert done.returncode == 0, f"{command[-1]}\n{out[-3000:]}\n{errors[-3000:]}"


SESSIONS: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_stays_behind():
    yield
    while SESSIONS:
        with suppress(ProcessLookupError):
            os.killpg(SESSIONS.pop(), signal.SIGTERM)


def follow(page: str, folder: Path) -> None:
    for block in blocks(ROOT / page):
        run(*block, folder)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """A directory in which all of the quickstart was done."""
    folder = tmp_path_factory.mktemp("quickstart")
    follow("docs/tutorials/quickstart.md", folder)
    return folder


def test_the_quickstart_leads_to_a_learning_curve_and_scores(quickstart):
    assert (quickstart / "runs/hplus/report/report.html").is_file()
    assert (quickstart / "scores.root").is_file()
    assert (quickstart / "hplus.onnx.json").is_file()


def test_the_readme(quickstart, tmp_path):
    """Its study is that of the quickstart, finished and reported on; its events are others."""
    for made in ("hplus.root", "shards/hplus"):
        shutil.move(quickstart / made, tmp_path)
    (quickstart / "examples").mkdir()
    (quickstart / "examples" / "study.yaml").write_text(small(EXAMPLE.read_text()))
    follow("README.md", quickstart)
    assert (quickstart / "hplus.root").is_file()
    assert (quickstart / "runs/hplus/report/report.html").is_file()


def test_the_study_of_the_readme_is_that_of_the_quickstart():
    page = blocks(ROOT / "docs/tutorials/quickstart.md")
    [text] = [text for _, title, text in page if title == "study.yaml"]
    assert EXAMPLE.read_text().replace("examples/study.yaml", "study.yaml") == text


@pytest.fixture
def your_files(tmp_path):
    """Files under the names that the pages use: real ones have those of their data sets."""
    made = generated_events.root_file(generated_events.BACKGROUND)
    (tmp_path / "data").mkdir()
    for name in ("data/SingleMuon_2016H.root", "my.root", "other.root"):
        shutil.copy(made, tmp_path / name)
    (tmp_path / "Cert_2016.txt").write_text('{"1": [[1, 5000]]}')
    (tmp_path / "files.txt").write_text("data/SingleMuon_2016H.root\nbroken.root\ndata/bad.root\n")
    (tmp_path / "broken.root").write_bytes(made.read_bytes()[:5000])
    (tmp_path / "known_bad.txt").write_text("data/bad.root  # half of it is zeros\n")
    shutil.copy(ROOT / "src/transferline/data/selections/objects.yaml", tmp_path)
    drell_yan_lhe.write_lhe(tmp_path / "unweighted_events.lhe", [1.0] * 40)
    both = (generated_events.SIGNAL, generated_events.BACKGROUND)
    samples = [generated_events.shards(sample) for sample in both]
    (tmp_path / "task.yaml").write_text(
        f"task: {{kind: event_classification, name: t, signal: [{samples[0]}], "
        f"background: [{samples[1]}]}}\n"
        "finetuned: {optim: {steps: 10, batch_size: 32}, lr: [1e-3], epochs: 2}\n"
    )
    return tmp_path


def test_your_own_data(your_files):
    follow("docs/tutorials/your_data.md", your_files)
    assert (your_files / "shards/far/files.jsonl").is_file()
    assert (your_files / "scores/my.scores.root").is_file()


def test_jets_with_few_labels(tmp_path):
    follow("docs/tutorials/jets.md", tmp_path)
    assert (tmp_path / "runs/top_study/report/report.html").is_file()
    assert (tmp_path / "scores.root").is_file()
    assert (tmp_path / "top.onnx.json").is_file()


def save_the_configurations_of_the_quickstart(folder: Path) -> None:
    for language, title, text in blocks(ROOT / "docs/tutorials/quickstart.md"):
        if language == "yaml":
            run(language, title, text, folder)


def test_clusters(tmp_path):
    save_the_configurations_of_the_quickstart(tmp_path)
    shutil.copytree(generated_events.shards(generated_events.BACKGROUND), tmp_path / "shards/free")
    follow("docs/tutorials/clusters.md", tmp_path)
    assert (tmp_path / "runs/study/records.jsonl").is_file()
    assert (tmp_path / "runs/two/model.safetensors").is_file()


def test_every_language_of_every_page_is_executed_or_data():
    """A new page, or a new kind of block, must not slip through."""
    known = {"bash", "yaml", "python", "toml", "text", ""}
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        assert {language for language, _, _ in blocks(page)} <= known, page
