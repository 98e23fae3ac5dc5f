from __future__ import annotations

import sys

import pytest

from transferline.errors import ConfigError
from transferline.registry import Registry

ROWS = {
    "fraction": "fractions:Fraction",
    "absent": "fractions:Friction",
    "nowhere": "no_such_module:Anything",
}


@pytest.fixture
def registry():
    return Registry("numbers", **ROWS)


def test_a_row_loads_its_class(registry):
    assert registry.load("fraction").__name__ == "Fraction"


def test_names_are_sorted_and_import_nothing():
    registry = Registry("numbers", b="this:Never", a="antigravity:Never")
    assert registry.names() == ["a", "b"]
    assert "antigravity" not in sys.modules


def test_an_unknown_name_names_the_nearest(registry):
    with pytest.raises(ConfigError, match=r"'fracton' is not one of the numbers.*'fraction'"):
        registry.load("fracton")


@pytest.mark.parametrize("name", ["absent", "nowhere"])
def test_a_row_that_points_nowhere_is_an_error(registry, name):
    with pytest.raises(ConfigError, match=f"numbers '{name}' is registered as"):
        registry.load(name)


@pytest.fixture
def outside_package(tmp_path, monkeypatch):
    """A package that is installed, as far as importlib.metadata can tell."""
    (tmp_path / "guest.py").write_text("class Guest: pass\n")
    info = tmp_path / "guest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[transferline.numbers]\nguest = guest:Guest\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_an_outside_package_adds_a_row(outside_package, registry):
    assert registry.names() == ["absent", "fraction", "guest", "nowhere"]
    assert registry.load("guest").__name__ == "Guest"


def test_our_own_rows_win(outside_package):
    registry = Registry("numbers", guest="fractions:Fraction")
    assert registry.load("guest").__name__ == "Fraction"
