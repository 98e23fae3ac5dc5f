from __future__ import annotations

import errno

import pytest

from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection
from transferline.data.spool import Spool
from transferline.errors import OutputError
from transferline.files import naming

from ..learning.event_shards import write_nanoaod


def test_a_full_disk_is_no_damage_of_the_input(tmp_path, monkeypatch):
    """`skip_bad` leaves bad input out; what cannot be written must never look like that."""

    def add(spool, name, values):
        with naming(tmp_path / "out"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "add", add)
    reader = NanoAOD(files=[str(write_nanoaod(tmp_path / "a.root", 200, seed=1))], skip_bad=True)
    with pytest.raises(OutputError, match="No space left on device"):
        prepare(reader, selection("pretraining"), tmp_path / "out", sample="a")
    assert not list((tmp_path / "out").glob("card*"))
