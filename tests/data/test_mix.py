from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferline.data import mix as module
from transferline.data.card import load_card
from transferline.data.composition import scarcest
from transferline.data.mix import mix
from transferline.data.mix_draw import process_sequence
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import selection
from transferline.errors import ConfigError, DataError
from transferline.files import file_hash, read_json, write_json

from ..learning.event_shards import write_nanoaod
from .mix_members import file_row, table, traced, write_member


@st.composite
def processes(draw):
    """Shares and available events of some processes."""
    m = draw(st.integers(1, 5))
    part = st.floats(1e-3, 1e3)
    shares = draw(st.lists(part, min_size=m, max_size=m))
    available = draw(st.lists(st.integers(1, 3000), min_size=m, max_size=m))
    return np.array(shares), np.array(available)


def assert_fair(counts, shares, n):
    """The counts are those of n draws, within six standard deviations."""
    p = shares / shares.sum()
    assert np.all(np.abs(counts - n * p) <= 6 * np.sqrt(n * p * (1 - p)) + 3)


@given(processes(), st.integers(0, 2**40), st.floats(0, 1))
def test_every_beginning_of_a_sequence_has_the_proportions_of_the_whole(chosen, seed, part):
    share, available = chosen
    whole = process_sequence(share, available, seed)
    counts = np.bincount(whole, minlength=len(share))
    assert np.all(counts <= available)
    assert np.any(counts == available)  # it ends only because one has run out
    for k in (len(whole), int(part * len(whole))):
        assert_fair(np.bincount(whole[:k], minlength=len(share)), share, k)
        assert np.array_equal(process_sequence(share, available, seed, k), whole[:k])
    longer = process_sequence(share, 10 * available, seed)
    assert np.array_equal(longer[: len(whole)], whole)


def test_a_sequence_does_not_depend_on_the_pieces_it_is_drawn_in(monkeypatch):
    share, available = np.array([1.0, 3.0]), np.array([500, 5000])
    whole = process_sequence(share, available, 7)
    monkeypatch.setattr("transferline.data.mix_draw._CHUNK", 13)
    assert np.array_equal(process_sequence(share, available, 7), whole)
    assert np.array_equal(process_sequence(share, available, 7, 100), whole[:100])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mix")


@pytest.fixture(scope="module")
def members(folder):
    """Three processes; what passes is 1/2, 1/4 and 1/5 of them."""
    return {
        "ttbar": write_member(folder, 0, np.ones(900), cross_section_pb=4.0, before=1800, parts=3),
        "wjets": write_member(folder, 1, np.full(700, 0.4), cross_section_pb=9.0, before=1120.0),
        "ttH": write_member(folder, 2, np.ones(60), cross_section_pb=0.5, before=300.0),
    }


SHARE = np.array([4 / 2, 9 / 4, 0.5 / 5])


@pytest.fixture(scope="module")
def mixture(members, folder):
    place = folder / "mixture"
    card = mix(members, place, seed=5)
    return place, card, table(place, card)


