from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferline.data.selections as package
from transferline.config import load_config
from transferline.data.events import SPECIES, identity_hash, unit_interval
from transferline.data.selections import Selection, apply, needed_columns, selection, shipped
from transferline.data.selections.working_points import btag_threshold, jet_puid_bits
from transferline.errors import ConfigError

from . import nanoaod_files as files
from .reference_selection import select

PRE = selection("pretraining")
FAR = [{"eta": 1.5, "phi": phi} for phi in (-2.5, -1.5, 1.5, 2.5)]  # directions of jets
BJET = {"btagDeepFlavB": 0.9}


def run(rows, chosen=PRE, *, is_simulation=True):
    return apply(chosen, files.as_events(rows), is_simulation=is_simulation)


def changed(chosen=PRE, **changes):
    """A selection with nested changes, `jets={"pt_min": 20}`."""
    value = chosen.to_dict()
    for key, change in changes.items():
        value[key] = value[key] | change if isinstance(change, dict) else change
    return Selection.model_validate(value)


def good(**changes):
    """An event that passes `pretraining` with one muon, one b-jet and two other jets."""
    jets = [FAR[0] | BJET, FAR[1], FAR[2]]
    return files.event(**({"muon": [{}], "jet": jets} | changes))


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("pretraining", (1, 0, 2, 1)),
        ("l1_j4_b1", (1, 0, 4, 1)),
        ("l1_tau1_j3_b1", (1, 1, 3, 1)),
        ("l1_j4_b2", (1, 0, 4, 2)),
        ("l2_j2_b1", (2, 0, 2, 1)),
    ],
)
def test_the_five_selections_of_the_study(name, cuts):
    chosen = selection(name)
    found = chosen.cuts
    assert (found.leptons_min, found.taus_min, found.jets_min, found.bjets_min) == cuts
    assert chosen.name == name
    same = {"name", "comment", "cuts"}
    assert chosen.model_dump(exclude=same) == PRE.model_dump(exclude=same)


def test_shipped_are_exactly_these():
    of_counts = ["l1_j4_b1", "l1_j4_b2", "l1_tau1_j3_b1", "l2_j2_b1", "pretraining"]
    of_nodes = ["lnubbbbjj", "lnubbjj", "nunujjjj"]
    assert shipped() == sorted(of_counts + of_nodes)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'l1_j4_b1'"):
        selection("l1_j4_b11")


def check_against_a_plain_loop(chosen, least):
    """Compare event by event, object by object; `least` events must pass."""
    events = files.random_events(1500, seed=11)
    result = apply(chosen, events, is_simulation=True)
    context = [dict(zip(events.context, flags, strict=True))
               for flags in zip(*events.context.values(), strict=True)]  # fmt: skip
    columns = {kind: ak.to_list(array) for kind, array in events.particles.items()}
    expected = []
    for i in range(len(events)):
        row = {kind: lists[i] for kind, lists in columns.items()} | {"context": context[i]}
        objects = select(chosen, row)
        assert (objects is not None) == result.passed[i]
        if objects is not None:
            expected.append(objects)
    assert len(expected) == len(result.events) >= least
    found = result.events.particles["object"]
    for got, want in zip(found, expected, strict=True):
        assert list(zip(got.species, got.pt, got.btag, strict=True)) == want


@pytest.mark.parametrize("name", shipped())
def test_agrees_with_a_plain_loop_over_events(name):
    few = {"l1_tau1_j3_b1": 5, "lnubbbbjj": 1, "nunujjjj": 1}
    check_against_a_plain_loop(changed(selection(name), max_objects=8), few.get(name, 20))


def test_objects_have_their_columns_and_order():
    row = good(
        electron=[{"pt": 50, "eta": -1, "phi": 0}],
        tau=[{"eta": -2, "phi": 3}],
        met=(60.0, 1.0),
        weight=-2.0,
        id=(3, 4, 5),
    )
    result = run([row])
    (found,) = result.events.particles["object"]
    names = ["electron", "muon", "tau", "bjet", "jet", "jet", "met"]
    assert found.species.tolist() == [SPECIES[name] for name in names]
    assert found.charge.tolist() == [-1, 1, 1, 0, 0, 0, 0]
    assert found.btag.tolist() == pytest.approx([0, 0, 0, 0.9, 0.01, 0.01, 0])
    assert (found.pt[-1], found.eta[-1], found.phi[-1], found.mass[-1]) == (60, 0, 1, 0)
    assert result.events.weight.tolist() == [-2.0]
    assert result.events.id[0].tolist() == (3, 4, 5)


