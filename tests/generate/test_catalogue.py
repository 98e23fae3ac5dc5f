from __future__ import annotations

import pytest

from transferline.errors import ConfigError
from transferline.generate.catalogue import process, processes
from transferline.generate.hard_filter import hard_filter
from transferline.generate.pythia import TUNES, PythiaRun, tune_settings

GENERATED = [entry for entry in processes() if entry.production]


@pytest.mark.parametrize("entry", GENERATED, ids=lambda entry: entry.name)
def test_every_process_initialises(entry):
    for part in range(len(entry.alternatives)):
        settings = (*entry.settings(part), "PartonLevel:all = off")
        PythiaRun(settings, 1, hard_filter(entry.filter))


@pytest.mark.parametrize("entry", processes(), ids=lambda entry: entry.name)
def test_every_process_is_documented(entry):
    assert entry.purpose
    assert entry.cross_section.reference
    assert entry.cross_section.pb or entry.name == "external"


def test_parameters_follow_the_name():
    assert "37:m0 = 300" in process("Hplus_tb_300").settings(0)
    assert process("Hplus_tb_300").full_name == "Hplus_tb_300"
    assert process("Hplus_tb").full_name == "Hplus_tb_500"
    cascade = process("H0_HpmW_500_400").settings(0)
    assert {"35:m0 = 500", "35:mMin = 485", "35:mMax = 525", "37:m0 = 400"} <= set(cascade)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ttbar_1", "Did you mean 'ttbar_1l'"),
        ("tthbb", "Unknown process 'tthbb'"),
        ("Hplus_tb_heavy", "expected Hplus_tb_MASS"),
        ("Hplus_tb_300_400", "expected Hplus_tb_MASS"),
        ("Hplus_tb_100", "mass = 100 is outside 190 to 3000"),
    ],
)
def test_wrong_names_say_what_is_right(name, message):
    with pytest.raises(ConfigError, match=message):
        process(name)


def test_both_charges_of_the_lepton_occur():
    first, second = process("ttbar_1l").alternatives
    assert first != second


def test_external_events_keep_decays_only():
    settings = process("ttH_bb_1l").settings(0, external=True)
    assert not any(s.startswith("HiggsSM") for s in settings)
    assert "25:onIfMatch = 5 -5" in settings


@pytest.mark.parametrize("tune", TUNES)
def test_tunes_are_known_to_pythia(tune):
    settings = (*process("ttbar").settings(0), *tune_settings(tune), "PartonLevel:all = off")
    PythiaRun(settings, 1, hard_filter("none"))


def test_unknown_setting_is_named():
    with pytest.raises(ConfigError, match="Top:gg2ttbra"):
        PythiaRun(("Top:gg2ttbra = on",), 1, hard_filter("none"))


def test_unknown_tune():
    with pytest.raises(ConfigError, match="Did you mean 'monash'"):
        tune_settings("monas")
