"""Sanity bounds on what the detector makes of 400 ttbar and 300 ttH(bb) events."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from transferline.generate.truth import is_invisible

pythia8mc = pytest.importorskip("pythia8mc")


def objects(events, name, *columns):
    return ak.zip({c: events[f"{name}_{c}"] for c in ("pt", "eta", "phi", *columns)})


def distance(first, second):
    """Angular distance of all pairs, `[event, first, second]`."""
    one, two = ak.unzip(ak.cartesian([first, second], nested=True))
    d_phi = (one.phi - two.phi + np.pi) % (2.0 * np.pi) - np.pi
    return np.hypot(one.eta - two.eta, d_phi)


def nearest(first, second, cone):
    """For each of `first` its nearest of `second`, None beyond `cone`."""
    away = distance(first, second)
    index = ak.argmin(away, axis=2, keepdims=True)
    close = ak.fill_none(ak.min(away, axis=2) < cone, False)
    partner = ak.firsts(ak.cartesian([first, second], nested=True)["1"][index], axis=2)
    return ak.mask(partner, close)


def hard(events, *codes):
    particles = objects(events, "GenPart", "pdgId", "status", "genPartIdxMother", "mass")
    wanted = np.isin(np.abs(ak.to_numpy(ak.flatten(particles.pdgId))), codes)
    return particles[ak.unflatten(wanted, ak.num(particles))]


def jets(events):
    found = objects(events, "Jet", "mass", "btagDeepFlavB", "hadronFlavour", "muonIdx1")
    found["electron"] = events["Jet_electronIdx1"]
    return found[(found.pt > 25.0) & (abs(found.eta) < 2.4)]


def median(values):
    return float(np.median(ak.to_numpy(ak.drop_none(ak.flatten(values, axis=None)))))


def share(condition):
    return float(ak.mean(ak.drop_none(ak.flatten(condition, axis=None))))


def invariant_mass(first, second):
    transverse = 2.0 * first.pt * second.pt
    return np.sqrt(transverse * (np.cosh(first.eta - second.eta) - np.cos(first.phi - second.phi)))


@pytest.mark.parametrize(
    ("name", "code", "eta_max", "bounds"),
    [("Muon", 13, 2.4, (0.93, 1.0)), ("Electron", 11, 2.5, (0.83, 0.98))],
)
def test_hard_leptons_are_found_with_the_right_momentum(ttbar, name, code, eta_max, bounds):
    true = hard(ttbar, code)
    true = true[(true.pt > 30.0) & (abs(true.eta) < eta_max)]
    found = nearest(true, objects(ttbar, name, "charge", "genPartFlav"), 0.1)
    assert bounds[0] < share(~ak.is_none(found, axis=1)) < bounds[1]
    assert 0.97 < median(found.pt / true.pt) < 1.02
    assert share(found.genPartFlav == 1) > 0.97
    assert share(found.charge == -np.sign(true.pdgId)) > 0.99


def test_isolation_separates_prompt_leptons_from_those_of_b_hadrons(ttbar):
    muons = objects(ttbar, "Muon", "pfRelIso04_all", "genPartFlav")
    muons = ak.flatten(muons[muons.pt > 15.0])
    isolated = muons.pfRelIso04_all < 0.15
    assert ak.mean(isolated[muons.genPartFlav == 1]) > 0.75
    assert ak.mean(isolated[muons.genPartFlav == 5]) < 0.15


def test_missing_momentum_follows_the_neutrinos(ttbar):
    shift = ttbar["MET_pt"] * np.cos(ttbar["MET_phi"])
    shift = shift - ttbar["GenMET_pt"] * np.cos(ttbar["GenMET_phi"])
    assert 10.0 < np.std(shift) < 25.0
    assert abs(np.mean(shift)) < 4.0


def test_b_jets_are_tagged_and_others_rarely(ttbar):
    found = ak.flatten(jets(ttbar))
    tagged = found.btagDeepFlavB > 0.2489
    assert 0.70 < ak.mean(tagged[found.hadronFlavour == 5]) < 0.83
    assert 0.06 < ak.mean(tagged[found.hadronFlavour == 4]) < 0.22
    assert ak.mean(tagged[found.hadronFlavour == 0]) < 0.03


def test_every_top_gives_a_jet_with_b_flavour(ttbar):
    true = hard(ttbar, 5)
    true = true[(true.status == 23) & (true.pt > 40.0) & (abs(true.eta) < 2.0)]
    found = nearest(true, jets(ttbar), 0.4)
    assert share(~ak.is_none(found, axis=1)) > 0.95
    assert share(found.hadronFlavour == 5) > 0.93
    assert 0.85 < median(found.pt / true.pt) < 1.0


def test_resonances_have_their_masses(ttbar, tth):
    top, higgs = hard(ttbar, 6), hard(tth, 25)
    assert median(top.mass) == pytest.approx(172.5, abs=0.3)
    assert ak.all(abs(higgs.mass - 125.0) < 1.0)
    assert (ak.to_numpy(ak.sum(top.status == 22, axis=1)) == 2).all()


def test_dijet_masses_peak_at_the_w_and_the_higgs(ttbar, tth):
    for events, mother, codes, window in (
        (ttbar, 24, (1, 2, 3, 4), (70.0, 87.0)),
        (tth, 25, (5,), (100.0, 126.0)),
    ):
        every = objects(events, "GenPart", "pdgId", "genPartIdxMother")
        above = every.pdgId[abs(every.genPartIdxMother)]
        chosen = np.isin(np.abs(ak.to_numpy(ak.flatten(every.pdgId))), codes)
        quarks = every[(abs(above) == mother) & ak.unflatten(chosen, ak.num(every))]
        two = ak.num(quarks) == 2
        found = nearest(quarks[two], jets(events)[two], 0.3)
        both = ak.all(~ak.is_none(found, axis=1), axis=1)
        pair = found[both]
        mass = invariant_mass(pair[:, 0], pair[:, 1])
        mass = mass[mass > 10.0]  # both quarks in one jet
        assert len(mass) > 50
        assert window[0] < median(mass) < window[1]


def test_triggers_fire_on_isolated_leptons(ttbar):
    fired = ttbar["HLT_IsoMu24"] | ttbar["HLT_IsoTkMu24"] | ttbar["HLT_Ele27_WPTight_Gsf"]
    muons = objects(ttbar, "Muon", "tightId", "pfRelIso04_all")
    good = ak.any((muons.pt > 26.0) & muons.tightId & (muons.pfRelIso04_all < 0.15), axis=1)
    assert ak.mean(ttbar["HLT_IsoTkMu24"][good]) > 0.8
    assert 0.25 < ak.mean(fired) < 0.5
    assert ak.all(ttbar["HLT_IsoTkMu24"][ttbar["HLT_IsoMu24"]])


def test_collections_are_ordered_by_pt(ttbar):
    for name in ("Electron", "Muon", "Tau", "Jet"):
        pt = ttbar[f"{name}_pt"]
        assert ak.all(pt[:, 1:] <= pt[:, :-1])


def test_jets_are_not_cleaned_of_leptons_but_linked_to_them(ttbar):
    index = ttbar["Jet_muonIdx1"]
    linked = index >= 0
    muons = objects(ttbar, "Muon")
    partner = muons[index[linked]]
    found = objects(ttbar, "Jet")[linked]
    d_phi = (found.phi - partner.phi + np.pi) % (2.0 * np.pi) - np.pi
    assert ak.max(np.hypot(found.eta - partner.eta, d_phi)) < 0.45
    assert ak.sum(linked) > 0.3 * len(index)


def test_taus_have_nested_working_points(ttbar):
    for name, points in (("VSjet", 8), ("VSe", 8), ("VSmu", 4)):
        mask = ak.to_numpy(ak.flatten(ttbar[f"Tau_idDeepTau2017v2p1{name}"])).astype(int)
        assert np.isin(mask, 2 ** np.arange(points + 1) - 1).all()
    assert set(ak.flatten(ttbar["Tau_decayMode"])) <= {0, 1, 10, 11}
    true = ak.flatten(ttbar["Tau_genPartFlav"]) == 5
    medium = (ak.flatten(ttbar["Tau_idDeepTau2017v2p1VSjet"]) & 16) > 0
    assert ak.mean(medium[true]) > 0.5
    assert ak.mean(medium[~true & (ak.flatten(ttbar["Tau_genPartFlav"]) == 0)]) < 0.2


def test_both_lepton_charges_occur_equally(ttbar):
    lepton = ak.flatten(hard(ttbar, 11, 13, 15).pdgId)
    assert ak.mean(lepton > 0) == pytest.approx(0.5, abs=0.02)


def test_what_no_detector_sees_is_what_pythia_calls_invisible():
    """Dark matter of an LHE file in a calorimeter would be a jet, and no missing momentum."""
    data = pythia8mc.Pythia("", False).particleData
    stable = [12, 16, 51, 52, 53, 1000012, 1000022, 2000014, 9900012, 4900101, 4900111, 4900022]
    seen = [11, 13, 22, 111, 130, 211, 2112, 1000024, 1000021, 4900001]
    assert is_invisible(np.array([*stable, *(-code for code in stable)])).all()
    assert not is_invisible(np.array(seen)).any()
    assert not any(data.isVisible(code) for code in stable)
    assert all(data.isVisible(code) for code in seen)