def test_jets_include_bjets():
    only = good(jet=[FAR[0] | BJET, FAR[1] | BJET])
    assert len(run([only]).events) == 1


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({"muon": [{"pt": 25.9}]}, False),
        ({"muon": [{"pt": 26.1}]}, True),
        ({"muon": [], "electron": [{"pt": 29.9}]}, False),
        ({"muon": [], "electron": [{"pt": 30.1}]}, True),
        # A hard electron carries a soft muon, and the other way round.
        ({"muon": [{"pt": 16}], "electron": [{"pt": 31, "eta": 1}]}, True),
        ({"muon": [{"pt": 27}], "electron": [{"pt": 16, "eta": 1}]}, True),
        ({"muon": [{"pt": 25}], "electron": [{"pt": 29, "eta": 1}]}, False),
    ],
)
def test_one_lepton_must_be_on_the_trigger_plateau(change, passes):
    assert len(run([good(**change)]).events) == passes


def test_second_lepton_has_the_lower_threshold():
    two = selection("l2_j2_b1")
    jets = [FAR[0] | BJET, FAR[1]]
    rows = [
        files.event(muon=[{}, {"pt": pt, "eta": -2}], jet=jets) for pt in (14.9, 15.1)
    ]  # fmt: skip
    assert run(rows, two).passed.tolist() == [False, True]


@pytest.mark.parametrize(
    "worse",
    [
        {"tight_id": False},
        {"rel_iso": 0.16},
        {"eta": 2.45},
    ],
)
def test_muon_quality(worse):
    assert len(run([good(muon=[worse])]).events) == 0


@pytest.mark.parametrize(
    "worse",
    [{"cut_based": 3}, {"eta": 2.55}, {"eta": 1.5}, {"eta": 1.4, "delta_eta_sc": 0.1}],
)
def test_electron_quality(worse):
    row = good(muon=[], electron=[worse], jet=[{"eta": -1, "phi": p} | BJET for p in (1, 2, 3)])
    assert len(run([row]).events) == 0


@pytest.mark.parametrize(
    "worse",
    [
        {"pt": 29.9},
        {"eta": 2.41},
        {"jet_id": 1},
        {"pt": 49, "pu_id": 0},
        {"eta": 0.2, "phi": 0.2},  # at the muon
        {"eta": -2, "phi": -3.1},  # at the tau, around the corner in phi
    ],
)
def test_jet_quality_and_overlap_removal(worse):
    tau = [{"eta": -2, "phi": 3.1}]
    fine = good(tau=tau, jet=[FAR[0] | BJET, FAR[1]])
    bad = good(tau=tau, jet=[FAR[0] | BJET, FAR[1] | worse])
    assert run([fine, bad]).passed.tolist() == [True, False]


def test_hard_jets_need_no_pileup_identification():
    assert len(run([good(jet=[FAR[0] | BJET, FAR[1] | {"pt": 51, "pu_id": 0}])]).events) == 1


@pytest.mark.parametrize(
    "worse",
    [
        {"vs_jet_level": 4},
        {"decay_mode": 5},
        {"dz": 0.3},
        {"pt": 19},
        {"eta": 2.4},
        {"eta": 0.3, "phi": 0.0},  # at the muon
    ],
)
def test_tau_quality_and_overlap_removal(worse):
    place = {"eta": -2, "phi": 3}
    jets = [FAR[0] | BJET, FAR[1], FAR[2]]
    rows = [good(tau=[place], jet=jets), good(tau=[place | worse], jet=jets)]
    assert run(rows, selection("l1_tau1_j3_b1")).passed.tolist() == [True, False]


@pytest.mark.parametrize("worse", [{"vs_electron_level": 1}, {"vs_muon_level": 0}])
def test_leptons_that_are_not_selected_need_not_be_taus(worse):
    place = {"eta": -2, "phi": 3}
    jets = [FAR[0] | BJET, FAR[1], FAR[2]]
    rows = [good(tau=[place], jet=jets), good(tau=[place | worse], jet=jets)]
    chosen = selection("l1_tau1_j3_b1")
    assert run(rows, chosen).passed.all()  # not asked for
    cuts = chosen.taus.model_copy(update={"vs_electron_level_min": 2, "vs_muon_level_min": 1})
    asked = chosen.model_copy(update={"taus": cuts})
    assert run(rows, asked).passed.tolist() == [True, False]
    assert {"vs_electron_level", "vs_muon_level"} <= set(needed_columns(asked)["tau"])


