"""Bad checkpoints."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .harness import CANARY
from .items import Item, Make, Words, from_checkpoint, study_from_checkpoint
from .material import Good

WEIGHTS, CONFIG, SEEN = "model.safetensors", "config.json", "seen.safetensors"
LOAD: dict[str, Words] = {"transfer": from_checkpoint}
STUDY: dict[str, Words] = {"study": study_from_checkpoint}

FLIPS = {"quick": 3, "full": 150}


def _predict(good: Good, bad: Path, out: Path) -> list[object]:
    return ["predict", bad, good.root, "--out", out / "scores.parquet"]


def _export(_good: Good, bad: Path, out: Path) -> list[object]:
    return ["export", "onnx", bad, "--out", out / "model.onnx"]


DEPLOY: dict[str, Words] = {"predict": _predict, "export": _export}


def copied(change: Callable[[Path], Any], source: str = "checkpoint") -> Make:
    """A copy of a good checkpoint, changed in place."""

    def make(good: Good, folder: Path) -> Path:
        shutil.copytree(getattr(good, source), folder / "model")
        change(folder / "model")
        return folder / "model"

    return make


def _agree(model: Path) -> None:
    """Let the configuration agree with the weights: as one who means harm would."""
    config = json.loads((model / CONFIG).read_text())
    config["weights_sha256"] = hashlib.sha256((model / WEIGHTS).read_bytes()).hexdigest()
    if "seen" in config:
        config["seen"]["sha256"] = hashlib.sha256((model / SEEN).read_bytes()).hexdigest()
    (model / CONFIG).write_text(json.dumps(config))


def configured(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A configuration that was changed in place."""

    def apply(model: Path) -> None:
        config = json.loads((model / CONFIG).read_text())
        change(config)
        (model / CONFIG).write_text(json.dumps(config))

    return apply


def weighted(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """Other tensors, under a configuration that agrees with them."""

    def apply(model: Path) -> None:
        tensors = load_file(model / WEIGHTS)
        change(tensors)
        save_file(tensors, model / WEIGHTS)
        _agree(model)

    return apply


def raw(change: Callable[[bytes], bytes], name: str = WEIGHTS) -> Callable[[Path], None]:
    """Other bytes, under a configuration that agrees with them."""

    def apply(model: Path) -> None:
        (model / name).write_bytes(change((model / name).read_bytes()))
        _agree(model)

    return apply


class _Harm:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


def _pickled(model: Path) -> None:
    """What `torch.save` writes; reading it as torch does would leave the canary."""
    torch.save({"weights": torch.zeros(2), "harm": _Harm(model.parent / CANARY)}, model / WEIGHTS)
    _agree(model)


def _plain_pickle(model: Path) -> None:
    (model / WEIGHTS).write_bytes(pickle.dumps(_Harm(model.parent / CANARY)))
    _agree(model)


def _pt_file(_good: Good, folder: Path) -> Path:
    torch.save(_Harm(folder / CANARY), folder / "model.pt")
    return folder / "model.pt"


def _header(size: int, header: bytes) -> Callable[[bytes], bytes]:
    return lambda _: struct.pack("<Q", size) + header


def _long_header(data: bytes) -> bytes:
    return struct.pack("<Q", 2**60) + data[8:]


def _outside(data: bytes) -> bytes:
    """A header whose offsets lead behind the end of the file."""
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    name = next(name for name in header if name != "__metadata__")
    start, _ = header[name]["data_offsets"]
    header[name]["data_offsets"] = [start, start + 2**40]
    header[name]["shape"] = [2**38]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + n :]


def _flip(name: str, number: int) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        data = bytearray((model / name).read_bytes())
        rng = random.Random(f"{name}/{number}")
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (model / name).write_bytes(data)

    return change


def _shorter_lists(model: Path) -> None:
    lists = load_file(model / SEEN)
    save_file({name: tensor[1:].clone() for name, tensor in lists.items()}, model / SEEN)
    _agree(model)


def _exchange(model: Path) -> None:
    (model / WEIGHTS).rename(model / "swap")
    (model / CONFIG).rename(model / WEIGHTS)
    (model / "swap").rename(model / CONFIG)


def _other_weights(good: Good, folder: Path) -> Path:
    shutil.copytree(good.checkpoint, folder / "model")
    shutil.copy(good.trained / WEIGHTS, folder / "model" / WEIGHTS)
    return folder / "model"


