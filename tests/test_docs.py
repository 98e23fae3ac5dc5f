"""What the documentation tells people to type is executed, or at least parsed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command

from transferline.cli import app
from transferline.config import load_config
from transferline.data.selections import load_selection, shipped
from transferline.learning.pretraining import PretrainConfig
from transferline.learning.study_config import StudyConfig
from transferline.learning.tokenizing import TokenizeConfig
from transferline.learning.transfer_config import TransferConfig
from transferline.reporting.claims import Claims

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Pages of results are generated, pictures and all, when their study has run; those of the API
# (api/) when the site is built, which checks them.
GENERATED = re.compile(r"^(docs/)?results/")
FENCE = re.compile(r"^( *)```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Return (title, text) of the fenced blocks of one language."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(title, text) for _, kind, title, text in found if kind == language]


def test_the_plug_ins_of_contributing_keep_their_promises(tmp_path):
    page = ROOT / "CONTRIBUTING.md"
    titled = [*blocks(page, "python"), *blocks(page, "toml")]
    for title, text in titled:
        path = tmp_path / title
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    _install(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def _install(folder: Path) -> None:
    """Do what pip does with the entry points of a package, without building it."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in rows.items())
            for group, rows in project["entry-points"].items()
        )
    )


def commands() -> list[tuple[str, str]]:
    """Every `transferline ...` line of every shell block, continuation lines joined."""
    return [
        (page.relative_to(ROOT).as_posix(), line.strip())
        for page in PAGES
        for _, text in blocks(page, "bash")
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip().startswith("transferline ")
    ]


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_line_parses(page, line):
    words = shlex.split(line, comments=True)[1:]
    command = get_command(app)
    name = "transferline"
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"{page}: no command {name}"
        command = command.commands[name]
    command.make_context(name, words, resilient_parsing=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" in target or target.startswith(("mailto:", "api/")) or GENERATED.match(target):
            continue
        assert (page.parent / target).exists(), f"{page.name}: {target}"


TITLES = {
    "pretrain": PretrainConfig,
    "supervised": PretrainConfig,
    "study": StudyConfig,
    "task": TransferConfig,
    "tokens": TokenizeConfig,
}


def test_every_configuration_in_the_pages_parses(tmp_path):
    seen = set()
    for page in PAGES:
        for title, text in blocks(page, "yaml"):
            kind = next((kind for kind in TITLES if Path(title).stem.startswith(kind)), None)
            if kind is None:  # tests/test_tutorials.py executes the rest
                assert not title or title.endswith("selection.yaml"), (
                    f"{page.name}: what is {title}?"
                )
                continue
            path = tmp_path / Path(title).name
            path.write_text(text)
            load_config(path, TITLES[kind])
            seen.add(kind)
    assert seen == set(TITLES)


def shipped_configurations() -> list[Path]:
    return sorted([*(ROOT / "studies").rglob("*.yaml"), *ROOT.glob("src/**/shipped/*.yaml")])


@pytest.mark.parametrize("path", shipped_configurations(), ids=lambda path: path.name)
def test_every_shipped_configuration_parses(path):
    if path.parent.name == "selections":
        assert load_selection(str(path)).name == path.stem
        return
    recipes = {"pretrain": PretrainConfig, "claims": Claims, "tokens": TokenizeConfig}
    load_config(path, recipes.get(path.stem.partition("_")[0], StudyConfig))


@pytest.mark.parametrize("path", shipped_configurations(), ids=lambda path: path.name)
def test_every_shipped_configuration_says_how_it_is_run(path):
    """Its header states the command; no number or path is hidden in a script."""
    header = path.read_text(encoding="utf-8").partition("\n\n")[0]
    assert re.search(r"^# .*transferline \w+", header, re.MULTILINE), path


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_selection_parses(name):
    assert load_selection(name).name == name


def test_the_citation_is_valid_yaml_with_the_version_of_the_package():
    from transferline import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == "BSD-3-Clause"