def test_btag_working_point_follows_the_era():
    value = 0.27  # between the medium points of 2016postVFP (0.2489) and 2017 (0.3040)
    row = good(jet=[FAR[0] | {"btagDeepFlavB": value}, FAR[1]])
    assert len(run([row], changed(era="2016postVFP")).events) == 1
    assert len(run([row], changed(era="2017")).events) == 0
    tight = changed(jets={"btag": {"tagger": "btagDeepFlavB", "working_point": "tight"}})
    assert len(run([row], tight).events) == 0


def test_working_points_of_2016():
    points = [
        btag_threshold("2016postVFP", "btagDeepFlavB", p) for p in ("loose", "medium", "tight")
    ]
    assert points == [0.0480, 0.2489, 0.6377]
    points = ("loose", "medium", "tight")
    assert [jet_puid_bits("2016preVFP", point) for point in points] == [1, 2, 3]
    with pytest.raises(ValueError, match="no pile-up jet identification"):
        jet_puid_bits("2022preEE", "loose")


@pytest.mark.parametrize("order", [(1, 3, 7), (4, 6, 7)], ids=str)
def test_pileup_identification_has_two_orders_of_bits(order):
    """That of 2016 UL in NanoAODv9, and that of all others, whatever the era of the selection."""
    for i, point in enumerate(("loose", "medium", "tight")):
        chosen = changed(jets={"pu_id": {"working_point": point, "pt_max": 50}})
        rows = [
            good(jet=[FAR[0] | BJET, FAR[1] | {"pt": 40, "pu_id": value}]) for value in (0, *order)
        ]
        assert run(rows, chosen).passed.tolist() == [False] + [k >= i for k in range(3)]


def test_any_trigger_and_all_filters():
    triggers, filters = PRE.triggers, PRE.filters
    one = dict.fromkeys(triggers[1:], False)
    none = dict.fromkeys(triggers, False)
    rows = [good(flags=one), good(flags=none), good(flags={filters[2]: False})]
    assert run(rows).passed.tolist() == [True, False, False]


def test_veto_triggers_remove_what_another_data_set_holds():
    chosen = changed(triggers=["HLT_Ele27_WPTight_Gsf"], veto_triggers=["HLT_IsoMu24"])
    rows = [good(), good(flags={"HLT_IsoMu24": False})]
    assert run(rows, chosen).passed.tolist() == [False, True]


def test_golden_json_applies_to_data_only(tmp_path):
    path = tmp_path / "golden.json"
    path.write_text('{"7": [[10, 20]]}')
    chosen = changed(golden_json=str(path))
    rows = [good(id=(7, 10, 1)), good(id=(7, 21, 1)), good(id=(8, 10, 1))]
    assert run(rows, chosen, is_simulation=False).passed.tolist() == [True, False, False]
    assert run(rows, chosen).passed.all()
    path.write_text('{"7": [[10, 30]]}')  # a notebook that stays open
    assert run(rows, chosen, is_simulation=False).passed.tolist() == [True, True, False]


def test_cap_takes_the_softest_jets_and_counts():
    jets = [{"pt": 40 + i, "eta": -1.2, "phi": -3 + 0.5 * i} | BJET for i in range(8)]
    rows = [good(jet=jets), good()]
    result = run(rows, changed(max_objects=6))
    full, small = result.events.particles["object"]
    assert result.capped == 1
    assert full.pt.tolist() == [40, 47, 46, 45, 44, 45]  # muon, four jets, MET
    assert full.species[-1] == SPECIES["met"]
    assert len(small) == 5


def test_cutflow_counts_events_and_signed_weights():
    rows = [
        good(weight=2.0),
        good(weight=-1.0),
        good(weight=3.0, muon=[]),
        good(weight=5.0, flags=dict.fromkeys(PRE.triggers, False)),
    ]
    steps = run(rows).cutflow.steps
    assert [step.name for step in steps] == [
        "all events",
        "trigger",
        "filters",
        "leading lepton",
        "leptons >= 1",
        "jets >= 2",
        "b-jets >= 1",
    ]
    assert [step.events for step in steps] == [4, 3, 3, 2, 2, 2, 2]
    assert [step.sum_weight for step in steps][::5] == [9.0, 1.0]
    assert steps[-1].sum_weight2 == 5.0


