from __future__ import annotations

from pathlib import Path

import pytest
import uproot

from transferline.generate.large_jets.sample import generate_jets


def make(out: Path, jet_class: str = "Hbb", **changes):
    options = {"n": 12, "seed": 1, "mpi": False, "block_size": 6} | changes
    return generate_jets(jet_class, out, **options)


def read(path):
    with uproot.open(path) as file:
        return file["tree"].arrays()


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A few jets of every class that is asked for, made once."""
    folder = tmp_path_factory.mktemp("jets")
    found = {}

    def jets(jet_class):
        if jet_class not in found:
            found[jet_class] = make(folder / f"{jet_class}.root", jet_class)
        return found[jet_class]

    return jets
