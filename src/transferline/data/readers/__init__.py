"""Readers: one file format per file, all yielding `Events`."""

from __future__ import annotations

from transferline.data.readers.base import Reader
from transferline.registry import Registry

READERS: Registry[Reader] = Registry(
    "readers",
    nanoaod="transferline.data.readers.nanoaod:NanoAOD",
    shards="transferline.data.readers.shards:Shards",
)

__all__ = ["READERS", "Reader"]
