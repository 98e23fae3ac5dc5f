"""Every row of the table of readers keeps the promises of the family."""

from __future__ import annotations

import pytest

from transferline.data.prepare import prepare
from transferline.data.readers import READERS
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection
from transferline.testing import ConformanceError, check_reader

from . import jet_files
from . import nanoaod_files as files


def nanoaod(folder):
    return files.write(folder / "a.root", files.random_events(120, 3))


def shards(folder):
    path = NanoAOD(files=[str(nanoaod(folder))])
    prepare(path, selection("pretraining"), folder / "s", unit_size=50)
    return folder / "s"


def jets():
    return jet_files.random_jets(40, 3)


def jetclass2(folder):
    return jet_files.write_jetclass2(folder / "a.parquet", jets(), row_group_size=15)


EXAMPLES = {
    "nanoaod": nanoaod,
    "shards": shards,
    "jetclass": lambda folder: jet_files.write_jetclass(folder / "a.root", jets()),
    "jetclass2": jetclass2,
    "hbb": lambda folder: jet_files.write_hbb_flat(folder / "a.root", jets()),
    "pfnano": lambda folder: jet_files.write_pfnano(folder / "a.root", jets(), [2] * 20),
    "delphes": lambda folder: jet_files.delphes(),
}


def test_every_reader_has_an_example_file():
    assert set(READERS.names()) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_conformance(name, tmp_path):
    check_reader(READERS.load(name)(files=[str(EXAMPLES[name](tmp_path))]))


class Centimetres(NanoAOD):
    def read(self, *args, **kwargs):
        for events in super().read(*args, **kwargs):
            yield files.as_events([files.event(muon=[{"pt": 1e8}])] * len(events))


def test_the_check_notices_a_wrong_unit(tmp_path):
    with pytest.raises(ConformanceError):
        check_reader(Centimetres(files=[str(nanoaod(tmp_path))]))
