from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from transferline import sample_generation, samples
from transferline.cli import run
from transferline.data.card import load_card
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.data.readers.shards import ShardSet
from transferline.data.selections import load_selection, selection
from transferline.errors import ConfigError, DataError
from transferline.generate import generators, hard_filter
from transferline.generate.catalogue import process
from transferline.learning.study_config import StudyConfig
from transferline.runtime import cache_directory
from transferline.sample_generation import cross_section
from transferline.samples import Sample, chosen_selection, materialise, require_generator

from .data.jet_files import random_jets, write_jetclass
from .generated_events import BACKGROUND, SIGNAL, cache, one_at_a_time, root_file, shards
from .learning.event_shards import write_nanoaod, write_shards


def test_a_process_becomes_shards_with_its_cross_section():
    place = shards(SIGNAL)
    card = json.loads((place / "card.json").read_text())
    assert place.is_relative_to(cache())
    assert card["cross_section_pb"] == 0.1297
    assert len(ShardSet(place)) == card["n_events"] > 100
    assert card["selection"]["name"] == "l1_j4_b1"


def test_what_is_in_the_cache_is_not_made_again(monkeypatch):
    place = shards(SIGNAL)

    def never(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr(samples, "prepare", never)
    with one_at_a_time(SIGNAL) as shared:
        assert materialise(SIGNAL, shared) == place


def test_another_selection_reuses_the_generated_file(monkeypatch):
    first = shards(BACKGROUND)
    monkeypatch.setattr("transferline.generate.events._make_blocks", None)
    with one_at_a_time(BACKGROUND) as shared:
        other = materialise(BACKGROUND.model_copy(update={"selection": "l1_j4_b2"}), shared)
    assert other != first
    assert len(ShardSet(other)) < len(ShardSet(first))


def test_a_larger_sample_begins_with_a_smaller_one_of_the_cache(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(
        "transferline.generate.events.generate_events",
        lambda _, file, *, smaller, **__: given.append((file, smaller)),
    )
    small, large = (SIGNAL.model_copy(update={"n": n}) for n in (10, 100))
    first = sample_generation.generated_file(small, tmp_path)
    first.parent.mkdir()
    first.touch()
    sample_generation.generated_file(SIGNAL.model_copy(update={"n": 10, "seed": 9}), tmp_path)
    given[-1][0].touch()
    file = sample_generation.generated_file(large, tmp_path)
    assert given[-1] == (file, [first])


def test_the_place_follows_whatever_changes_the_content(monkeypatch):
    base = sample_generation.generation(SIGNAL)
    for change in ({"seed": 2}, {"n": 801}, {"mpi": True}, {"filter": "lepton"}):
        assert sample_generation.generation(SIGNAL.model_copy(update=change)) != base
    assert sample_generation.generation(SIGNAL.model_copy(update={"label": "x"})) == base
    assert sample_generation.generation(SIGNAL.model_copy(update={"generator": "pythia"})) == base
    emu = SIGNAL.model_copy(update={"filter": "emu_jets"})
    before = sample_generation.generation(emu)
    harder = replace(hard_filter.FILTERS["emu_jets"], parton_pt=35.0)
    with monkeypatch.context() as patch:
        patch.setitem(hard_filter.FILTERS, "emu_jets", harder)
        assert sample_generation.generation(emu) != before
    monkeypatch.setattr(sample_generation, "package_versions", lambda _: {"pythia8mc": "9"})
    assert sample_generation.generation(SIGNAL) != base


def test_a_finished_sample_of_sherpa_is_found_where_there_is_no_sherpa(monkeypatch, tmp_path):
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path))
    monkeypatch.delenv("TRANSFERLINE_SHERPA", raising=False)
    sample = Sample(process="ttbb_1l", n=10, selection="l1_j4_b1")
    found = sample_generation.generation(sample)
    assert found["generator"] == "sherpa"
    assert found["cards"] and found["made_by"]
    assert found == sample_generation.generation(sample.model_copy(update={"generator": "sherpa"}))


