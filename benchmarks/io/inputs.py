"""Inputs of the benchmarks: one generated sample, and copies of it up to millions of events."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from warnings import catch_warnings, simplefilter

import awkward as ak
import uproot

from transferline.sample_generation import generated_file
from transferline.samples import Sample

_PART = 10_000  # events per basket, as in the generator's files


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults take under ten minutes on two idle cores."""

    sample: int = 50_000
    generate_events: int = 500
    generate_rounds: int = 7
    prepare_copies: int = 4
    prepare_rounds: int = 9
    scaling_copies: int = 100
    scaling_rounds: int = 3
    loader_steps: int = 60
    loader_rounds: int = 5
    memory_copies: tuple[int, int] = (2, 20)
    memory_steps: int = 150
    memory_rounds: int = 3


TINY = Sizes(
    sample=60,
    generate_events=4,
    generate_rounds=1,
    prepare_copies=2,
    prepare_rounds=1,
    scaling_copies=2,
    scaling_rounds=1,
    loader_steps=2,
    loader_rounds=1,
    memory_copies=(1, 2),
    memory_steps=2,
    memory_rounds=1,
)
"""Everything once and small: says that the programs run, and nothing else."""

EVERY_EVENT = """name: every_event
comment: no cut at all
era: 2016postVFP
electrons: {pt_min: 15, leading_pt_min: 30, abs_eta_max: 2.5, cut_based_min: 4}
muons: {pt_min: 15, leading_pt_min: 26, abs_eta_max: 2.4, tight_id: true, rel_iso_max: 0.15}
taus: {pt_min: 20, abs_eta_max: 2.3}
jets: {pt_min: 30, abs_eta_max: 2.4, btag: {tagger: btagDeepFlavB, working_point: medium}}
"""


def sample_file(n: int, jobs: int) -> Path:
    """Return a ROOT file of `n` generated ttbar events, kept in the cache of samples."""
    sample = Sample(process="ttbar_1l", n=n, seed=1, mpi=False, selection="pretraining")
    return generated_file(sample, jobs=jobs)


def copies(file: Path, n: int, folder: Path) -> list[str]:
    """Name one file `n` times: to a reader that is `n` files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"copy-{i:04d}.root" for i in range(n)]
    for path in paths:
        if not path.exists():
            path.symlink_to(file)
    return [str(path) for path in paths]


def enlarged(file: Path, times: int, target: Path) -> Path:
    """Write the events of `file` several times into one file: real ones are larger than ours."""
    with uproot.open(file) as source, uproot.recreate(target) as out:
        whole = _collections(source["Events"].arrays())
        tree = out.mktree("Events", {name: values.type for name, values in whole.items()})
        n = len(whole["event"])
        for _ in range(times):
            for low in range(0, n, _PART):
                tree.extend({name: values[low : low + _PART] for name, values in whole.items()})
        runs = source["Runs"].arrays(library="np")
        out.mktree("Runs", {name: v.dtype for name, v in runs.items()}).extend(runs)
    return target


def _collections(events: ak.Array) -> dict[str, ak.Array]:
    """Zip branches `Jet_pt`, `Jet_eta`, ... counted by `nJet` to one collection `Jet`."""
    counted = [name[1:] for name in events.fields if name.startswith("n")]
    members = {
        name: [field for field in events.fields if field.startswith(f"{name}_")] for name in counted
    }
    whole = {
        name: ak.zip({field[len(name) + 1 :]: events[field] for field in fields})
        for name, fields in members.items()
    }
    inside = {field for fields in members.values() for field in fields}
    alone = [f for f in events.fields if f not in inside and f[1:] not in counted]
    return {**{name: events[name] for name in alone}, **whole}


def forget_pages(file: Path) -> None:
    """Drop a file from the system's page cache, so that the disk is read again."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep progress and warnings about copied events from the screen."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere), catch_warnings():
        simplefilter("ignore")
        yield


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty directory, removed afterwards."""
    with TemporaryDirectory(prefix="transferline-bench-") as name:
        yield Path(name)
