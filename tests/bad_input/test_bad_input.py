"""Every command takes every bad input well; `harness` states the rules."""

from __future__ import annotations

import shutil

from .harness import CANARY, check_nothing_whole, check_refused, check_whole, command


def test_bad_input(case, good, tmp_path):
    item, name = case
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    bad = item.make(good, folder)
    before = _picture(folder)
    outcome = command(item.commands[name](good, bad, out))
    if outcome.code == 0:
        assert item.may_pass, f"taken: {outcome.out[-500:]}"
        check_whole(out)
    else:
        check_refused(outcome, item.codes, item.says)
        check_nothing_whole(out)
        assert item.in_place or _picture(folder) == before, "the input was changed"
    assert not (folder / CANARY).exists(), "something in the input was executed"
    shutil.rmtree(tmp_path, ignore_errors=True)  # thousands of them would fill a disk


def _picture(folder):
    return {p.relative_to(folder).as_posix(): p.lstat().st_size for p in folder.rglob("*")}