def test_a_generator_that_is_missing_is_told_before_anything_is_generated(monkeypatch, tmp_path):
    def missing() -> None:
        raise ConfigError("Sherpa is not here.")

    monkeypatch.setattr(generators, "find_sherpa", missing)
    dear = Sample(process="ttbb_1l", n=10, selection="l1_j4_b1")
    mixed = Sample.model_validate(
        {"mix": {"a": SIGNAL.to_dict(), "b": dear.to_dict()}, "selection": "l1_j4_b1"}
    )
    require_generator(SIGNAL, tmp_path)
    for sample in (dear, mixed):
        with pytest.raises(ConfigError, match="Sherpa is not here"):
            require_generator(sample, tmp_path)
    place = sample_generation.generated_place(dear, tmp_path)
    place.parent.mkdir()
    place.touch()
    require_generator(dear, tmp_path)  # what is made needs no generator


def test_files_become_shards_and_a_changed_file_is_another_sample(tmp_path, monkeypatch):
    file = write_nanoaod(tmp_path / "a.root", 200, seed=1)
    sample = Sample.model_validate(
        {"reader": {"kind": "nanoaod", "files": [str(file)]}, "selection": "l1_j4_b1"}
    )
    place = materialise(sample, tmp_path / "cache")
    assert materialise(sample, tmp_path / "cache") == place
    assert not np.isnan(ShardSet(place).weight).any()
    with monkeypatch.context() as patched:  # the same input would give other shards
        patched.setattr(samples, "LAYOUT", samples.LAYOUT + 1)
        assert materialise(sample, tmp_path / "cache") != place
    write_nanoaod(file, 300, seed=2)
    assert materialise(sample, tmp_path / "cache") != place


@pytest.mark.parametrize("name", ["jets", "jet_events", "pretraining"])
def test_other_certified_blocks_make_another_sample(name, tmp_path):
    chosen = load_selection(name).model_copy(update={"golden_json": str(tmp_path / "g.json")})
    places = []
    for blocks in ('{"1": [[1, 9]]}', '{"1": [[1, 6]]}'):
        (tmp_path / "g.json").write_text(blocks)
        places.append(samples._prepared("files", chosen, {}, tmp_path))
    assert places[0] != places[1]


def test_existing_shards_are_taken_as_they_are(tmp_path):
    place = write_shards(tmp_path, 100, seed=1)
    assert materialise(Sample(shards=str(place)), tmp_path / "cache") == place
    assert not (tmp_path / "cache").exists()
    with pytest.raises(DataError, match=r"card\.json is missing"):
        materialise(Sample(shards=str(tmp_path)))


def test_samples_know_when_they_hold_the_same_collisions(tmp_path):
    same = SIGNAL.model_copy(update={"n": 10, "filter": "lepton", "selection": "pretraining"})
    assert SIGNAL.shares_events_with(same)
    assert not SIGNAL.shares_events_with(SIGNAL.model_copy(update={"seed": 2}))
    assert not SIGNAL.shares_events_with(BACKGROUND)
    pythia = BACKGROUND.model_copy(update={"generator": "pythia"})
    assert BACKGROUND.shares_events_with(pythia)
    assert not BACKGROUND.shares_events_with(BACKGROUND.model_copy(update={"generator": "sherpa"}))
    lhe = [
        Sample(process=name, lhe=file, n=5, seed=seed, selection="l1_j4_b1")
        for name, file, seed in (("external", "a.lhe", 1), ("ttbar", "./a.lhe", 2),
                                 ("external", "b.lhe", 1))
    ]  # fmt: skip
    assert lhe[0].shares_events_with(lhe[1])  # hard events of a file are those of every seed
    assert not lhe[0].shares_events_with(lhe[2])
    assert cross_section(lhe[1]) is None  # that of the catalogue is of other events
    spelled = [Sample(process=name, n=5, selection="l1_j4_b1")
               for name in ("H0_HpmW", "H0_HpmW_425_325", "H0_HpmW_500_400")]  # fmt: skip
    assert spelled[0].shares_events_with(spelled[1])
    assert not spelled[0].shares_events_with(spelled[2])
    assert not SIGNAL.shares_events_with(Sample(shards="x"))
    assert Sample(shards="x").shares_events_with(Sample(shards="x"))
    files = [
        Sample.model_validate(
            {"reader": {"kind": "nanoaod", "files": names}, "selection": "l1_j4_b1"}
        )
        for names in (["a.root", "b.root"], ["b.root"], ["c.root"])
    ]
    assert files[0].shares_events_with(files[1]) and not files[0].shares_events_with(files[2])


