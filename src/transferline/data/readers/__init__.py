"""Readers: one file format per file, all yielding `Events`."""

from __future__ import annotations

from transferline.data.readers.base import Reader
from transferline.registry import Registry

READERS: Registry[Reader] = Registry(
    "readers",
    delphes="transferline.data.readers.delphes:Delphes",
    hbb="transferline.data.readers.hbb:Hbb",
    jetclass="transferline.data.readers.jetclass:JetClass",
    jetclass2="transferline.data.readers.jetclass2:JetClass2",
    nanoaod="transferline.data.readers.nanoaod:NanoAOD",
    pfnano="transferline.data.readers.pfnano:PFNano",
    shards="transferline.data.readers.shards:Shards",
)

__all__ = ["READERS", "Reader"]
