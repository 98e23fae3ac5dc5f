from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time

import pytest

from transferline.stopping import no_interrupt_lost


@pytest.fixture
def ctrl_c():
    """Where a shell started the tests in the background, Ctrl-C is ignored."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


def call_from_c(function):
    ctypes.CFUNCTYPE(None)(function)()


def ctrl_c_falls_here():
    signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_that_a_callback_swallowed_comes_again(ctrl_c):
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), no_interrupt_lost():
        call_from_c(ctrl_c_falls_here)
        time.sleep(30.0)
    assert sys.unraisablehook is before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_exceptions_of_callbacks_stay_reports(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: reported.append(found.exc_type))
    with no_interrupt_lost():
        call_from_c(lambda: 1 / 0)
    assert reported == [ZeroDivisionError]


def test_none_comes_after_the_block(ctrl_c):
    """It would end a program that is already ending, with another exit code."""
    with no_interrupt_lost():
        call_from_c(ctrl_c_falls_here)
    time.sleep(0.3)


@pytest.mark.parametrize(("handled", "code"), [("interrupt_handled()", 130), ("", -signal.SIGINT)])
def test_an_interrupt_of_code_made_from_text_leaves_the_exit_code_alone(tmp_path, handled, code):
    """Without the call CPython ends by the signal: should it ever stop so, the call may go."""
    (tmp_path / "interrupted.py").write_text(f"""
import sys
from transferline.stopping import interrupt_handled
try:
    exec("raise KeyboardInterrupt")
except KeyboardInterrupt:
    {handled or "pass"}
sys.exit(130)
""")
    words = [sys.executable, "-m", "interrupted"]
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == code
