"""Bad ROOT files."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from .items import Item, Make, inspect, prepare
from .material import EVENTS, Good

READ = {"inspect": inspect, "prepare": prepare}
Branches = dict[str, Any]

FLIPS = {"quick": 60, "full": 1500}
CUTS = {"quick": 12, "full": 120}


def write_root(
    path: Path, branches: Branches, *, tree: str = "Events", packed: bool = True
) -> Path:
    """Write branches into a tree, and the sums of weights into `Runs`."""
    n = len(next(iter(branches.values()))) if branches else 0
    compression = uproot.ZLIB(1) if packed else None
    with uproot.recreate(path, compression=compression) as file:
        types = {name: ak.type(values).content for name, values in branches.items()}
        written = file.mktree(tree, types)
        if n:
            written.extend(branches)
        sums = {"genEventCount": [n], "genEventSumw": [float(n)], "genEventSumw2": [float(n)]}
        runs = {name: np.array(values) for name, values in sums.items()}
        file.mktree("Runs", {name: values.dtype for name, values in runs.items()}).extend(runs)
    return path


def events(change: Callable[[Branches], Branches | None], **options: Any) -> Make:
    """A file whose branches were changed: in place, or by those returned."""

    def make(good: Good, folder: Path) -> Path:
        branches = dict(good.branches)
        changed = change(branches)
        return write_root(folder / "bad.root", branches if changed is None else changed, **options)

    return make


def changed_bytes(change: Callable[[bytes], bytes], name: str = "bad.root") -> Make:
    """A file whose bytes were changed."""

    def make(good: Good, folder: Path) -> Path:
        path = folder / name
        path.write_bytes(change(good.root.read_bytes()))
        return path

    return make


def named(name: str | bytes) -> Make:
    """A good file under a strange name."""

    def make(good: Good, folder: Path) -> Path:
        path = folder / os.fsdecode(name)
        path.write_bytes(good.root.read_bytes())
        return path

    return make


def _set(name: str, value: float, where: int = 3) -> Callable[[Branches], None]:
    """Put `value` into the first object of an event that has one, or into a scalar."""

    def change(branches: Branches) -> None:
        values = branches[name]
        if values.ndim == 1:
            flat = np.array(values)
            flat[where] = value
            branches[name] = ak.Array(flat)
            return
        counts = np.array(ak.num(values))
        flat = np.array(ak.flatten(values))
        first = np.cumsum(counts) - counts
        flat[first[np.flatnonzero(counts)[where]]] = value
        branches[name] = ak.unflatten(ak.Array(flat), counts)

    return change


def _drop(*names: str) -> Callable[[Branches], None]:
    def change(branches: Branches) -> None:
        for name in names:
            del branches[name]

    return change


def _as(name: str, kind: Any) -> Callable[[Branches], None]:
    def change(branches: Branches) -> None:
        branches[name] = ak.values_astype(branches[name], kind)

    return change


def _text(name: str) -> Callable[[Branches], None]:
    def change(branches: Branches) -> None:
        branches[name] = ak.Array(["text"] * EVENTS)

    return change


def _scalar(name: str) -> Callable[[Branches], None]:
    """A number per event where there must be a list."""

    def change(branches: Branches) -> None:
        branches[name] = ak.Array(np.ones(EVENTS, np.float32))

    return change


def _list(name: str) -> Callable[[Branches], None]:
    """A list per event where there must be a number."""

    def change(branches: Branches) -> None:
        branches[name] = branches["Jet_pt"]

    return change


def _other_counts(branches: Branches) -> None:
    branches["Jet_eta"] = branches["Jet_eta"][:, 1:]


def _huge_counter(branches: Branches) -> None:
    branches["nElectron"] = ak.Array(np.full(EVENTS, 2_000_000_000, np.int32))


def _crowded(branches: Branches) -> None:
    """One event with two hundred thousand jets."""
    for name in [name for name in branches if name.startswith("Jet_")]:
        counts = np.array(ak.num(branches[name]))
        flat = np.array(ak.flatten(branches[name]))
        counts[0] += 200_000
        extra = np.repeat(flat[:1], 200_000)
        branches[name] = ak.unflatten(ak.Array(np.concatenate([extra, flat])), counts)


def _rows(rows: Any) -> Callable[[Branches], Branches]:
    return lambda branches: {name: values[rows] for name, values in branches.items()}


def _same_ids(branches: Branches) -> None:
    branches["event"] = ak.Array(np.ones(EVENTS, np.uint64))


def _nothing_passes(branches: Branches) -> None:
    branches["Jet_pt"] = branches["Jet_pt"] * np.float32(0.01)


def _no_runs(good: Good, folder: Path, sums: dict[str, Any]) -> Path:
    path = folder / "bad.root"
    with uproot.recreate(path) as file:
        branches = good.branches
        types = {name: ak.type(values).content for name, values in branches.items()}
        file.mktree("Events", types).extend(branches)
        arrays = {name: np.array([value]) for name, value in sums.items()}
        file.mktree("Runs", {name: a.dtype for name, a in arrays.items()}).extend(arrays)
    return path


def _provenance(text: str, good: Good, folder: Path) -> Path:
    path = folder / "bad.root"
    path.write_bytes(good.root.read_bytes())
    with uproot.update(path) as file:
        file["transferline"] = text
    return path


def _empty_root(_good: Good, folder: Path) -> Path:
    path = folder / "bad.root"
    with uproot.recreate(path) as file:
        file["note"] = "no tree"
    return path


def _events_is_text(_good: Good, folder: Path) -> Path:
    path = folder / "bad.root"
    with uproot.recreate(path) as file:
        file["Events"] = "not a tree"
    return path


def _directory(_good: Good, folder: Path) -> Path:
    path = folder / "bad.root"
    path.mkdir()
    return path


def _loop(_good: Good, folder: Path) -> Path:
    path = folder / "bad.root"
    path.symlink_to(path)
    return path


def _dangling(_good: Good, folder: Path) -> Path:
    path = folder / "bad.root"
    path.symlink_to(folder / "gone.root")
    return path


def _unreadable(good: Good, folder: Path) -> Path:
    path = folder / "bad.root"
    path.write_bytes(good.root.read_bytes())
    path.chmod(0)
    return path


def _text_file(text: str) -> Make:
    return changed_bytes(lambda _: text.encode())


HTML = "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>Gone</body></html>\n"


def plain_items() -> list[Item]:
    """Files that must be refused, and odd ones that need not be."""
    rows: list[tuple[str, Make, str]] = [
        ("no file", lambda _, folder: folder / "none.root", "none.root: cannot be opened"),
        ("empty", changed_bytes(lambda _: b""), r"bad.root: is empty \(0 bytes\)"),
        ("directory", _directory, "bad.root"),
        ("text", _text_file("hello\n" * 50), "bad.root: is not a ROOT file"),
        ("html error page", _text_file(HTML), "bad.root: is not a ROOT file"),
        ("only the magic bytes", changed_bytes(lambda data: data[:4]), "bad.root: is truncated"),
        ("last byte missing", changed_bytes(lambda data: data[:-1]), "bad.root: is truncated"),
        ("symlink loop", _loop, "bad.root: cannot be opened"),
        ("dangling symlink", _dangling, "bad.root: cannot be opened"),
    ]
    items = [Item("root", name, make, READ, says) for name, make, says in rows]
    items += [_only_prepare(name, make, says) for name, make, says in _prepare_rows()]
    items += [
        Item("root", name, make, READ, says, codes=(3,), may_pass=True)
        for name, make, says in _passing_rows()
    ]
    if os.geteuid() != 0:
        items.append(Item("root", "unreadable", _unreadable, READ, "bad.root: .*ermission"))
    return items


def _only_prepare(name: str, make: Make, says: str) -> Item:
    return Item("root", name, make, {"prepare": prepare}, says)


NEEDED = (
    *("run", "luminosityBlock", "event", "genWeight"),
    *("Electron_phi", "Electron_charge", "Electron_cutBased", "Electron_deltaEtaSC"),
    *("Muon_pt", "Muon_tightId", "Muon_pfRelIso04_all", "Tau_decayMode"),
    *("Jet_eta", "Jet_mass", "Jet_btagDeepFlavB", "Jet_jetId", "MET_pt", "MET_phi"),
)
"""Branches without which `prepare` with the selection of the campaign cannot work."""


def _prepare_rows() -> list[tuple[str, Make, str]]:
    """What `inspect` can describe, and `prepare` must refuse."""
    nan, inf = float("nan"), float("inf")
    rows: list[tuple[str, Make, str]] = [
        ("tree of another name", events(lambda _: None, tree="events"), "no tree 'Events'"),
        ("no tree", _empty_root, "has no tree 'Events'"),
        ("text under the key Events", _events_is_text, "bad.root: has no tree 'Events'"),
        ("zeros behind the header", changed_bytes(lambda d: d[:100] + bytes(len(d))), "bad.root"),
        ("text for numbers", events(_text("Jet_pt")), "bad.root.*Jet_pt"),
        ("a number for a list", events(_scalar("Jet_pt")), "bad.root.*Jet_pt"),
        ("a list for a number", events(_list("MET_pt")), "bad.root.*MET_pt"),
        ("a list for the event number", events(_list("event")), "bad.root.*event"),
        ("counts that differ", events(_other_counts), "bad.root: .*other counts"),
        ("no entry", events(_rows(slice(0, 0))), "hold no event"),
        ("nothing passes", events(_nothing_passes), "no event pass"),
        ("sums that are not finite", partial(_no_runs, sums={
            "genEventCount": 160, "genEventSumw": nan, "genEventSumw2": 1.0}), "bad.root.*genEventSumw"),
        ("a negative count", partial(_no_runs, sums={
            "genEventCount": -5, "genEventSumw": 1.0, "genEventSumw2": 1.0}), "bad.root.*genEventCount"),
        ("provenance that is no JSON", partial(_provenance, "{"), "bad.root.*'transferline'"),
        ("provenance nested deep", partial(_provenance, "[" * 20_000), "bad.root.*'transferline'"),
    ]  # fmt: skip
    for name in NEEDED:
        # Without `run`, `luminosityBlock` or `event` it is no NanoAOD file at all.
        rows.append((f"without {name}", events(_drop(name)), f"bad.root.*{name}"))
    for name in ("Jet_pt", "Jet_eta", "Muon_phi", "Jet_mass", "MET_pt", "MET_phi", "genWeight"):
        rows.append(
            (f"nan in {name}", events(_set(name, nan)), f"bad.root: branch {name} holds nan")
        )
    for name, value in (("Jet_pt", inf), ("MET_pt", inf), ("genWeight", -inf)):
        rows.append(
            (f"{value} in {name}", events(_set(name, value)), f"bad.root: branch {name} holds")
        )
    rows.append(
        ("nan in Jet_btagDeepFlavB", events(_set("Jet_btagDeepFlavB", nan)), "bad.root.*btag")
    )
    return rows


def _passing_rows() -> list[tuple[str, Make, str]]:
    """What may be taken: the output must be whole and finite then."""
    rows: list[tuple[str, Make, str]] = [
        ("more jets than a detector has", events(_crowded), "bad.root.*Jet"),
        ("nan in Muon_pfRelIso04_all", events(_set("Muon_pfRelIso04_all", float("nan"))), ""),
        ("one event", events(_rows(slice(0, 1))), "bad.root|no event"),
        ("every event the same number", events(_same_ids), "bad.root"),
        ("a counter that lies", events(_huge_counter), "bad.root"),
        ("doubles for floats", events(_as("Jet_pt", np.float64)), "bad.root"),
        ("doubles for integers", events(_as("Jet_jetId", np.float64)), "bad.root.*Jet_jetId"),
        ("a signed event number", events(_as("event", np.int64)), "bad.root"),
        ("a negative event number", events(lambda b: b.update(
            event=ak.Array(-np.arange(1, EVENTS + 1)))), "bad.root"),
        ("a huge run number", events(lambda b: b.update(
            run=ak.Array(np.full(EVENTS, 2**40)))), "bad.root.*run"),
        ("a negative pt", events(_set("Jet_pt", -30.0)), "bad.root"),
        ("a pt of zero", events(_set("Muon_pt", 0.0)), "bad.root"),
        ("a pt beyond all machines", events(_set("Jet_pt", 3e38)), "bad.root.*Jet_pt"),
        ("an eta beyond all machines", events(_set("Jet_eta", 3e38)), "bad.root.*Jet_eta"),
        ("a phi beyond the circle", events(_set("Jet_phi", 3e38)), "bad.root.*Jet_phi"),
        ("a weight beyond all", events(_set("genWeight", 3e38)), "bad.root.*genWeight"),
        ("a name with spaces", named("a b  c.root"), "a b  c.root"),
        ("a name in other letters", named("événements 粒子.root"), "粒子.root"),
        ("a name with a newline", named("two\nlines.root"), "lines.root"),
        ("a name with brackets", named("run[1].root"), "run"),
        ("a name that is not UTF-8", named(b"caf\xe9.root"), "caf"),
        ("a name like an option", named("--out.root"), "out.root"),
        ("provenance that is a list", partial(_provenance, "[1, 2]"), "bad.root"),
        ("provenance of other types", partial(_provenance, json.dumps(
            {"process": [1], "cross_section": {"pb": "many"}, "kind": 3})), "bad.root.*transferline"),
        ("provenance of a megabyte", partial(_provenance, json.dumps(
            {"process": "x" * 1_000_000})), "bad.root"),
    ]  # fmt: skip
    return rows


def cut_items(scale: str) -> list[Item]:
    """Files that end too early, at seeded places of every region."""
    items = []
    for number in range(CUTS[scale]):
        share = (number + random.Random(number).random()) / CUTS[scale]
        make = changed_bytes(lambda data, share=share: data[: 5 + int(share * (len(data) - 6))])
        items.append(Item("root cut", f"{number:03d}", make, READ, "bad.root: is truncated"))
    return items


@cache
def _regions(path: Path) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return region -> byte ranges of a good file."""
    with uproot.open(path) as file:
        source = file.file
        tree = file["Events"]
        baskets = []
        for branch in tree.branches:
            for number in range(branch.num_baskets):
                key = branch.basket_key(number)
                baskets.append((key.fSeekKey, key.fSeekKey + key.fNbytes))
        key = file.key("Events")
        return {
            "header": ((0, 100),),
            "keys": ((100, 300), (source.fSeekFree, source.fEND)),
            "streamers": ((source.fSeekInfo, source.fSeekInfo + source.fNbytesInfo),),
            "tree": ((key.fSeekKey, key.fSeekKey + key.fNbytes),),
            "baskets": tuple(baskets),
        }


