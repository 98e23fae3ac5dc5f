from __future__ import annotations

import time

from transferline.progress import progress


def test_what_is_done_already_is_said(capsys):
    with progress(7, "generate", done=7):
        pass
    assert capsys.readouterr().err == "generate: 7/7, 0 s left\n"


def test_what_was_done_earlier_says_nothing_of_the_time_left(monkeypatch, capsys):
    clock = iter([0.0, 30.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with progress(100, "train", done=90) as ticker:
        ticker.advance(5)
    assert capsys.readouterr().err == "train: 95/100, 30 s left\n"
