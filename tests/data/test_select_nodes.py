"""Selections with a fixed number of objects, for graphs of one size."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from transferline.data.events import SPECIES
from transferline.data.selections import apply, selection
from transferline.errors import ConfigError

from . import nanoaod_files as files
from .test_selections import changed, check_against_a_plain_loop, run

NAMES = {code: name for name, code in SPECIES.items()}
PLACES = [{"eta": 1.5, "phi": phi} for phi in np.linspace(-2.9, 2.9, 8)]
MUON = {"eta": -2.0, "phi": 0.0}


def jets(*pt_and_tag):
    """Jets far from each other and from the muon."""
    return [
        place | {"pt": pt, "btagDeepFlavB": tag}
        for place, (pt, tag) in zip(PLACES, pt_and_tag, strict=False)
    ]


def event(*pt_and_tag, **changes):
    return files.event(**({"muon": [MUON], "jet": jets(*pt_and_tag)} | changes))


def nodes(row, name):
    (found,) = run([row], selection(name)).events.particles["object"]
    return [(NAMES[int(code)], float(pt)) for code, pt in zip(found.species, found.pt, strict=True)]


SIX = ((90, 0.01), (80, 0.3), (70, 0.02), (60, 0.9), (50, 0.1), (40, 0.01))


def test_b_nodes_have_the_highest_scores_and_light_ones_the_highest_pt():
    assert nodes(event(*SIX), "lnubbjj") == [
        ("muon", 40),
        ("jet", 90),
        ("bjet", 80),
        ("jet", 70),
        ("bjet", 60),
        ("met", 45),
    ]


def test_a_b_node_need_not_pass_the_working_point():
    found = nodes(event((90, 0.01), (80, 0.9), (70, 0.02), (60, 0.0)), "lnubbjj")
    assert [pt for name, pt in found if name == "bjet"] == [80, 70]


def test_four_b_nodes():
    found = nodes(event(*SIX), "lnubbbbjj")
    assert len(found) == 8
    assert [pt for name, pt in found if name == "bjet"] == [80, 70, 60, 50]
    assert [pt for name, pt in found if name == "jet"] == [90, 40]


def test_of_equal_scores_the_harder_jet_is_the_b_node():
    found = nodes(event((50, 0.9), (90, 0.9), (70, 0.9), (60, 0.9)), "lnubbjj")
    assert [pt for name, pt in found if name == "bjet"] == [90, 70]


def test_the_hardest_lepton_of_either_kind_is_the_node():
    row = event(*SIX, muon=[MUON], electron=[{"pt": 60, "eta": -1.0, "phi": 2.0}])
    assert nodes(row, "lnubbjj")[:2] == [("electron", 60), ("jet", 90)]


@pytest.mark.parametrize(
    ("row", "name", "passes"),
    [
        (event(*SIX[:3]), "lnubbjj", False),
        (event(*((pt, 0.2) for pt, _ in SIX)), "lnubbjj", False),
        (event(*SIX, muon=[]), "lnubbjj", False),
        (event(*SIX[:5]), "lnubbbbjj", False),
        (event(*((pt, min(tag, 0.2)) for pt, tag in SIX)), "lnubbbbjj", False),
        (event(*SIX, muon=[], met=(101, 0.0)), "nunujjjj", True),
        (event(*SIX, muon=[], met=(99, 0.0)), "nunujjjj", False),
        (event(*SIX, met=(101, 0.0)), "nunujjjj", False),
        (event(*SIX[:3], muon=[], met=(101, 0.0)), "nunujjjj", False),
    ],
)
def test_cuts(row, name, passes):
    assert len(run([row], selection(name)).events) == passes


def test_neutrino_nodes_are_the_hardest_jets_and_need_no_trigger():
    row = event(*SIX, muon=[], met=(150, 0.0), flags=dict.fromkeys(files.FLAGS[:3], False))
    hardest = [("jet", 90), ("jet", 80), ("jet", 70), ("jet", 60), ("met", 150)]
    assert nodes(row, "nunujjjj") == hardest


def loosened(name):
    """With softer jets and less missing momentum, so that random events pass."""
    chosen = selection(name)
    jets, cuts = {"pt_min": 10, "abs_eta_max": 5}, {}
    if chosen.cuts.met_min is not None:
        cuts = {"met_min": 20}
    return changed(chosen, jets=jets, cuts=cuts)


@pytest.mark.parametrize("name", ["lnubbjj", "lnubbbbjj", "nunujjjj"])
def test_agrees_with_a_plain_loop_over_events(name):
    check_against_a_plain_loop(loosened(name), 30)


@pytest.mark.parametrize(("name", "size"), [("lnubbjj", 6), ("lnubbbbjj", 8), ("nunujjjj", 5)])
def test_every_event_has_the_same_size_and_none_is_capped(name, size):
    result = apply(loosened(name), files.random_events(1500, seed=5), is_simulation=True)
    assert len(result.events) > 30
    assert set(ak.num(result.events.particles["object"]).tolist()) == {size}
    assert result.capped == 0


@given(order=st.permutations(range(6)))
def test_the_order_in_the_file_does_not_matter(order):
    assert nodes(event(*(SIX[i] for i in order)), "lnubbjj") == nodes(event(*SIX), "lnubbjj")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": {"bjets": 3, "jets": 2}}, "nodes are 5 jets: cuts.jets_min must ask for them"),
        ({"nodes": {"leptons": 2}}, "nodes are 2 leptons: cuts.leptons_min"),
        ({"max_objects": 5}, "more nodes than max_objects"),
        ({"nodes": {"bjet": 2}}, "Did you mean 'bjets'"),
    ],
)
def test_nodes_that_an_event_may_lack_are_refused(change, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(selection("lnubbjj").to_dict() | change))
    with pytest.raises(ConfigError, match=message):
        selection(path)


def test_keys_that_are_not_used_leave_the_hash_alone():
    """Samples that were prepared before these keys existed are still found."""
    old = selection("l1_j4_b1").to_dict()
    assert set(old["cuts"]) == {"leptons_min", "taus_min", "jets_min", "bjets_min"}
    assert "nodes" not in old
