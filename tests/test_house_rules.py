"""Rules of the house that a search can check."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

FORBIDDEN = {
    r"^(?!.*\bzip\().*\bstrict\s*=\s*False": "weights load exactly, or are named",
    r"\bpickle\.(load|loads|Unpickler)\b|\bimport pickle\b": "loading a pickle runs its code",
    r"weights_only\s*=\s*False": "loading a pickle runs its code",
    r"except[^:]*:\s*(#.*)?\n\s*pass\b": "an error that is swallowed is an error that is kept",
    r"\b(TODO|FIXME|XXX)\b": "finish it, or write an issue",
    r"\bNotImplementedError\b": "an abstract method says it better",
    r"(?<![\w.])print\(": "results go through transferline.cli.output, progress to stderr",
    r"\btorch\.load\((?![^)]*weights_only=True)": "only plain tensors are loaded",
    r"\bnp\.load\([^)]*allow_pickle\s*=\s*True": "only plain tensors are loaded",
    r"\beval\(|\bexec\(": "configurations are data",
}


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_source_holds(pattern):
    found = [
        f"{path.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}"
        for path in SOURCES
        for text in [_code(path)]
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]
    assert not found, f"{FORBIDDEN[pattern]}: {', '.join(found)}"


@cache
def _code(path: Path) -> str:
    """The text of a file with the lines of its docstrings emptied: they may name anything."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return "\n".join(lines).replace("model.eval()", "").replace(".eval()", "")


def tracked() -> list[Path]:
    """Text files under version control; all files where there is no Git."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    try:
        done = subprocess.run(listing, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [*SOURCES, *ROOT.glob("*.md")]
    paths = (ROOT / name for name in done.stdout.splitlines())
    suffixes = {".py", ".md", ".yaml", ".yml", ".toml", ".cff", ".txt", ".json", ""}
    return [path for path in paths if path.suffix in suffixes and path.is_file()]


# Home directories, scratch areas and the like: paths that exist on one machine only.
PRIVATE = re.compile(r"(?<![\w.])/(home|root|Users|afs|eos|scratch|work|tmp|opt)/\w+")


def test_no_file_names_a_path_of_one_machine():
    found = []
    for path in tracked():
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in PRIVATE.finditer(text)]
    assert not found, found


def test_files_stay_small():
    long = {
        path.relative_to(ROOT).as_posix(): n
        for path in SOURCES
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 420
    }
    assert not long, f"one idea per file: split {long}"