MIX = {
    "mix": {
        "ttbar": {"process": "ttbar", "n": 50, "seed": 11, "mpi": False},
        "wjets": {"process": "Wjets_lnu", "n": 90},
        "mine": {"shards": "x"},
    },
    "n": 30,
    "selection": "l1_j4_b1",
    "golden_json": "certified.json",
}


def test_members_of_a_mixture_inherit_its_selection():
    sample = Sample.model_validate(MIX)
    for name in ("ttbar", "wjets"):
        member = sample.mix[name]
        assert (member.selection, member.golden_json) == ("l1_j4_b1", "certified.json")
    assert sample.mix["mine"].selection is None
    assert Sample.model_validate(sample.to_dict()) == sample
    assert "mix" not in sample_generation.generation(sample.mix["ttbar"])


def test_a_mixture_shares_events_with_whom_a_member_does():
    sample = Sample.model_validate(MIX)
    ttbar = Sample(process="ttbar", n=7, seed=11, selection="l1_j4_b2")
    other = ttbar.model_copy(update={"seed": 12})
    assert sample.shares_events_with(ttbar)
    assert ttbar.shares_events_with(sample)
    assert sample.shares_events_with(Sample(shards="x"))
    assert sample.shares_events_with(sample)
    for apart in (other, Sample(shards="y")):
        assert not sample.shares_events_with(apart)
        assert not apart.shares_events_with(sample)
    second = {"mix": {"a": {"process": "ttbar", "n": 7, "seed": 11}}, "selection": "l1_j4_b2"}
    assert sample.shares_events_with(Sample.model_validate(second))


STUDY = {
    "name": "mixed",
    "title": "mixed",
    "scale": "smoke",
    "samples": {
        "collisions": MIX,
        "signal": {"process": "ttH_bb_1l", "n": 9, "selection": "l1_j4_b1"},
        "ttbar": {"process": "ttbar", "n": 50, "seed": 12, "selection": "l1_j4_b1"},
    },
    "pretrain": {"shipped": {"checkpoint": "shipped"}},
    "task": {"kind": "event_classification", "name": "t", "signal": ["signal"],
             "background": ["ttbar"]},
    "grid": {"modes": ["trees"], "n_train": [10]},
}  # fmt: skip
OWN = {
    "samples": ["collisions"],
    "backbone": {"kind": "transformer"},
    "objective": {"kind": "masked_type"},
    "optim": {"steps": 1},
}


def test_a_study_refuses_a_task_on_events_of_a_mixture():
    study = {**STUDY, "pretrain": {"own": OWN}}
    assert StudyConfig.model_validate(study).unlabelled() == ["collisions"]
    judged = {**study["samples"]["ttbar"], "seed": 11}
    study["samples"] = {**study["samples"], "ttbar": judged}
    with pytest.raises(ValidationError, match=r"'collisions' .* and 'ttbar' .* hold the same"):
        StudyConfig.model_validate(study)


@pytest.fixture(scope="module")
def cocktail():
    """Two generated samples, found in the cache, and cross sections that make both frequent."""
    members = {
        name: sample.model_dump(include={"process", "n", "seed", "mpi", "filter"})
        for name, sample in (("ttH", SIGNAL), ("ttbar", BACKGROUND))
    }
    return Sample.model_validate(
        {
            "mix": members,
            "selection": "l1_j4_b1",
            "cross_sections": {"ttH": 300.0},
            "seed": 4,
            "label": "unlabelled events",
        }
    )


def test_a_mixture_is_made_once_of_what_is_in_the_cache(cocktail, monkeypatch):
    members = [shards(SIGNAL), shards(BACKGROUND)]
    with one_at_a_time(SIGNAL, BACKGROUND) as shared:
        place = materialise(cocktail, shared)
    card = load_card(place)
    assert place.is_relative_to(cache())
    assert card.sample == "unlabelled events"
    found = {row["name"]: row for row in card.composition}
    for name, member in zip(("ttH", "ttbar"), members, strict=True):
        told = load_card(member)
        passed = told.cutflow[-1]["sum_weight"]
        assert found[name]["efficiency"] == pytest.approx(passed / told.sum_weight)
        assert found[name]["content_hash"] == told.content_hash
    assert found["ttH"]["cross_section_pb"] == 300.0
    assert found["ttbar"]["cross_section_pb"] == process("ttbar_1l").cross_section.pb
    monkeypatch.setattr("transferline.mixtures.mix", None)
    assert materialise(cocktail, cache()) == place


