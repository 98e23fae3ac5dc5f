from __future__ import annotations

import gc
import weakref

import pytest

from transferline.data.garbage import collected


class Node:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def _by_hand():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_by_hand")
def test_circles_made_inside_are_gone_behind_it():
    before = Node()
    old = weakref.ref(before)
    del before
    with collected():
        new = weakref.ref(Node())
        held = Node()
        assert new() is not None
    assert new() is None
    assert old() is not None, "what existed before is not looked through"
    assert held.me is held
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert old() is None


@pytest.mark.usefixtures("_by_hand")
def test_an_error_inside_is_passed_on():
    with pytest.raises(ValueError, match="inside"), collected():
        raise ValueError("inside")
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("_by_hand")
def test_what_somebody_else_set_aside_stays_so():
    gc.freeze()
    count = gc.get_freeze_count()
    with collected():
        pass
    # Some of what is set aside may be needed no more, and go, at any moment.
    assert 0.99 * count < gc.get_freeze_count() <= count
    gc.unfreeze()
    with collected(), collected():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
