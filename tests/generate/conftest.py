from __future__ import annotations

from pathlib import Path

import pytest

from transferline.generate.events import generate_events
from transferline.generate.nanoaod import read_arrays


def make(out: Path, process: str = "ttbar_1l", **changes):
    options = {"n": 60, "seed": 1, "mpi": False, "block_size": 20} | changes
    return generate_events(process, out, **options)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Sixty events in three blocks."""
    path = tmp_path_factory.mktemp("small") / "small.root"
    return make(path)


@pytest.fixture(scope="session")
def ttbar(tmp_path_factory):
    path = tmp_path_factory.mktemp("ttbar") / "ttbar.root"
    return read_arrays(make(path, n=400, block_size=200).path)


@pytest.fixture(scope="session")
def tth(tmp_path_factory):
    path = tmp_path_factory.mktemp("tth") / "tth.root"
    return read_arrays(make(path, "ttH_bb_1l", n=300, block_size=300).path)
