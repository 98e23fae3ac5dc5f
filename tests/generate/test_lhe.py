from __future__ import annotations

import gzip

import numpy as np
import pytest
import uproot

from transferline.data.origins import Relation, source_origins
from transferline.data.readers.nanoaod import NanoAOD
from transferline.errors import ConfigError, DataError
from transferline.generate.hard_filter import hard_filter
from transferline.generate.lhe import count_events
from transferline.generate.nanoaod import read_arrays, read_provenance
from transferline.generate.pythia import PythiaRun

from .conftest import make
from .drell_yan_lhe import write_lhe

WEIGHTS = [2.0, -1.0, 2.0, 2.0, -1.0, 3.0, 2.0]


def test_events_of_a_file_keep_their_signed_weights(tmp_path):
    source = write_lhe(tmp_path / "dy.lhe", WEIGHTS)
    made = make(tmp_path / "dy.root", "external", n=100, block_size=3, lhe=source)
    arrays = read_arrays(made.path)
    assert made.events == made.tried == len(WEIGHTS)
    assert sorted(arrays["genWeight"]) == sorted(WEIGHTS)
    # Blocks are mixed inside, not across: each holds its own range of the file.
    assert sorted(arrays["genWeight"][:3]) == sorted(WEIGHTS[:3])
    with uproot.open(made.path) as file:
        runs = file["Runs"].arrays(library="np")
    assert runs["genEventSumw"][0] == pytest.approx(sum(WEIGHTS))
    assert runs["genEventSumw2"][0] == pytest.approx(sum(w * w for w in WEIGHTS))
    hard = np.abs(np.asarray(arrays["GenPart_pdgId"][0]))
    assert hard.tolist() == [2, 2, 13, 13]


def test_hard_events_of_a_file_are_not_those_of_the_catalogue(tmp_path):
    source = write_lhe(tmp_path / "dy.lhe", WEIGHTS)
    made = [
        make(tmp_path / f"{seed}.root", "Zjets_ll", n=100, seed=seed, lhe=source, filter="none")
        for seed in (1, 2)
    ]
    assert made[0].cross_section is None
    origins = [source_origins(NanoAOD(files=[str(m.path)]).source(str(m.path))) for m in made]
    assert origins[0].origins[0].relation(origins[1].origins[0]) is Relation.RELATED


def test_the_cross_section_of_a_file_is_counted_once(tmp_path):
    """Two alternatives of a process, with a file or without, and an event for one of them."""
    lhe = write_lhe(tmp_path / "dy.lhe", [2.0] * 6)
    whole = make(tmp_path / "1.root", "ttH_bb_1l", n=6, block_size=6, filter="none")
    few = make(tmp_path / "2.root", "ttH_bb_1l", n=1, block_size=6, filter="none")
    assert len(read_provenance(whole.path)["settings"]) > 1
    assert few.cross_section_generator == pytest.approx(whole.cross_section_generator, rel=0.5)
    file = make(tmp_path / "3.root", "ttH_bb_1l", n=6, block_size=6, filter="none", lhe=lhe)
    assert file.cross_section_generator == pytest.approx(2.0, rel=1e-3)
    told = read_provenance(file.path)["cross_section_pythia"]["what"]
    assert "as the LHE file has it" in told


@pytest.mark.parametrize("strategy", [1, -2])
def test_a_file_that_is_still_to_be_unweighted_is_refused(tmp_path, strategy):
    """Blocks of events would share hard events: Pythia reads several for one that it makes."""
    source = write_lhe(tmp_path / "dy.lhe", WEIGHTS)
    source.write_text(source.read_text().replace(" 0 0 0 0 -4 1", f" 0 0 0 0 {strategy} 1"))
    with pytest.raises(DataError, match=rf"weighted \(IDWTUP = {strategy}\).*Unweight it"):
        make(tmp_path / "x.root", "external", lhe=source)


def test_filter_and_file_do_not_mix(tmp_path):
    source = write_lhe(tmp_path / "dy.lhe", WEIGHTS)
    with pytest.raises(ConfigError, match="cannot be used with --lhe"):
        make(tmp_path / "x.root", "external", lhe=source, filter="lepton")


def test_events_are_counted_in_plain_and_gzipped_files(tmp_path):
    source = write_lhe(tmp_path / "dy.lhe", WEIGHTS)
    packed = tmp_path / "dy.lhe.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    assert count_events(source) == count_events(packed) == len(WEIGHTS)


def test_damaged_files_are_named(tmp_path):
    source = write_lhe(tmp_path / "dy.lhe", WEIGHTS)
    text = source.read_text()
    (tmp_path / "cut.lhe").write_text(text[: text.rindex("</event>")])
    (tmp_path / "other.lhe").write_text("hello\n")
    for name, message in (
        ("cut.lhe", "cut.lhe is empty or truncated"),
        ("other.lhe", "other.lhe is not an LHE file"),
        ("none.lhe", "none.lhe does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            count_events(tmp_path / name)


@pytest.mark.parametrize("name", ["my files/d y.lhe", "d=y.lhe", "d y.lhe.gz"])
def test_a_path_may_hold_what_ends_a_setting(tmp_path, name):
    source = write_lhe(tmp_path / "dy.lhe", WEIGHTS[:3])
    odd = tmp_path / name
    odd.parent.mkdir(exist_ok=True)
    content = source.read_bytes()
    odd.write_bytes(gzip.compress(content) if odd.suffix == ".gz" else content)
    run = PythiaRun((), 1, hard_filter("none"), odd)
    assert sum(batch.n for batch in run.batches(3)) == 3


def test_a_damaged_beginning_is_not_blamed_on_the_tune(tmp_path):
    source = write_lhe(tmp_path / "dy.lhe", WEIGHTS[:3])
    source.write_text(source.read_text().replace("2212 2212 6.5e+03", "2212 beam"))
    with pytest.raises(DataError, match=r"dy\.lhe: Pythia cannot begin .* <init>"):
        PythiaRun((), 1, hard_filter("none"), source)
