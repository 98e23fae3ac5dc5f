"""What `prepare` says of its memory before it reads."""

from __future__ import annotations

from dataclasses import replace

from transferline.data.prepare import prepare
from transferline.data.prepare_memory import memory_line, prepare_memory
from transferline.data.readers.jetclass import STEP, JetClass
from transferline.data.selections import load_selection

from . import jet_files


def test_the_statement_comes_first_and_does_not_grow_with_the_files(tmp_path, capsys):
    path = jet_files.write_jetclass(tmp_path / "a.root", jet_files.random_jets(300, 1))
    reader = JetClass(files=[str(path)])
    prepare(reader, load_selection("jets"), tmp_path / "shards")
    printed = capsys.readouterr().err
    line = memory_line(reader, [reader.source(str(path))], 10**6, jobs=1)
    assert line in printed and printed.index(line) < printed.index("prepare: 1/1")
    assert f"{STEP:,} entries" in line and "MB of memory per process" in line

    def source(entries, size):
        return replace(reader.source(str(path)), entries=entries, size=size)

    one = prepare_memory([source(10**5, 2 * 10**8)], STEP)
    assert one == prepare_memory([source(10**6, 2 * 10**9)] * 7, STEP)
    assert one > prepare_memory([source(10**5, 10**8)], STEP)
    assert one > prepare_memory([source(10**5, 2 * 10**8)], STEP // 2)
    assert prepare_memory([source(10**5, None)], STEP) is None