def _model(*path: Any) -> Callable[[Path], None]:
    """Put the last argument into the recipe of the model where the others lead."""
    *keys, last, value = path

    def change(config: dict[str, Any]) -> None:
        inner = config["model"]
        for key in keys:
            inner = inner[key]
        inner[last] = value

    return configured(change)


def _files() -> list[tuple[str, Make, str]]:
    config = r"config\.json"
    return [
        ("no directory", lambda _, folder: folder / "none", "none"),
        ("shards instead", lambda good, _: good.shards, "not a checkpoint"),
        ("a .pt file", _pt_file, "model.pt"),
        ("no weights", copied(lambda m: (m / WEIGHTS).unlink()), WEIGHTS),
        ("no configuration", copied(lambda m: (m / CONFIG).unlink()), "not a checkpoint"),
        ("weights a directory", copied(lambda m: ((m / WEIGHTS).unlink(), (m / WEIGHTS).mkdir())),
            WEIGHTS),
        ("weights empty", copied(lambda m: (m / WEIGHTS).write_bytes(b"")), WEIGHTS),
        ("weights cut", copied(lambda m: (m / WEIGHTS).write_bytes(
            (m / WEIGHTS).read_bytes()[:-5])), WEIGHTS),
        ("weights of another", _other_weights, WEIGHTS),
        ("files exchanged", copied(_exchange), config),
        ("configuration empty", copied(lambda m: (m / CONFIG).write_bytes(b"")), config),
        ("configuration cut", copied(lambda m: (m / CONFIG).write_bytes(
            (m / CONFIG).read_bytes()[:500])), config),
        ("configuration not UTF-8", copied(lambda m: (m / CONFIG).write_bytes(b"\xff\xfe")), config),
        ("configuration nested deep", copied(lambda m: (m / CONFIG).write_text("[" * 100_000)), config),
        ("configuration a list", copied(lambda m: (m / CONFIG).write_text("[1]")), config),
        ("configuration of 10 MB", copied(configured(lambda c: (
            c.clear(), c.update(x="y" * 10_000_000)))), config),
        ("recipe of 10 MB", copied(_model("y" * 10_000_000, 1)), config),
        ("unknown format", copied(configured(lambda c: c.update(format=99))), "format 99"),
        ("format of 10 MB", copied(configured(lambda c: c.update(format="9" * 10_000_000))), config),
        ("no recipe", copied(configured(lambda c: c.pop("model"))), config),
        ("recipe is text", copied(configured(lambda c: c.update(model="x"))), config),
        ("unknown backbone", copied(_model("backbone", "kind", "tranformer")),
            f"{config}.*Did you mean 'transformer'"),
        ("a module as backbone", copied(_model("backbone", "kind", "os:system")), config),
        ("unknown feature", copied(_model("features", "particles", ["log_ptt"])), config),
        ("unknown key", copied(_model("backbone", "widht", 3)), config),
        ("width beyond memory", copied(_model("backbone", "width", 10**9)), config),
        ("depth beyond patience", copied(_model("backbone", "depth", 10**9)), config),
        ("width 10^30", copied(_model("backbone", "width", 10**30)), config),
        ("another width", copied(_model("backbone", "width", 32)), "model.*shape"),
        ("another depth", copied(_model("backbone", "depth", 2)), "model.*missing"),
        ("hash of another type", copied(configured(lambda c: c.update(weights_sha256=5))), config),
        ("provenance is text", copied(configured(lambda c: c.update(provenance="x"))), config),
        ("provenance of another shape", copied(configured(
            lambda c: c.update(provenance={"config": [1], "data": 5}))), ""),
        ("selection is text", copied(configured(lambda c: c.update(selection="x"))), config),
        ("seen is text", copied(configured(lambda c: c.update(seen="x"))), config),
        ("seen of another shape", copied(configured(lambda c: c["seen"].update(parts=[5]))), "seen|config"),
        ("seen missing", copied(lambda m: (m / SEEN).unlink()), SEEN),
        ("seen damaged", copied(lambda m: (m / SEEN).write_bytes(b"x" * 100)), SEEN),
        ("seen garbage, hash agrees", copied(raw(lambda d: b"x" * 100, SEEN)), SEEN),
    ]  # fmt: skip