def test_the_place_of_a_mixture_follows_whatever_changes_it(cocktail):
    place = materialise(cocktail, cache())
    few = materialise(cocktail.model_copy(update={"n": 20}), cache())
    other = materialise(cocktail.model_copy(update={"n": 20, "seed": 5}), cache())
    third = materialise(cocktail.model_copy(update={"cross_sections": None, "n": 20}), cache())
    assert len({place, few, other, third}) == 4
    assert ShardSet(few).id.tolist() == ShardSet(place).id[:20].tolist()


def test_from_files_to_a_mixture_on_the_command_line(tmp_path, capsys):
    """The members are prepared from generated files, as users do it."""
    out = str(tmp_path / "mixed")
    for name, sample in (("ttH", SIGNAL), ("ttbar", BACKGROUND)):
        words = ["--selection", "l1_j4_b1", "--sample", name, "--out", str(tmp_path / name)]
        assert run(["prepare", str(root_file(sample)), *words]) == 0
    pairs = [f"{name}={tmp_path / name}" for name in ("ttH", "ttbar")]
    capsys.readouterr()
    assert run(["mix", *pairs, "--cross-section", "ttH=400", "--seed", "3", "-o", out]) == 0
    text = capsys.readouterr().out
    card = load_card(out)
    for row in card.composition:
        line = next(line for line in text.splitlines() if line.startswith(row["name"]))
        assert line.split()[-2:] == [f"{row['events']:,}", f"{row['available']:,}"]
        assert f"{row['share']:.3%}" in line
    assert f"wrote {card.n_events} events: {out}" in text
    assert re.search(r"^luminosity +[\d.e-]+ /fb$", text, re.MULTILINE)
    assert re.search(r"^scarcest +tt\w+, which suffices", text, re.MULTILINE)
    assert run(["mix", *pairs, "--cross-section", "ttH=400", "-o", out, "--json"]) == 2
    assert run(["inspect", out]) == 0
    assert f"{card.composition[0]['events']:,} {card.composition[0]['name']}" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a"], 2, "a: is not of the form NAME=SHARDS"),
        (["a=x", "a=y"], 2, "a: is given twice"),
        (["a=x", "--cross-section", "a"], 2, "--cross-section a: is not of the form NAME=PB"),
        (["a=x", "--cross-section", "a=many"], 2, "a=many: is not a number (PB)"),
        (["a=x"], 3, "x: no such directory of shards"),
    ],
)
def test_wrong_command_lines_of_a_mixture_are_explained(tmp_path, capsys, words, code, message):
    assert run(["mix", *words, "--out", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err


FILES = {"reader": {"kind": "nanoaod", "files": ["a.root"]}, "selection": "l1_j4_b1"}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "exactly one of process, jets, hh4b, reader, shards, mix"),
        ({"mix": {}, "selection": "l1_j4_b1"}, "at least 1 item"),
        ({"mix": {"a": {"process": "ttbar", "n": 5}}}, "process needs a selection"),
        ({"mix": {"a": {"shards": "x"}}, "selection": "l1_j4_b1"}, "have theirs already"),
        ({**MIX, "process": "ttbar_1l"}, "exactly one of"),
        ({**MIX, "n": 0}, "greater than 0"),
        ({**MIX, "mpi": False}, "mpi is for each member of the `mix` to say"),
        ({**MIX, "cross_sections": {"ttbr": 1.0}}, "'ttbr' is no member .* Did you mean 'ttbar'"),
        ({**MIX, "cross_sections": {"ttbar": 0.0}}, "greater than 0"),
        ({"shards": "x", "cross_sections": {"a": 1.0}}, "'a' is no member of a `mix`"),
        ({**MIX, "mix": {"a": MIX}}, r"mix\.a: is a mixture itself"),
        (
            {**MIX, "mix": {"a": {"process": "ttbar", "n": 5, "selection": "l1_j4_b2"}}},
            "mix.a: has a selection of its own",
        ),
        (
            {**MIX, "mix": {"a": {"process": "ttbar", "n": 5}, "b": {"process": "ttbar", "n": 9}}},
            "'a' and 'b' hold the same events; generate one of them with another seed",
        ),
        ({**MIX, "mix": {"a": {"process": "ttbar", "n": 5, "sed": 1}}}, "Did you mean 'seed'"),
        ({"process": "ttbar_1l", "shards": "x", "n": 1}, "exactly one of"),
        ({"process": "ttbar_1l", "n": 5}, "needs a selection"),
        ({"shards": "x", "selection": "l1_j4_b1"}, "have theirs already"),
        ({"process": "ttbar_1l", "selection": "l1_j4_b1"}, "belong together"),
        ({"process": "ttbar_1l", "n": 0, "selection": "l1_j4_b1"}, "greater than 0"),
        ({"shards": "x", "golden_json": "g.json"}, "golden_json: shards are selected already"),
        ({"mix": {"a": {"shards": "x"}}, "triggers": ["HLT_X"]}, "triggers: shards are selected"),
        ({"shards": "x", "seed": 7}, "seed is of what is generated; shards has no use for it"),
        ({**FILES, "filter": "lepton"}, "filter is of what is generated; reader has no use"),
        ({**FILES, "lhe": "x.lhe"}, "lhe is of what is generated"),
    ],
)
def test_bad_samples_are_explained(recipe, message):
    with pytest.raises(ValidationError, match=message):
        Sample.model_validate(recipe)