def test_without_met_and_without_taus():
    result = run([good(tau=[{"eta": -2, "phi": 3}])], changed(met=False, taus=None))
    species = result.events.particles["object"].species[0].tolist()
    assert SPECIES["met"] not in species
    assert SPECIES["tau"] not in species


def test_no_events_at_all():
    empty = files.random_events(5, 1)[:0]
    result = apply(PRE, empty, is_simulation=True)
    assert len(result.events) == 0
    assert [step.events for step in result.cutflow.steps] == [0] * 7


# What a user can get wrong.


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("era: 2016postvfp", "Did you mean '2016postVFP'"),
        ("cuts: {leptons_mim: 1}", r"x\.yaml:3:8: cuts\.leptons_mim: .*Did you mean 'leptons_min'"),
        ("taus: null\ncuts: {taus_min: 1}", "asks for taus"),
        ("jets: {btag: {tagger: btagDeepB}}", "no working points for tagger 'btagDeepB'"),
        ("era: 2022preEE", "write `pu_id: null`"),
        ("jets: {pt_min: -1}", "greater than or equal to 0"),
    ],
)
def test_mistakes_are_explained(tmp_path, line, message):
    shipped_objects = Path(package.__file__).with_name("objects.yaml")
    (tmp_path / "objects.yaml").write_text(shipped_objects.read_text())
    path = tmp_path / "x.yaml"
    path.write_text(f"base: objects.yaml\nname: mine\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        selection(path)


def test_a_selection_survives_its_own_dictionary(tmp_path):
    path = tmp_path / "again.yaml"
    path.write_text(json.dumps(PRE.to_dict()))  # JSON is YAML
    again = load_config(path, Selection)
    assert again == PRE
    assert again.digest() == PRE.digest()


# Properties.

angle = st.floats(-3.125, 3.125, width=32)
thing = st.fixed_dictionaries(
    {"pt": st.floats(10, 200, width=32), "eta": st.floats(-3, 3, width=32), "phi": angle}
)
jet = st.builds(lambda a, b: a | {"btagDeepFlavB": b}, thing, st.floats(0, 1, width=32))
rows = st.lists(
    st.builds(
        files.event,
        muon=st.lists(thing, max_size=2),
        electron=st.lists(thing, max_size=2),
        tau=st.lists(thing, max_size=2),
        jet=st.lists(jet, max_size=5),
        weight=st.sampled_from([1.0, -1.0]),
    ),
    min_size=1,
    max_size=12,
)
LOOSE = changed(
    cuts={"leptons_min": 0, "jets_min": 1, "bjets_min": 0}, electrons={"leading_pt_min": 0}
)


@given(rows=rows, cut=st.integers(0, 12))
def test_every_event_is_judged_alone(rows, cut):
    events = files.as_events(rows)
    whole = apply(LOOSE, events, is_simulation=True)
    parts = [apply(LOOSE, part, is_simulation=True) for part in (events[:cut], events[cut:])]
    assert files.equal(whole.events, files.join(part.events for part in parts))
    total = parts[0].cutflow + parts[1].cutflow
    assert [s.events for s in total.steps] == [s.events for s in whole.cutflow.steps]
    assert whole.capped == sum(part.capped for part in parts)


@given(rows=rows, seed=st.integers(0, 100))
def test_the_order_of_objects_in_the_file_does_not_matter(rows, seed):
    rng = np.random.default_rng(seed)
    shuffled = [
        row | {kind: [row[kind][i] for i in rng.permutation(len(row[kind]))]
               for kind in ("muon", "electron", "tau", "jet")}
        for row in rows
    ]  # fmt: skip
    one, other = (apply(LOOSE, files.as_events(x), is_simulation=True) for x in (rows, shuffled))
    assert one.passed.tolist() == other.passed.tolist()
    left, right = one.events.particles["object"], other.events.particles["object"]
    assert ak.to_list(left.pt) == ak.to_list(right.pt)  # ties keep their equal pT
    species = [ak.to_list(ak.sort(x.species)) for x in (left, right)]
    assert species[0] == species[1]


@given(seed=st.integers(0, 1000))
def test_folds_do_not_depend_on_the_order_of_events(seed):
    events = files.random_events(50, 2)
    order = np.random.default_rng(seed).permutation(50)
    fold = (unit_interval(identity_hash(events.id)) * 5).astype(int)
    assert np.array_equal(
        (unit_interval(identity_hash(events.id[order])) * 5).astype(int), fold[order]
    )
