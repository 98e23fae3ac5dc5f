"""Spectra of several files side by side: numbers, properties, and what is refused."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pytest

from transferline.cli import run
from transferline.data.readers.nanoaod import NanoAOD
from transferline.validation.event_file import EventFile
from transferline.validation.file_origin import origin
from transferline.validation.file_spectra import NamedFile, read_spectra
from transferline.validation.histogram import Histogram
from transferline.validation.spectra_figure import spectra_figure
from transferline.validation.spectra_quantities import QUANTITIES
from transferline.validation.statistics import mean, share

from ..data import nanoaod_files
from ..generated_events import BACKGROUND, SIGNAL, root_file

TRUTH = [name for name, quantity in QUANTITIES.items() if quantity.truth]


@pytest.fixture(scope="module")
def files():
    return {"ttbar": root_file(BACKGROUND), "ttH": root_file(SIGNAL)}


@pytest.fixture(scope="module")
def page(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("spectra") / "docs" / "both.md"
    words = [f"{name}={path}" for name, path in files.items()]
    assert run(["validate", "spectra", *words, "--out", str(out), "--title", "Both"]) == 0
    return out


def numbers(page):
    (section,) = json.loads((page.parent / "validation" / f"{page.stem}.json").read_text())[
        "sections"
    ]
    return section["numbers"]


def spectra(path, *, truth=True):
    (found,) = read_spectra([NamedFile("file", str(path))], truth=truth)
    return found


def close(one, two):
    """Two measurements with the same value and error."""
    assert (one.value, one.error) == pytest.approx((two.value, two.error), rel=1e-9)


def direct(path):
    """Some of the quantities of a file, each with its weights, without histograms and chunks."""
    file = EventFile(path)
    jets, w = file.chosen.jets, file.weight
    fourth, flavour = ak.num(jets) >= 4, ak.sum(jets.hadron_flavour == 5, axis=1)
    return {
        "n_jets": (ak.to_numpy(ak.num(jets)), w),
        "n_true_b_jets": (ak.to_numpy(flavour), w),
        "jet4_pt": (np.sort(ak.to_numpy(jets.pt[fourth][:, :4]))[:, 0], w[fourth]),
        "ht": (ak.to_numpy(ak.sum(jets.pt, axis=1)), w),
        "met": (file["MET_pt"], w),
    }


def nearest_pair(jets):
    """(mass, dR) of the two jets that are nearest, by brute force."""
    best = None
    for i, one in enumerate(jets):
        for two in jets[:i]:
            turn = abs(one["phi"] - two["phi"])
            away = np.hypot(one["eta"] - two["eta"], min(turn, 2 * np.pi - turn))
            if best is None or away < best[0]:
                best = (away, one, two)
    p = [_momentum(jet) for jet in best[1:]]
    energy, x, y, z = p[0] + p[1]
    return np.sqrt(energy**2 - x**2 - y**2 - z**2), best[0]


def _momentum(jet):
    pt, eta, phi, mass = (jet[name] for name in ("pt", "eta", "phi", "mass"))
    x, y, z = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.array([np.sqrt(x * x + y * y + z * z + mass * mass), x, y, z])


def test_the_page_has_figure_command_and_origins_without_directories(page, files):
    text = page.read_text()
    names = [f"{name}={path.name}" for name, path in files.items()]
    assert text.startswith("# Both\n")
    assert f"transferline validate spectra {' '.join(names)} --out both.md\n" in text
    assert str(page.parent) not in text and str(files["ttH"].parent) not in text
    assert "verdict" not in text.lower()
    assert "| ttH_bb_1l | Pythia 8." in text and "0.1297 (published)" in text
    assert "no MPI, tune monash, detector cms, filter emu_jets (" in text
    assert "](validation/both-spectra.png)" in text
    assert (page.parent / "validation" / "both-spectra.png").stat().st_size > 50_000


def test_means_and_shares_are_those_of_a_direct_computation(page, files):
    for name, path in files.items():
        found = numbers(page)[name]
        for quantity, (values, weight) in direct(path).items():
            expected = mean(values, weight)
            assert found[quantity]["mean"]["value"] == pytest.approx(expected.value, rel=1e-6)
            assert found[quantity]["mean"]["error"] == pytest.approx(expected.error, rel=1e-4)
        values, weight = direct(path)["n_true_b_jets"]
        for least in (3, 4):
            expected = share(values >= least, weight)
            assert found[f"share_{least}_true_b_jets"]["value"] == pytest.approx(expected.value)
            assert found[f"share_{least}_true_b_jets"]["error"] == pytest.approx(expected.error)


def test_the_nearest_pair_is_that_of_brute_force(files):
    found = spectra(files["ttH"]).histograms
    file = EventFile(files["ttH"])
    some = ak.to_numpy(ak.num(file.chosen.b_jets) > 1)
    pairs = [nearest_pair(jets) for jets in file.chosen.b_jets[some].to_list()]
    expected = np.average(pairs, axis=0, weights=file.weight[some])
    assert len(pairs) > 100
    means = (found["m_bb"].mean().value, found["dr_bb"].mean().value)
    assert means == pytest.approx(tuple(expected), rel=1e-4)


def test_extra_b_jets_are_those_of_the_higgs(page):
    found = numbers(page)
    shares = {name: found[name]["share_3_true_b_jets"]["value"] for name in found}
    assert shares["ttbar"] < 0.1
    assert shares["ttH"] > 0.4


def test_spectra_do_not_depend_on_chunks(files, monkeypatch):
    whole = spectra(files["ttH"]).histograms
    read = NanoAOD.read
    monkeypatch.setattr(NanoAOD, "read", lambda *words: read(*words, chunk_size=37))
    for name, histogram in spectra(files["ttH"]).histograms.items():
        assert np.allclose(histogram.content, whole[name].content)
        assert np.allclose(histogram.variance, whole[name].variance)
        close(histogram.mean(), whole[name].mean())


def test_equal_files_have_ratio_one(files):
    one, two = (spectra(files["ttH"]) for _ in range(2))
    figure = spectra_figure([one, two])
    panels = figure.axes[: 2 * len(QUANTITIES)]
    drawn = [line.get_ydata() for axes in panels[1::2] for line in axes.get_lines()]
    ratios = np.concatenate([np.atleast_1d(y) for y in drawn])
    assert len(ratios) > 100
    assert np.all(ratios == 1.0)


def test_the_figure_has_the_names_of_all_plots_its_legend_on_top_and_heights(files):
    found = spectra(files["ttH"])
    figure = spectra_figure([found, found])
    figure.draw_without_rendering()
    *panels, head = figure.axes
    assert [text.get_text() for text in head.texts] == ["transferline", "Simulation"]
    legend = head.get_legend().get_window_extent()
    assert legend.y0 > max(axes.get_window_extent().y1 for axes in panels)
    for axes in panels[::2]:
        assert sum(bool(label.get_text()) for label in axes.get_yticklabels()) >= 2
    assert [text.get_text() for text in spectra_figure([found], "").axes[-1].texts][1] == ""


def signed(path, factor=1.0):
    """A file with weights of both signs, all times a factor."""
    events = nanoaod_files.random_events(600, seed=4)
    events.weight[:] = events.weight * factor
    return nanoaod_files.write(path, events)


def test_a_factor_on_all_weights_changes_nothing(tmp_path):
    one, two = (spectra(signed(tmp_path / f"{f}.root", f)).histograms for f in (1.0, 8.0))
    for name, histogram in one.items():
        close(histogram.mean(), two[name].mean())
        assert np.allclose(histogram.density(), two[name].density(), equal_nan=True)
    close(one["n_true_b_jets"].share_from(3), two["n_true_b_jets"].share_from(3))


def test_negative_weights_count_negative(tmp_path):
    path = signed(tmp_path / "signed.root")
    file, found = EventFile(path), spectra(path).histograms["met"]
    assert (file.weight < 0.0).any()
    close(found.mean(), mean(np.asarray(file["MET_pt"], float), file.weight))
    assert found.content.sum() == pytest.approx(file.weight.sum())


def test_entries_of_one_event_are_not_independent():
    """Events with the same entry twice are as many as with it once: the error is the same."""
    rng, edges = np.random.default_rng(0), np.linspace(0.0, 1.0, 6)
    values, weight = rng.random(200), rng.choice([1.0, -0.5], 200, p=[0.9, 0.1])
    once, twice = Histogram(edges), Histogram(edges)
    once.add(ak.Array(values[:, None]), weight)
    twice.add(ak.Array(np.stack([values, values], axis=1)), weight)
    close(once.mean(), twice.mean())
    assert np.allclose(once.density(), twice.density())


def test_what_lies_beyond_the_edges_is_in_the_outer_bins():
    histogram = Histogram(np.array([0.0, 1.0, 2.0]))
    histogram.add(ak.Array([[-5.0], [], [2.0, 7.0]]), np.array([1.0, 1.0, 2.0]))
    assert histogram.content.tolist() == [1.0, 4.0]
    assert histogram.variance.tolist() == [1.0, 16.0]
    height, _ = histogram.density()
    assert height.sum() == pytest.approx(1.0)


def test_without_truth_its_rows_are_left_out_and_said_so(files, tmp_path, capsys):
    data = nanoaod_files.write(
        tmp_path / "data.root", nanoaod_files.random_events(300), simulation=False
    )
    out = tmp_path / "page.md"
    words = ["validate", "spectra", f"ttbar={files['ttbar']}", f"run H={data}"]
    assert run([*words, "--out", str(out), "--about", "What it shows."]) == 0
    text = out.read_text()
    said = "Rows about simulation truth are left out: run H has none."
    assert said in text and said in capsys.readouterr().out
    assert "\n\nWhat it shows.\n\n" in text
    assert "rue b jets" not in text
    assert "collision data, NanoAODv9" in text
    assert not {*TRUTH, "share_3_true_b_jets"} & set(numbers(out)["run H"])
    assert run([*words, "--out", str(out), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["sections"][0]["numbers"]) == {"ttbar", "run H"}


def test_provenance_of_another_kind_is_no_error(files):
    source = spectra(files["ttH"]).source
    odd = {"process": 7, "versions": [], "filter": "x", "cross_section": {"pb": None}, "mpi": True}
    assert origin(type(source)(**{**vars(source), "provenance": odd})) == (
        "7", "Pythia", "-", "-", "with MPI, filter -"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{whole}"], 2, "write NAME=FILE"),
        (["={whole}"], 2, "write NAME=FILE"),
        (["a="], 2, "write NAME=FILE"),
        (["a={whole}", "a=other.root"], 2, "'a' names two files"),
        ([f"{name}={{whole}}" for name in "abcdefgh"], 2, "8 files: from 1 to 7"),
        (["a={whole}", "b=missing.root"], 3, "missing.root: cannot be opened"),
        (["a={whole}", "b={cut}"], 3, "cut.root: is truncated"),
        (["a={whole}", "b={text}"], 3, "text.root: is not a ROOT file"),
        (["a={whole}", "b={empty}"], 3, "empty.root: has no events"),
        (["a={whole}", "b={bare}"], 3, "bare.root: tree 'Events' has no branch Muon_tightId"),
        (["a={whole}", "b={zero}"], 3, "zero.root: its weights add up to 0"),
    ],
)
def test_wrong_requests_say_what_is_wrong(words, code, message, tmp_path, capsys):
    events = nanoaod_files.random_events(50)
    places = {name: tmp_path / f"{name}.root" for name in ("whole", "cut", "text", "empty")}
    places |= {name: tmp_path / f"{name}.root" for name in ("bare", "zero")}
    whole = nanoaod_files.write(places["whole"], events).read_bytes()
    places["cut"].write_bytes(whole[: len(whole) // 2])
    places["text"].write_text("no ROOT file")
    nanoaod_files.write(places["empty"], events[:0])
    nanoaod_files.write(places["bare"], events, drop=["Muon_tightId"])
    events.weight[:] = 0.0
    nanoaod_files.write(places["zero"], events)
    out = tmp_path / "page.md"
    words = [word.format(**places) for word in words]
    assert run(["validate", "spectra", *words, "--out", str(out)]) == code
    assert message in capsys.readouterr().err
    assert not out.exists()
