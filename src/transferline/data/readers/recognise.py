"""Tell which reader of jets a file is for, from what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transferline.data.layouts import delphes, hbb, jetclass
from transferline.data.readers.addresses import is_url

_TREES = {
    jetclass.JETCLASS.tree: "jetclass",
    hbb.HBB.tree: "hbb",
    delphes.TREE: "delphes",
}
_MAGIC = b"PAR1"


def jet_reader(trees: Iterable[str]) -> str | None:
    """Return the reader of files with one of these trees, None if there is none.

    >>> jet_reader(["deepntuplizer/tree"])
    'hbb'
    """
    return next((_TREES[name] for name in trees if name in _TREES), None)


def constituents_of(branches: set[str]) -> list[str]:
    """Return the jets of NanoAOD whose constituents are there, as PFNano has them.

    >>> constituents_of({"FatJetPFCands_jetIdx", "FatJet_pt"})
    ['FatJet']
    """
    return [jets for jets in ("FatJet", "Jet") if f"{jets}PFCands_jetIdx" in branches]


def is_parquet(path: str) -> bool:
    """Tell whether a local file is Parquet, whole or not."""
    if is_url(path) or not Path(path).is_file():
        return False
    with Path(path).open("rb") as handle:
        return handle.read(len(_MAGIC)) == _MAGIC