def test_a_mixture_has_each_process_as_often_as_collisions_would(mixture):
    _, card, rows = mixture
    member, row = traced(rows)
    assert card.n_events == len(rows) > 1200
    assert len({*zip(member.tolist(), row.tolist(), strict=True)}) == len(rows)
    for k in (card.n_events, 300, 100):
        assert_fair(np.bincount(member[:k], minlength=3), SHARE, k)
    # Within a process, too, the beginning is a fair sample of all that is drawn.
    first = row[: len(row) // 3][member[: len(row) // 3] == 0]
    assert 300 < first.mean() < 600
    assert np.any(np.diff(first) < 0)


def test_a_mixture_holds_the_events_as_they_were_but_for_weight_and_label(mixture, members):
    _, card, rows = mixture
    assert rows.column_names == ["particles", "weight", "run", "lumi", "event", "hash"]
    assert card.labels == {}
    assert set(rows.column("weight").to_pylist()) == {1.0}
    member, row = traced(rows)
    for number, place in enumerate(members.values()):
        whole = table(place, load_card(place)).take(row[member == number])
        mine = rows.filter(member == number)
        for name in ("particles", "run", "lumi", "event", "hash"):
            assert whole.column(name).to_pylist() == mine.column(name).to_pylist()


def test_a_loader_sees_no_label(mixture):
    shards = ShardSet(mixture[0])
    shards.verify()
    assert shards.label_names == shards.context_names == []
    assert set(shards.gather(np.arange(9)).columns) == {"charge", "species", "btag"}


def test_the_card_tells_the_composition(mixture, members):
    place, card, rows = mixture
    found = {row.name: row for row in load_card(place).shares()}
    assert [row["name"] for row in card.composition] == ["wjets", "ttbar", "ttH"]
    drawn = np.bincount(traced(rows)[0])
    for number, (name, sigma) in enumerate((("ttbar", 4.0), ("wjets", 9.0), ("ttH", 0.5))):
        row = found[name]
        assert row.events == drawn[number]
        assert row.cross_section_pb == sigma
        assert row.efficiency == pytest.approx(SHARE[number] / sigma)
        assert row.share == pytest.approx(SHARE[number] / SHARE.sum())
        assert row.available == row.selected == load_card(members[name]).n_events
        assert row.effective == pytest.approx(row.selected)
        assert row.content_hash == load_card(members[name]).content_hash
        assert row.card_sha256 == file_hash(members[name] / "card.json")
    assert card.luminosity_invpb() == pytest.approx(card.n_events / SHARE.sum())
    assert [step["name"] for step in card.cutflow] == ["all events", "jets"]
    assert card.cutflow[0]["sum_weight"] == pytest.approx(card.sum_weight)
    assert card.cutflow[1]["sum_weight"] == pytest.approx(card.n_events)
    least, n = scarcest(list(found.values()))
    assert least.events == least.available
    assert n == pytest.approx(card.n_events, rel=0.2)
    assert f"| ttH | 0.5 | {0.2:.4e} +-" in (place / "card.md").read_text()
    assert card.summary()["composition"]["ttH"] == drawn[2]


@pytest.mark.parametrize("n", [1, 100, 1000])
def test_a_mixture_is_the_beginning_of_every_larger_one(mixture, members, tmp_path, n):
    place, _, rows = mixture
    small = mix(members, tmp_path / "small", n=n, seed=5, part_size=170)
    assert small.n_events == n
    assert table(tmp_path / "small", small).equals(rows.slice(0, n))
    few, all_of_them = (np.load(x / "origins.npy") for x in (tmp_path / "small", place))
    assert np.array_equal(few, all_of_them[:n])


def test_equal_input_gives_equal_bytes_and_another_seed_other_events(mixture, members, tmp_path):
    place, card, _ = mixture
    turned = dict(reversed(members.items()))
    again = mix(turned, tmp_path / "again", seed=5)
    assert again == card
    for file in place.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    assert mix(members, tmp_path / "other", seed=6).content_hash != card.content_hash


def test_weights_become_frequencies(tmp_path):
    """Half of the events weigh four times as much as the others, and some nothing."""
    weight = np.array([0.5, 2.0] * 4000 + [0.0] * 100)
    heavy = {"x": write_member(tmp_path, 0, weight, before=40_000.0)}
    card = mix(heavy, tmp_path / "out")
    _, row = traced(table(tmp_path / "out", card))
    (share,) = card.shares()
    assert share.efficiency == pytest.approx(0.25)
    assert share.selected == 8100
    assert share.available == card.n_events
    assert share.effective == pytest.approx(weight.sum() ** 2 / np.square(weight).sum())
    assert row.max() < 8000
    odd = (row % 2).sum()
    assert odd == 4000  # of the largest weight, every one
    assert abs(card.n_events - odd - 1000) < 6 * np.sqrt(4000 * 0.25 * 0.75)
    assert set(table(tmp_path / "out", card).column("weight").to_pylist()) == {1.0}


def test_a_tail_of_weights_is_cut_and_the_card_says_so(tmp_path):
    weight = np.array([1.0] * 999 + [4.0])
    card = mix({"x": write_member(tmp_path, 0, weight)}, tmp_path / "out")
    (share,) = card.shares()
    assert card.n_events == share.available == 1000
    assert share.truncated == pytest.approx(3 / 1003)
    assert "| 0.30% |" in (tmp_path / "out" / "card.md").read_text()


def test_equal_weights_are_all_kept(members, tmp_path):
    card = mix({"wjets": members["wjets"]}, tmp_path / "out")
    assert card.n_events == card.shares()[0].selected == 700


@settings(max_examples=20)
@given(st.data())
def test_whatever_is_mixed_comes_out_in_proportion_and_once(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    places, visible = {}, []
    for number in range(data.draw(st.integers(1, 3))):
        n, some = data.draw(st.integers(1, 600)), data.draw(st.sampled_from([[1.0], [0.5, 2.0]]))
        weight = np.resize(some, n)
        sigma, before = data.draw(st.tuples(st.floats(0.1, 9), st.floats(1, 20)))
        given = {"cross_section_pb": sigma, "before": before * weight.sum()}
        places[f"m{number}"] = write_member(folder, number, weight, **given)
        visible.append(sigma / before)
    card = mix(places, folder / "out", seed=data.draw(st.integers(0, 99)), part_size=37)
    member, row = traced(table(folder / "out", card))
    assert len({*zip(member.tolist(), row.tolist(), strict=True)}) == card.n_events > 0
    assert_fair(np.bincount(member, minlength=len(visible)), np.array(visible), card.n_events)
    assert sum(row["passed"] for row in card.files) == card.n_events


def test_too_few_events_name_the_process_that_runs_out(members, tmp_path):
    found = r"member-1: has 700 events of 'wjets' .* 3,000 takes about 1,552\. .* at most 1,3\d\d\."
    with pytest.raises(DataError, match=found):
        mix(members, tmp_path / "out", n=3000)
    weight = [1.0] * 10 + [9.0]
    places = {**members, "few": write_member(tmp_path, 3, weight, cross_section_pb=100.0)}
    with pytest.raises(DataError, match=r"\d+ more went into unweighting"):
        mix(places, tmp_path / "out", n=3000)


def bad(folder, **changes):
    return {"x": write_member(folder, 8, np.ones(9)), "y": write_member(folder, 9, **changes)}


ONES = np.ones(9)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weight": [1, 1, -1]}, DataError, r"member-9: 33\.33% of the events of 'y' have a neg"),
        ({"weight": [0, 0]}, DataError, "no event of 'y' with a weight above zero"),
        ({"weight": ONES, "cross_section_pb": None}, DataError, r"member-9: .*--cross-section y="),
        ({"weight": ONES, "sum_weight": None}, DataError, "member-9: the sum of weights before"),
        ({"weight": ONES, "is_simulation": False}, DataError, "member-9: holds real collisions"),
        ({"weight": ONES, "selection": {"name": "b"}}, DataError, "passed 'b', not 'toy'"),
        ({"weight": ONES, "selection": {"name": "toy", "cut": 1}}, DataError, "another version"),
        ({"weight": ONES, "context": ["rho"]}, DataError, r"context \['rho'\]"),
        ({"weight": ONES, "files": [file_row(8, 0, 9)]}, ConfigError, "hold the same events"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, changes, error, message):
    places = bad(tmp_path, **changes)
    with pytest.raises(error, match=message):
        mix(places, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_certified_blocks_do_not_tell_selections_of_simulation_apart(tmp_path):
    selection = {"name": "toy", "golden_json": "certified.json"}
    assert mix(bad(tmp_path, weight=ONES, selection=selection), tmp_path / "out").n_events > 9


def test_a_copy_of_a_member_is_no_other_member(members, tmp_path):
    shutil.copytree(members["ttH"], tmp_path / "copy")
    with pytest.raises(ConfigError, match="'a' and 'b' hold the same events"):
        mix({"a": members["ttH"], "b": tmp_path / "copy"}, tmp_path / "out")


def test_equal_process_and_seed_with_other_settings_are_the_same_events(tmp_path):
    other = file_row(8, 0, 9)
    other["provenance"] = {**other["provenance"], "configuration": "another detector"}
    with pytest.raises(ConfigError, match="hold the same events"):
        mix(bad(tmp_path, weight=ONES, files=[other]), tmp_path / "out")


def test_a_process_in_two_members_would_count_twice(tmp_path):
    made = [{"process": "ttbar", "filter": {"name": "lepton"}}]
    members = {str(i): write_member(tmp_path, i, ONES, provenance=made, parts=1) for i in range(2)}
    with pytest.raises(ConfigError, match=r"of one process \(ttbar\), which would count twice"):
        mix(members, tmp_path / "out")
    other = [{"process": "ttbar", "filter": {"name": "none"}}]
    members["1"] = write_member(tmp_path, 2, ONES, provenance=other)
    with pytest.raises(ConfigError, match="with two filters"):
        mix(members, tmp_path / "out")
    assert mix(members, tmp_path / "out", cross_sections={"1": 0.5}).n_events


def test_mixtures_are_not_mixed_again(mixture, tmp_path):
    with pytest.raises(ConfigError, match="is a mixture itself"):
        mix({"a": mixture[0]}, tmp_path / "out")


def test_damaged_shards_are_not_mixed(members, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(members["ttH"], copy)
    part = copy / "part-00000.arrow"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 255
    part.write_bytes(content)
    with pytest.raises(DataError, match="its bytes are not those that were prepared"):
        mix({"a": copy}, tmp_path / "out")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cross_sections": {"ttbr": 1.0}}, "'ttbr', which is no member. Did you mean 'ttbar'"),
        ({"cross_sections": {"ttbar": -1.0}}, "a number above 0"),
    ],
)
def test_wrong_cross_sections_are_explained(members, tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        mix(members, tmp_path / "out", **given)
    with pytest.raises(ConfigError, match="mixture of nothing"):
        mix({}, tmp_path / "out")


def test_a_given_cross_section_stands_in_place_of_that_of_the_card(members, tmp_path):
    card = mix(members, tmp_path / "out", cross_sections={"ttH": 50.0})
    assert {row.name: row.cross_section_pb for row in card.shares()}["ttH"] == 50.0
    assert card.composition[0]["name"] == "ttH"


@pytest.mark.parametrize("damage", ["events", "name"])
def test_a_damaged_composition_is_named(mixture, tmp_path, damage):
    shutil.copytree(mixture[0], tmp_path / "copy")
    card = read_json(tmp_path / "copy" / "card.json")
    card["composition"][0][damage] = 3
    write_json(tmp_path / "copy" / "card.json", card)
    with pytest.raises(DataError, match=r"card\.json: is damaged .*composition|card.json: .*name"):
        load_card(tmp_path / "copy")


def test_killed_at_any_file_it_is_made_anew(members, tmp_path, monkeypatch):
    whole = mix(members, tmp_path / "whole", seed=5, part_size=300)
    write = module._write_part
    for stop in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(module, "_write_part", _stopping(write, stop + 1))
            with pytest.raises(KeyboardInterrupt):
                mix(members, tmp_path / "out", seed=5, part_size=300)
        with pytest.raises(DataError, match=r"has no card\.json"):
            load_card(tmp_path / "out")
        assert len(list((tmp_path / "out").glob("part-*"))) == stop + 1
    assert mix(members, tmp_path / "out", seed=5, part_size=300) == whole
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        f.name for f in (tmp_path / "whole").iterdir()
    }


def _stopping(write, files):
    left = iter(range(files))

    def stopping(target, batch):
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(target, batch)

    return stopping


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(members, tmp_path):
    out = tmp_path / "out"
    card = mix(members, out, n=500, part_size=200)
    made = (out / "card.json").stat().st_mtime_ns
    assert mix(members, out, n=500, part_size=200) == card
    assert (out / "card.json").stat().st_mtime_ns == made
    with pytest.raises(ConfigError, match="holds another data set"):
        mix(members, out, n=100)
    assert mix(members, out, n=100, overwrite=True).n_events == 100
    names = {"card.json", "card.md", "files.jsonl", "origins.npy", "part-00000.arrow"}
    assert {file.name for file in out.iterdir()} == names
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="holds other files"):
        mix(members, tmp_path / "mine", overwrite=True)


def test_a_mixture_does_not_take_the_place_of_a_member(tmp_path):
    """Its events are mapped, and would be gone: they are what the mixture is drawn from."""
    places = [write_member(tmp_path, number, np.ones(20)) for number in (0, 1)]
    before = [load_card(place) for place in places]
    for overwrite in (True, False):
        with pytest.raises(ConfigError, match=r"member-0: holds the input .*member-0"):
            mix({"x": places[0], "y": places[1]}, places[0], overwrite=overwrite)
    assert [load_card(place) for place in places] == before
    ShardSet(places[0]).verify()


def test_prepared_events_may_take_the_place_of_a_mixture(members, tmp_path):
    file = write_nanoaod(tmp_path / "a.root", 60, seed=1)
    mix(members, tmp_path / "out")
    reader, chosen = NanoAOD(files=[str(file)]), selection("l1_j4_b1")
    card = prepare(reader, chosen, tmp_path / "out", overwrite=True)
    assert not card.composition
    assert not (tmp_path / "out" / "origins.npy").exists()
    mix(members, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "origins.npy").exists()
    ShardSet(tmp_path / "out").verify()