def _flip(region: str, number: int, packed: bool, good: Good, folder: Path) -> Path:
    source = good.folder / f"flip-{'packed' if packed else 'plain'}.root"
    if not source.exists():
        write_root(source, good.branches, packed=packed)
    data = bytearray(source.read_bytes())
    rng = random.Random(f"{region}/{number}")
    low, high = rng.choice(_regions(source)[region])
    data[rng.randrange(low, min(high, len(data)))] ^= 1 << rng.randrange(8)
    path = folder / "bad.root"
    path.write_bytes(data)
    return path


def flip_items(scale: str) -> list[Item]:
    """Files with one bit turned over, at seeded places of every region."""
    regions = ("header", "keys", "streamers", "tree", "baskets")
    items = []
    for number in range(FLIPS[scale]):
        region, packed = regions[number % len(regions)], number // len(regions) % 3 != 2
        make = partial(_flip, region, number, packed)
        name = f"{region} {number:04d}"
        # `prepare` reads all that `inspect` reads, and more.
        taken = READ if number % 3 == 0 or scale == "full" else {"prepare": prepare}
        items.append(Item("root flip", name, make, taken, "bad.root", may_pass=True))
    return items


def items(scale: str) -> list[Item]:
    """All bad ROOT files."""
    return [*plain_items(), *cut_items(scale), *flip_items(scale)]