def test_unknown_names_are_config_errors(tmp_path):
    with pytest.raises(ConfigError, match="ttbar_1l"):
        materialise(SIGNAL.model_copy(update={"process": "ttbar_1"}), tmp_path)
    with pytest.raises(ConfigError, match="l1_j4_b2"):
        materialise(SIGNAL.model_copy(update={"selection": "l1_j4_b3"}), tmp_path)


def test_one_environment_variable_says_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("TRANSFERLINE_CACHE")
    assert cache_directory().parts[-2:] == (".cache", "transferline")


def test_a_sample_replaces_triggers_and_certified_blocks_of_its_selection():
    sample = Sample(
        process="ttbar_1l",
        n=10,
        selection="pretraining",
        veto_triggers=["HLT_IsoMu24"],
        golden_json="certified.json",
    )
    chosen = chosen_selection(sample)
    plain = selection("pretraining")
    assert chosen.veto_triggers == ("HLT_IsoMu24",)
    assert chosen.golden_json == "certified.json"
    assert chosen.triggers == plain.triggers
    assert plain.veto_triggers == ()


JETS = Sample(jets="Hbb", n=4, seed=1, mpi=False, selection="jets")


def test_a_class_of_jets_becomes_shards(tmp_path, monkeypatch):
    place = materialise(JETS, tmp_path)
    card = load_card(place)
    assert card.n_events == 4
    assert ShardSet(place).labels["Hbb"].tolist() == [1] * 4
    assert materialise(JETS, tmp_path) == place
    with pytest.raises(ConfigError, match="'jets' has no triggers"):
        materialise(JETS.model_copy(update={"triggers": ("HLT_X",)}), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("transferline.generate.large_jets.blocks.generate_jet_block", None)
        other = {"selection": "jets", "label": "again"}
        assert sample_generation.generated_file(JETS.model_copy(update=other), tmp_path).exists()


def test_studies_that_call_a_sample_otherwise_may_prepare_it_at_once(tmp_path, monkeypatch):
    """Who comes second takes what is there, as it does when it comes later."""
    file = write_jetclass(tmp_path / "a.root", random_jets(9, 5))
    monkeypatch.setattr(samples, "generated_file", lambda *_, **__: file)
    mine, other = (JETS.model_copy(update={"label": name}) for name in ("mine", "other"))
    real, places = samples.prepare, []

    def prepare(*args, **options):
        if not places:
            places.append(None)  # the other study comes in between
            places[0] = materialise(other, tmp_path)
        return real(*args, **options)

    monkeypatch.setattr(samples, "prepare", prepare)
    assert materialise(mine, tmp_path) == places[0]
    assert load_card(places[0]).sample == "other"
    with pytest.raises(ConfigError, match="cross section"):
        monkeypatch.setattr(samples, "cross_section", lambda _: -1.0)
        materialise(mine.model_copy(update={"seed": 9}), tmp_path)


def test_the_place_of_jets_follows_whatever_changes_them():
    base = sample_generation.generation(JETS)
    for change in ({"seed": 2}, {"n": 5}, {"mpi": True}, {"tune": "cp5"}, {"detector": "atlas"}):
        assert sample_generation.generation(JETS.model_copy(update=change)) != base
    assert sample_generation.generation(JETS.model_copy(update={"label": "x"})) == base
    assert JETS.shares_events_with(JETS.model_copy(update={"detector": "atlas"}))
    assert not JETS.shares_events_with(JETS.model_copy(update={"seed": 2}))
    assert not JETS.shares_events_with(SIGNAL)
    assert not SIGNAL.shares_events_with(JETS)
    assert "jets" not in SIGNAL.to_dict()


def test_replicas_become_pairs_or_single_jets(tmp_path):
    pairs = Sample(**(JETS.to_dict() | {"replicas": 2, "selection": "replicas"}))
    shards = NestedShardSet([materialise(pairs, tmp_path)])
    assert len(shards) == 4
    assert shards.n_particles.tolist() == [2] * 4
    (file,) = (tmp_path / "generated").iterdir()
    single = pairs.model_copy(update={"selection": "jets"})
    card = load_card(materialise(single, tmp_path))
    assert (card.n_events, card.cutflow[-1]["sum_weight"], card.sum_weight) == (8, 4.0, 4.0)
    assert list((tmp_path / "generated").iterdir()) == [file]
    base = sample_generation.generation(JETS)
    assert not {"replicas", "showers"} & set(base)
    assert sample_generation.generation(single) == sample_generation.generation(pairs)
    assert sample_generation.generation(pairs)["replicas"] == 2
    assert "replicas" not in JETS.to_dict()
    with pytest.raises(ConfigError, match="Only Pythia showers"):
        sample_generation.generation(pairs.model_copy(update={"generator": "sherpa"}))


def test_replicas_by_themselves_are_prepared_anew_where_each_had_weight_one(tmp_path, monkeypatch):
    """The places of all others are as they were."""
    pairs = Sample(**(JETS.to_dict() | {"replicas": 2, "selection": "replicas"}))
    hashed = []
    monkeypatch.setattr(samples, "json_hash", lambda made_of: hashed.append(made_of) or "0" * 12)
    for sample in (JETS, pairs, pairs.model_copy(update={"selection": "jets"})):
        made_of = sample_generation.generation(sample)
        samples._prepared("jets", chosen_selection(sample), made_of, tmp_path)
    assert ["weights" in made_of for made_of in hashed] == [False, False, True]


@pytest.mark.parametrize("other", [{"process": "ttbar"}, {"hh4b": {"mass": 1000}}])
def test_replicas_are_of_jets(other):
    with pytest.raises(ValidationError, match=r"replicas are of generated jets.*`jets: CLASS`"):
        Sample(**other, n=4, selection="replicas", replicas=2)


def test_jets_of_another_generator_are_other_jets():
    top = JETS.model_copy(update={"jets": "Tbqq"})
    pythia, sherpa = (top.model_copy(update={"generator": g}) for g in ("pythia", "sherpa"))
    assert sample_generation.generation(pythia) == sample_generation.generation(top)
    assert "generator" not in sample_generation.generation(top)
    assert sample_generation.generation(sherpa)["generator"][0] == "sherpa"
    assert "6 -6" in sample_generation.generation(sherpa)["settings"][0][0]
    assert top.shares_events_with(pythia)
    assert not top.shares_events_with(sherpa)
    with pytest.raises(ConfigError, match="Sherpa makes no jets of class Hbb"):
        sample_generation.generation(JETS.model_copy(update={"generator": "sherpa"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": None}, "belong together"),
        ({"process": "ttbar"}, "exactly one of process, jets"),
        ({"filter": "none"}, "jets have no filter"),
        ({"selection": None}, "needs a selection"),
    ],
)
def test_bad_samples_of_jets_are_explained(change, message):
    with pytest.raises(ValidationError, match=message):
        Sample(**(JETS.to_dict() | change))


PROCESS = {"process": "ttbar", "n": 4}
PAIRS = {"jets": "Hbb", "n": 4, "replicas": 2, "label": "two showers"}
LARGE = {"hh4b": {"mass": 1000}, "n": 4}


@pytest.mark.parametrize(
    ("recipe", "chosen", "message"),
    [
        (PROCESS, "jets", "sample 'ttbar': .*'jets' is one of jets, and `process` gives events"),
        (PROCESS, "jet_events", "is one of events of jets, and `process` gives events: choose"),
        ({"jets": "Hbb", "n": 4}, "l1_j4_b1", "sample 'Hbb': .* is one of events, and without"),
        (
            {"jets": "Hbb", "n": 4},
            "replicas",
            "and without `replicas: 2` or more .*: choose one of jets",
        ),
        (PAIRS, "l1_j4_b1", "sample 'two showers': .* choose one of jets .* or of events of jets"),
        (LARGE, "l1_j4_b1", "and `hh4b` gives large jets: choose one of jets .* events of jets"),
        ({"mix": {"a": {"jets": "Hbb", "n": 4}, "b": PROCESS}}, "jets", "sample 'ttbar': "),
        ({"mix": {"a": LARGE}}, "jet_events", "sample 'mixture': .* events of jets are not mixed"),
    ],
)
def test_a_selection_of_another_kind_is_refused_before_anything_is_generated(
    tmp_path, monkeypatch, recipe, chosen, message
):
    monkeypatch.setattr(samples, "generated_file", None)
    sample = Sample.model_validate({**recipe, "selection": chosen})
    for refused in (require_generator, materialise):
        with pytest.raises(ConfigError, match=message):
            refused(sample, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("recipe", "chosen"),
    [(PAIRS, "jets"), (PAIRS, "replicas"), (LARGE, "jets"), (LARGE, "jet_events"),
     (PROCESS, "l1_j4_b1"), ({"mix": {"a": PROCESS}}, "l1_j4_b1"), ({"mix": {"a": LARGE}}, "jets")],
)  # fmt: skip
def test_a_selection_of_what_is_generated_is_taken(tmp_path, recipe, chosen):
    require_generator(Sample.model_validate({**recipe, "selection": chosen}), tmp_path)


EVENTS = Sample(hh4b={"qcd": "600-800"}, n=4, seed=1, mpi=False, selection="jet_events")


def test_events_of_large_jets_become_shards_with_a_cross_section(tmp_path):
    card = load_card(materialise(EVENTS, tmp_path))
    assert card.n_events == 4
    assert 50 < card.cross_section_pb < 400  # 187 pb in CMS's own table, of all events
    assert NestedShardSet([materialise(EVENTS, tmp_path)]).n_particles.min() >= 2
    base = sample_generation.generation(EVENTS)
    for change in ({"seed": 2}, {"n": 5}, {"mpi": True}, {"tune": "cp5"}, {"detector": "atlas"}):
        assert sample_generation.generation(EVENTS.model_copy(update=change)) != base
    assert sample_generation.generation(EVENTS.model_copy(update={"label": "x"})) == base
    signal = Sample(**(EVENTS.to_dict() | {"hh4b": {"mass": 1000}}))
    assert sample_generation.generation(signal) != base
    assert EVENTS.shares_events_with(EVENTS.model_copy(update={"n": 9}))
    assert not EVENTS.shares_events_with(signal)
    assert not EVENTS.shares_events_with(JETS)
    assert "hh4b" not in JETS.to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": None}, "belong together"),
        ({"jets": "Hbb"}, "exactly one of process, jets, hh4b"),
        ({"generator": "sherpa"}, "hh4b have no generator"),
        ({"hh4b": {}}, "either a mass or bounds"),
        ({"hh4b": {"mass": 100}}, "outside 500 to 6000"),
        ({"hh4b": {"qcd": "600"}}, "expected LOW-HIGH"),
    ],
)
def test_bad_samples_of_events_of_large_jets_are_explained(change, message):
    with pytest.raises(ValidationError, match=message):
        Sample(**(EVENTS.to_dict() | change))
