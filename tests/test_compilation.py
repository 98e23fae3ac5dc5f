from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CALLED = """
from transferline.compilation import compiled

@compiled
def part(x):
    return x + 1.0
"""
CALLER = """
from transferline.compilation import compiled
from called import part

@compiled(nogil=True)
def whole(x):
    '''Twice.'''
    return 2.0 * part(x)

if __name__ == "__main__":
    print(whole(3.0), whole.__doc__, sum(whole.stats.cache_hits.values()))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Two modules of which one calls the other; run by `run`."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "called.py").write_text(CALLED)
    (tmp_path / "src" / "caller.py").write_text(CALLER)
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return tmp_path / "src" / "caller.py"


def run(program: Path) -> str:
    command = [sys.executable, "-B", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.strip()


def test_machine_code_is_kept_in_the_cache_and_follows_every_source(program, tmp_path):
    assert run(program) == "8.0 Twice. 0"
    assert sorted(p.name for p in program.parent.iterdir()) == ["called.py", "caller.py"]
    assert list((tmp_path / "cache" / "compiled").rglob("caller.whole*.nbi"))
    assert run(program) == "8.0 Twice. 1"
    # numba itself would go on with the old `part` inside `whole`.
    program.with_name("called.py").write_text(CALLED.replace("x + 1.0", "x + 2.0"))
    assert run(program) == "10.0 Twice. 0"


def test_without_a_place_to_write_it_works_all_the_same(program, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (program.parent / "__pycache__").touch()  # a file, where numba wants a directory
    assert run(program) == "8.0 Twice. 0"


def test_the_users_directory_is_taken(program, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "users"))
    assert run(program) == "8.0 Twice. 0"
    assert list((tmp_path / "users").rglob("*.nbi"))
    assert not (tmp_path / "cache").exists()