def _tensors() -> list[tuple[str, Make, str]]:
    """Weights whose hash agrees with the configuration."""
    name = "backbone.embedding.0.weight"
    return [
        ("a torch pickle", copied(_pickled), f"{WEIGHTS}: is not a safetensors"),
        ("a plain pickle", copied(_plain_pickle), f"{WEIGHTS}: is not a safetensors"),
        ("header too long", copied(raw(_long_header)), WEIGHTS),
        ("header of zeros", copied(raw(lambda d: bytes(len(d)))), WEIGHTS),
        ("header nested deep", copied(raw(_header(100_000, b"[" * 100_000))), WEIGHTS),
        ("offsets outside", copied(raw(_outside)), WEIGHTS),
        ("text", copied(raw(lambda _: b"hello\n" * 20)), WEIGHTS),
        ("cut", copied(raw(lambda d: d[:-7])), WEIGHTS),
        ("missing tensor", copied(weighted(lambda t: t.pop(name))), f"model.*missing: {name}"),
        ("extra tensor", copied(weighted(lambda t: t.update(extra=torch.zeros(1)))),
            "model.*not part of the model: extra"),
        ("10,000 extra tensors", copied(weighted(
            lambda t: t.update({f"extra{i}": torch.zeros(1) for i in range(10_000)}))), "model.*extra"),
        ("wrong shape", copied(weighted(lambda t: t.update({name: torch.zeros(2, 2)}))),
            f"model.*{name}: shape"),
        ("wrong type", copied(weighted(lambda t: t.update({name: t[name].double()}))), f"model.*{name}"),
        ("integers", copied(weighted(lambda t: t.update({name: t[name].long()}))), f"model.*{name}"),
        ("weights that are NaN", copied(weighted(
            lambda t: t.update({name: t[name] * float("nan")}))), f"{WEIGHTS}: .*{name} holds NaN"),
        ("lists of events that are cut", copied(_shorter_lists), "seen.safetensors: does not fit"),
    ]  # fmt: skip


def _deployed() -> list[tuple[str, Make, str]]:
    """Models with a head, for the commands that apply them."""
    name = "head.0.weight"

    def adapted(change: Callable[[Path], Any]) -> Make:
        return copied(change, source="trained")

    return [
        ("no directory", lambda _, folder: folder / "none", "none"),
        ("a .pt file", _pt_file, "model.pt"),
        ("a torch pickle", adapted(_pickled), f"{WEIGHTS}: is not a safetensors"),
        ("unknown backbone", adapted(_model("backbone", "kind", "gta")), CONFIG),
        ("missing tensor", adapted(weighted(lambda t: t.pop(name))), f"missing: {name}"),
        ("provenance is a list", adapted(configured(lambda c: c.update(provenance=[]))), CONFIG),
        ("classes are numbers", adapted(configured(
            lambda c: c["provenance"].update(classes=[1, 2]))), CONFIG),
        ("task is text", adapted(configured(lambda c: c["provenance"].update(task="x"))), CONFIG),
    ]  # fmt: skip


def items(scale: str) -> list[Item]:
    """All bad checkpoints."""
    rows = [*_files(), *_tensors()]
    found = [Item("checkpoint", n, make, LOAD, says, codes=(3,)) for n, make, says in rows]
    both = {**LOAD, **STUDY}
    chosen = ("no directory", "a .pt file", "a torch pickle", "unknown backbone", "missing tensor")
    found = [item.but(commands=both) if item.name in chosen else item for item in found]
    found += [Item("model", n, make, DEPLOY, says) for n, make, says in _deployed()]
    unread = copied(lambda m: (m / "card.md").write_bytes(b"\xff\xfe"))
    found.append(Item("checkpoint", "card not UTF-8", unread, LOAD, may_pass=True))
    for name, value in (("of another shape", {"name": 5}), ("absent", None)):
        make = copied(configured(lambda c, v=value: c.update(selection=v)), source="trained")
        found.append(Item("model", f"selection {name}", make, {"predict": _predict}, "selection"))
    for number in range(FLIPS[scale]):
        # In the configuration a changed letter of a comment or of a time does not matter.
        for file in (WEIGHTS, SEEN, CONFIG, "card.md"):
            loose = file in (CONFIG, "card.md")
            make = copied(_flip(file, number))
            item = Item("checkpoint flip", f"{file} {number:03d}", make, LOAD, may_pass=loose)
            found.append(item)
    return found
