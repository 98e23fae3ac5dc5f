"""One data set takes the place of another: at every moment the directory holds one, or goes on."""

from __future__ import annotations

import contextlib
import shutil

import pytest

from transferline.cli import run
from transferline.data import parts
from transferline.data.card import load_card
from transferline.data.layouts import shard_directory
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import selection
from transferline.errors import ConfigError, DataError

from . import nanoaod_files as files

PRE, OTHER = selection("pretraining"), selection("l1_j4_b1")
UNIT = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("inputs")
    files.write(place / "a.root", files.random_events(200, 1))
    return place


@pytest.fixture(scope="module")
def reader(folder):
    return NanoAOD(files=[str(folder / "a.root")])


@pytest.fixture(scope="module")
def straight(reader, tmp_path_factory):
    """What the new data set is when nothing is in its way."""
    place = tmp_path_factory.mktemp("straight") / "s"
    prepare(reader, OTHER, place, unit_size=UNIT)
    return content(place)


@pytest.fixture
def out(reader, tmp_path):
    """A directory that holds a data set already."""
    prepare(reader, PRE, tmp_path / "s", unit_size=UNIT)
    return tmp_path / "s"


def content(place):
    return {
        path.name: path.read_bytes()
        for path in sorted(place.iterdir())
        if path.name != "files.jsonl"  # it holds times
    }


class Units:
    """Counts the units that are done, and stops before the one of number `stop`."""

    def __init__(self, monkeypatch, out):
        self.done, self.stop, self.out = [], None, out
        monkeypatch.setattr("transferline.data.prepare.make_part", self)

    def __call__(self, unit, **rest):
        if len(self.done) == self.stop:
            raise KeyboardInterrupt
        self.done.append(unit.index)
        ShardSet(self.out).verify()  # the old data set is there, and whole
        return parts.make_part(unit, **rest)


def test_the_old_shards_stay_until_the_new_ones_are_whole(reader, out, straight, monkeypatch):
    before, units = content(out), Units(monkeypatch, out)
    units.stop = 2
    with pytest.raises(KeyboardInterrupt):
        prepare(reader, OTHER, out, unit_size=UNIT, overwrite=True)
    after = content_without_next(out)
    assert after == before
    units.stop = None
    card = prepare(reader, OTHER, out, unit_size=UNIT, overwrite=True)
    assert units.done == [0, 1, 2, 3]  # none of them twice
    assert content(out) == straight
    assert load_card(out) == card


def content_without_next(out):
    return {
        path.name: path.read_bytes()
        for path in sorted(out.iterdir())
        if path.name not in (shard_directory.NEXT, "files.jsonl")
    }


def test_an_abandoned_successor_is_no_obstacle(reader, out, straight, monkeypatch):
    before, units = load_card(out), Units(monkeypatch, out)
    units.stop = 2
    with pytest.raises(KeyboardInterrupt):
        prepare(reader, OTHER, out, unit_size=UNIT, overwrite=True)
    units.stop = None
    assert prepare(reader, PRE, out, unit_size=UNIT) == before
    with pytest.raises(ConfigError, match=r"another data set.*--overwrite"):
        prepare(reader, OTHER, out, unit_size=UNIT)
    # One with yet another selection takes nothing of it over.
    cut = OTHER.cuts.model_copy(update={"jets_min": 3})
    prepare(reader, OTHER.model_copy(update={"cuts": cut}), out, unit_size=UNIT, overwrite=True)
    prepare(reader, OTHER, out, unit_size=UNIT, overwrite=True)
    assert content(out) == straight


class Killed(BaseException):
    """Nothing is tidied up behind it."""


@pytest.fixture
def waiting(reader, out, monkeypatch):
    """A directory whose next data set is whole, but not yet in the place of the old one."""
    with monkeypatch.context() as patch:
        patch.setattr("transferline.data.prepare.move_in", lambda _: None)
        prepare(reader, OTHER, out, unit_size=UNIT, overwrite=True)
    return out


@pytest.mark.parametrize("step", range(12))
def test_killed_at_any_step_of_the_replacement(reader, waiting, straight, monkeypatch, step):
    """Each deletion and each renaming of `move_in` is one step."""
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        _kill_after(patch, step)
        shard_directory.move_in(waiting)
    is_whole = (waiting / "card.json").exists()
    if is_whole:
        ShardSet(waiting).verify()
    else:
        with pytest.raises(DataError, match="Rerun prepare"):
            ShardSet(waiting)
    old_stays = is_whole and load_card(waiting).selection["name"] == PRE.name
    assert old_stays == (step == 0)
    monkeypatch.setattr("transferline.data.prepare.make_part", None)  # all work is done already
    # Without a card, the command goes on whether it says --overwrite again or not.
    overwrite = old_stays or (not is_whole and step % 2 == 0)
    prepare(reader, OTHER, waiting, unit_size=UNIT, overwrite=overwrite)
    assert content_without_next(waiting) == straight


def _kill_after(patch, steps):
    left = [steps]

    def counted(real):
        def act(*args, **kwargs):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*args, **kwargs)

        return act

    path = shard_directory.Path
    for name in ("unlink", "replace"):
        patch.setattr(path, name, counted(getattr(path, name)))
    patch.setattr(shard_directory.shutil, "rmtree", counted(shutil.rmtree))


def test_an_unfinished_directory_goes_on_with_overwrite_too(reader, tmp_path, monkeypatch):
    out, done = tmp_path / "s", []

    def make(unit, **rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(unit.index)
        return parts.make_part(unit, **rest)

    with monkeypatch.context() as patch:
        patch.setattr("transferline.data.prepare.make_part", make)
        with pytest.raises(KeyboardInterrupt):
            prepare(reader, PRE, out, unit_size=UNIT, overwrite=True)
    monkeypatch.setattr(
        "transferline.data.prepare.make_part",
        lambda unit, **rest: (done.append(unit.index), parts.make_part(unit, **rest))[1],
    )
    prepare(reader, PRE, out, unit_size=UNIT, overwrite=True)
    assert done == [0, 1, 2, 3]


def test_nothing_is_lost_where_no_event_passes(reader, out):
    before = content(out)
    hard = PRE.model_copy(update={"cuts": PRE.cuts.model_copy(update={"jets_min": 30})})
    with pytest.raises(DataError, match=rf"{out}: not written, no event passes"):
        prepare(reader, hard, out, overwrite=True)
    assert content(out) == before


def test_a_users_file_in_the_waiting_room_is_not_deleted(reader, out):
    (out / ".next").mkdir()
    (out / ".next" / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match=r"holds other files \(\.next/thesis\.tex\)"):
        prepare(reader, OTHER, out, overwrite=True)
    assert (out / ".next" / "thesis.tex").read_text() == "precious"


def test_damaged_shards_can_be_prepared_anew(folder, reader, out):
    before = content(out)
    shard = out / "part-00000.arrow"
    shard.write_bytes(b"\0" * shard.stat().st_size)
    (out / "card.json").write_text("{")
    prepare(reader, PRE, out, unit_size=UNIT, overwrite=True)
    assert content(out) == before
    words = ["prepare", f"{folder}/a.root", "--selection", "l1_j4_b1", "--out", str(out)]
    assert run(words) == 2
    assert run([*words, "--overwrite"]) == 0
    assert load_card(out).selection["name"] == "l1_j4_b1"
