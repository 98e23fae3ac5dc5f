from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Times vary on shared machines, and a test must give the same answer every time.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")

# Machine code is kept from one session to the next, beside what other targets build; before
# anything imports numba.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / "build" / "numba"))

REAL_DATA = Path(__file__).parents[1] / ".real-data"


LONG = {
    "test_dask.py",
    "test_end_to_end.py",
    "test_events_page.py",
    "test_examples.py",
    "test_higgs_page.py",
    "test_onnx.py",
    "test_torchrun.py",
    "test_tutorials.py",
}
"""Tests of half a minute and more."""


def pytest_collection_modifyitems(items):
    """Long ones first: at the end, one process would wait for what another is still doing."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_collection_finish():
    """A million objects of imported libraries live on; looking through them was a tenth of all."""
    gc.set_threshold(10_000, 20, 100)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Several test processes share the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _fonts_as_shapes():
    """To take out of a font what a PDF needs is a third of the time of every figure."""
    from transferline.reporting import style  # not every session draws

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._STYLE, "pdf.fonttype", 3)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tests never read or fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        mine = tmp_path_factory.getbasetemp()
        session = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
        # generated_events.py reads it; importing it here would import numba too early.
        patch.setenv("TRANSFERLINE_TEST_EVENTS", str(session / "generated-events"))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of small real NanoAOD files that `make real-data` fills."""
    if not (REAL_DATA / ".complete").exists():
        pytest.skip("no real files here: make real-data")
    return REAL_DATA
