from __future__ import annotations

import pytest

from .corpus import SCALES, cases
from .material import make_good


def pytest_addoption(parser):
    parser.addoption("--campaign", choices=SCALES, default="quick")


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        found = cases(metafunc.config.getoption("--campaign", "quick"))
        metafunc.parametrize("case", list(found.values()), ids=list(found))


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """Good material of every kind; no test changes it."""
    return make_good(tmp_path_factory.mktemp("good"))
