from __future__ import annotations

import platform
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from transferline import compilation

CALLED = """
from numba.core import entrypoints
entrypoints._already_initialized = True  # half the time of each process: vector's and awkward's
from transferline.compilation import compiled

@compiled
def part(x):
    return x + 1.0
"""
CALLER = """
from called import part
from transferline.compilation import compiled

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


def run(program: Path, **more) -> str:
    command = [sys.executable, "-B", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, **more)
    return done.stdout.strip()


def test_machine_code_is_kept_in_the_cache_and_follows_every_source(program, tmp_path):
    assert run(program) == "8.0 Twice. 0"
    assert sorted(p.name for p in program.parent.iterdir()) == ["called.py", "caller.py"]
    assert list((tmp_path / "cache" / "compiled").rglob("caller.whole*.nbc"))
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


def test_no_other_place_is_taken_in_which_changes_go_unnoticed(program, tmp_path, monkeypatch):
    """numba would go on to the sources' own directory, and to one of the user's."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert run(program) == "8.0 Twice. 0"
    program.with_name("called.py").write_text(CALLED.replace("x + 1.0", "x + 2.0"))
    assert run(program) == "10.0 Twice. 0"
    assert not [*program.parent.rglob("*.nb?"), *(tmp_path / "home").rglob("*.nb?")]


def lost_bytes(code):
    middle = len(code) // 2
    return code[:middle] + bytes(500) + code[middle + 500 :]


@pytest.mark.parametrize("damage", [lambda code: code[:40], lost_bytes], ids=["cut", "lost"])
def test_a_damaged_file_is_made_anew(program, tmp_path, damage):
    run(program)
    for file in (tmp_path / "cache").rglob("*.nbc"):
        file.write_bytes(damage(file.read_bytes()))
    assert run(program) == "8.0 Twice. 0"
    assert run(program) == "8.0 Twice. 1"


def no_room():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def test_a_full_disk_stops_nothing(program):
    for _ in range(2):
        assert run(program, preexec_fn=no_room) == "8.0 Twice. 0"


def test_the_code_of_another_signature_is_not_taken(monkeypatch, tmp_path):
    """numba runs what it finds: float32 as if it were int32."""
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path))
    monkeypatch.setattr(compilation._config, "CACHE_DIR", "")

    def twice(x):
        return x + x

    made = compilation.compiled(twice)
    assert (made(np.int32(3)), made(np.float32(0.5))) == (6, 1.0)
    one, other = tmp_path.rglob("*.nbc")
    one_code, other_code = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_code)
    other.write_bytes(one_code)
    again = compilation.compiled(twice)
    assert (again(np.int32(3)), again(np.float32(0.5))) == (6, 1.0)
    assert not again.stats.cache_hits
    assert made is not again and len(list(tmp_path.rglob("*.nbc"))) == 2
    third = compilation.compiled(twice)
    assert third(np.int32(3)) == 6 and sum(third.stats.cache_hits.values()) == 1


def test_processors_that_share_a_cache_have_files_of_their_own(program, tmp_path, monkeypatch):
    run(program)
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    assert run(program) == "8.0 Twice. 0"
    assert len(list((tmp_path / "cache").rglob("caller.whole*.nbc"))) == 2


@pytest.mark.skipif(platform.machine() != "x86_64", reason="others always can")
@pytest.mark.parametrize("features", ["+avx2,+fma", "+avx", ""])
def test_whether_the_processor_multiplies_and_adds_at_once(monkeypatch, features):
    monkeypatch.setattr(compilation._config, "CPU_FEATURES", features)
    compilation.has_fused_multiply_add.cache_clear()
    assert compilation.has_fused_multiply_add() == ("fma" in features)
    compilation.has_fused_multiply_add.cache_clear()


def test_the_users_directory_is_taken(program, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "users"))
    assert run(program) == "8.0 Twice. 0"
    assert list((tmp_path / "users").rglob("*.nbc"))
    assert not (tmp_path / "cache").exists()
