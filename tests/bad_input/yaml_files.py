"""Bad YAML, for every command that takes a configuration."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .harness import CANARY
from .items import Item, Make, Words, transfer_words
from .material import Good, write_yaml

MUTATIONS = {"quick": 2, "full": 120}
"""Values put in place of single values, per kind of configuration."""


def _pretrain(_good: Good, bad: Path, out: Path) -> Sequence[object]:
    return ["pretrain", bad, "--out", out / "pre"]


def _transfer(good: Good, bad: Path, out: Path) -> Sequence[object]:
    return transfer_words(good.checkpoint, bad, out)


def _study(_good: Good, bad: Path, out: Path) -> Sequence[object]:
    return ["study", bad, "--out", out / "study"]


def _check(_good: Good, bad: Path, _out: Path) -> Sequence[object]:
    return ["study", bad, "--check"]


def _selection(good: Good, bad: Path, out: Path) -> Sequence[object]:
    return ["prepare", good.root, "--selection", bad, "--out", out / "shards"]


def _detector(_good: Good, bad: Path, out: Path) -> Sequence[object]:
    words = ["generate", "events", "ttbar_1l", "--no-mpi", "-n", 1, "--detector", bad]
    return [*words, "--out", out / "x.root"]


def _claims(good: Good, bad: Path, out: Path) -> Sequence[object]:
    return ["report", good.records, "--claims", bad, "--markdown", out / "page.md"]


COMMANDS: dict[str, Words] = {
    "pretrain": _pretrain,
    "transfer": _transfer,
    "study": _study,
    "selection": _selection,
    "detector": _detector,
    "claims": _claims,
}


def _text(text: str | bytes, name: str = "bad.yaml") -> Make:
    def make(_good: Good, folder: Path) -> Path:
        path = folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return make


def _executing(_good: Good, folder: Path) -> Path:
    path = folder / "bad.yaml"
    path.write_text(f'a: !!python/object/apply:os.system ["touch {folder / CANARY}"]\n')
    return path


def _bomb(width: int = 9, depth: int = 9) -> str:
    """Aliases of aliases: nine lines for nine to the power of nine values."""
    lines = ["a0: &a0 [1, 1, 1]"]
    for i in range(1, depth):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]")
    return "\n".join(lines)


def _bases(names: dict[str, str]) -> Make:
    def make(_good: Good, folder: Path) -> Path:
        for name, text in names.items():
            (folder / name).write_text(text)
        return folder / "bad.yaml"

    return make


def _directory(_good: Good, folder: Path) -> Path:
    path = folder / "bad.yaml"
    path.mkdir()
    return path


MEGABYTE = 1_000_000


def _syntax() -> list[tuple[str, Make, str]]:
    place = r"bad\.yaml:\d+(:\d+)?: "
    return [
        ("no file", lambda _, folder: folder / "bad.yaml", r"bad\.yaml: cannot be read"),
        ("directory", _directory, r"bad\.yaml: cannot be read"),
        ("empty", _text(""), r"bad\.yaml"),
        ("only a comment", _text("# nothing\n"), r"bad\.yaml"),
        ("list at the top", _text("- a\n- b\n"), r"bad\.yaml"),
        ("one word", _text("hello"), r"bad\.yaml"),
        ("not UTF-8", _text(b"a: \xff\xfe\n"), r"bad\.yaml: is not UTF-8"),
        ("UTF-16", _text("a: b".encode("utf-16")), r"bad\.yaml: is not UTF-8"),
        ("a NUL", _text("a: b\0c\n"), place),
        ("a NUL written out", _text('a: "b\\0c"\n'), place),
        ("a tab", _text("a:\n\tb: 1\n"), place),
        ("a key twice", _text("a: 1\na: 2\n"), place + "the key 'a' stands twice"),
        ("an open quote", _text('a: "b\n'), place),
        ("an open bracket", _text("a: [1, 2\nb: 3\n"), place),
        ("two documents", _text("a: 1\n---\nb: 2\n"), place),
        ("an unknown alias", _text("a: *b\n"), place),
        ("an alias of itself", _text("a: &a [*a]\n"), place),
        ("a list for a key", _text("? [1, 2]\n: 3\n"), place),
        ("a mapping for a key", _text("? {a: 1}\n: 3\n"), place),
        ("a merge with a number", _text("a: {<<: 3}\n"), place),
        ("a tag that runs a command", _executing, place + "the tag .* is not allowed"),
        ("a tag of its own", _text("a: !thing 1\n"), place + "the tag '!thing' is not allowed"),
        ("a binary", _text("a: !!binary aGk=\n"), place + "the tag .* is not allowed"),
        ("an integer of 5,000 digits", _text("a: " + "9" * 5000), place),
        ("a long tag", _text(f"a: !{'x' * 5000} 1\n"), place),
        ("aliases of aliases", _text(_bomb()), place + "here stand more than"),
        ("deep lists", _text("[" * 100_000), place + "more than 50 "),
        ("deep mappings", _text("{a: " * 100_000), place + "more than 50 "),
        ("deep blocks", _text("- " * 100_000), place + "more than 50 "),
        ("a key of a megabyte", _text("k" * MEGABYTE + ": 1\n"), r"larger than 1 MB"),
        ("a value of a megabyte", _text("a: " + "x" * MEGABYTE), r"larger than 1 MB"),
        ("a key of half a megabyte", _text('? "' + "k" * 500_000 + '"\n: 1\n'), place),
        ("a hundred thousand values", _text("a: [" + "1, " * 100_000 + "]"), place + "here stand"),
        ("5,000 unknown keys", _text("".join(f"k{i}: 1\n" for i in range(5_000))), place),
        ("a HTML error page", _text("<!DOCTYPE html>\n<html>\n<body>Gone: 404</body>\n"), r"bad\.yaml"),
        ("a ROOT file", lambda good, folder: _text(good.root.read_bytes())(good, folder), r"bad\.yaml"),
    ]  # fmt: skip


_SLOW = ("5,000 unknown keys", "a hundred thousand values", "a key of half a megabyte")
"""Seconds each, and the same code for every command."""


def _files() -> list[tuple[str, Make, str]]:
    return [
        ("base missing", _bases({"bad.yaml": "base: none.yaml\n"}), r"none\.yaml: cannot be read"),
        ("base of itself", _bases({"bad.yaml": "base: bad.yaml\n"}), "one level is allowed"),
        ("bases in a circle", _bases({"bad.yaml": "base: b.yaml\n", "b.yaml": "base: bad.yaml\n"}),
            "one level is allowed"),
        ("base a number", _bases({"bad.yaml": "base: 5\n"}), r"bad\.yaml:1:1: base"),
        ("base a directory", _bases({"bad.yaml": "base: .\n"}), "cannot be read"),
        ("base a list", _bases({"bad.yaml": "base: bad.txt\n", "bad.txt": "[1]"}), "bad.txt"),
        ("base with a long name", _bases({"bad.yaml": f"base: {'x' * 5000}\n"}), "cannot be read"),
    ]  # fmt: skip


def _changed(kind: str, change: Callable[[dict[str, Any]], Any]) -> Make:
    def make(good: Good, folder: Path) -> Path:
        config = good.config(kind)
        change(config)
        return write_yaml(folder / "bad.yaml", config)

    return make


def _added(kind: str, line: str) -> Make:
    def make(good: Good, folder: Path) -> Path:
        path = write_yaml(folder / "bad.yaml", good.config(kind))
        path.write_text(path.read_text() + line + "\n")
        return path

    return make


def _put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Put the last of the arguments where the others lead."""
    *keys, last, value = path

    def change(config: dict[str, Any]) -> None:
        for key in keys:
            config = config[key]
        config[last] = value

    return change


FIRST_KEYS = {
    "pretrain": "backbone",
    "transfer": "task",
    "study": "samples",
    "selection": "electrons",
    "detector": "tracker",
    "claims": "claims",
}


def _keys() -> Iterator[Item]:
    """Unknown, misspelt and missing keys of every kind."""
    for kind, words in COMMANDS.items():
        first = FIRST_KEYS[kind]
        near = first[:-2] + first[-1] + first[-2]
        rows = [
            ("unknown key", _added(kind, "zzz: 1"), r"bad\.yaml:\d+:1: zzz: unknown key"),
            ("near miss", _added(kind, f"{near}: 1"), f"Did you mean '{first}'"),
            ("missing key", _changed(kind, lambda c, k=first: c.pop(k)), f"{first}.*required"),
            ("a key that is null", _changed(kind, _put(first, None)), first),
            ("a key that is text", _changed(kind, _put(first, "text")), first),
            ("a key that is a list of lists", _changed(kind, _put(first, [[[]]])), first),
            ("a key that is a number", _added(kind, "3: 1"), "bad.yaml"),
            ("a key that is null itself", _added(kind, "null: 1"), "bad.yaml"),
        ]
        for name, make, says in rows:
            yield Item(f"yaml {kind}", name, make, {kind: words}, says, codes=(2,))


NUMBERS = {
    "pretrain": (
        *(("optim", "lr", value) for value in (float("nan"), float("inf"), -1.0, 0.0, "fast")),
        *(("optim", "steps", value) for value in (0, -1, 1.5, 10**30)),
        *(("optim", "batch_size", value) for value in (0, 10**30)),
        *(("optim", key, -0.1) for key in ("warmup", "final_lr", "weight_decay", "clip")),
        *(("backbone", "width", value) for value in (0, -16, 10**9, 17, 10**30)),
        *(("backbone", key, value) for key in ("depth", "heads") for value in (0, -1, 10**9)),
        *(("seed", value) for value in (-1, 10**30, 1.5)),
        ("optim", "precision", "fp12"),
        ("optim", "device", "tpu"),
        ("data", "kind", "nanoaod"),
        ("data", "files", []),
        ("data", "files", ["x" * 5000]),
        ("data", "files", [""]),
        ("features", "particles", []),
        ("features", "particles", ["log_ptt"]),
        ("n_train", 0),
        ("n_train", 10**12),
        ("valid_share", 1.0),
    ),
    "transfer": (
        *(("task", "test_share", value) for value in (0.0, 1.0, float("nan"), -1.0)),
        ("task", "signal", []),
        ("task", "name", ""),
        ("task", "select_share", 1.0),
        ("finetuned", None),
        ("finetuned", "optim", "steps", 10**30),
        ("finetuned", "lr", []),
        ("finetuned", "lr", [float("nan")]),
        ("finetuned", "lr", [-1.0]),
    ),
    "study": (
        ("name", "../escaped"),
        ("scale", "huge"),
        ("samples", {}),
        ("samples", "a", {}),
        ("samples", "a", {"shards": "x", "process": "ttbar_1l"}),
        ("samples", "a", {"process": "no_such", "n": 10, "selection": "l1_j4_b1"}),
        ("samples", "a", {"process": "ttbar_1l", "n": 0, "selection": "l1_j4_b1"}),
        ("pretrain", {}),
        ("pretrain", "given", {}),
        ("pretrain", "given", "checkpoint", "no_such"),
        ("pretrain", {"../escaped": {"checkpoint": "shipped"}}),
        ("task", "signal", ["c"]),
        ("grid", "modes", []),
        ("grid", "modes", ["magic"]),
        ("grid", "n_train", []),
        ("grid", "n_train", [0]),
        ("grid", "n_train", [-40]),
        ("grid", "n_train", [10**30]),
        *(("grid", "seeds", value) for value in (0, -1, 10**9, 10**30)),
        ("grid", "fewer_seeds", {40: 0}),
        ("budget", 0),
    ),
    "selection": (
        *(("jets", "pt_min", value) for value in (float("nan"), -1.0, "low")),
        ("max_objects", 0),
        ("era", "1999"),
        ("jets", "btag", "tagger", "no_such"),
        ("jets", "btag", "working_point", "mediun"),
        ("cuts", "jets_min", -1),
        ("electrons", "sc_gap", [1.0]),
        ("triggers", "IsoMu24"),
        ("golden_json", "none.json"),
    ),
    "detector": (
        *(("tracker", "field", value) for value in (float("nan"), "strong")),
        ("tracker", "eta_edges", [2.5, 1.5, 0.5]),
        ("tracker", "eta_edges", []),
        ("tracker", "efficiency", "hadron", [[0.9]]),
        ("tracker", "resolution", "muon", []),
        ("tracker", "impact_d0", [[1.0, 1.0]]),
        ("ecal", "bands", [[3.0, 0.0, 360.0]]),
        ("ecal", "bands", [[3.0, 0.0174, 0.0]]),
        ("ecal", "bands", []),
        ("ecal", "regions", [[3.0]]),
        ("electrons", "reconstruction", "barrel", []),
        ("electrons", "working_points", "tight", [0.1]),
        ("electrons", "isolation_cuts", {"tight": [[1.0]]}),
        ("taus", "fake_rate", [[0.1]]),
        ("taus", "migration", []),
        ("jets", "correction", [[1.0]]),
        ("btag", "b", []),
        ("btag", "scores", [0.9, 0.1]),
    ),
    "claims": (
        ("claims", []),
        ("claims", 0, "kind", "beter_than"),
        ("claims", 0, "n_train", "many"),
        ("claims", 0, "line", {}),
        ("claims", 0, {"kind": 3}),
    ),
}  # fmt: skip


def _values() -> Iterator[Item]:
    """Values that are wrong where they stand: the message must name the key."""
    for kind, rows in NUMBERS.items():
        for path in rows:
            *keys, value = path
            shown = value if len(str(value)) < 40 else f"{str(value)[:20]}..."
            name = f"{'.'.join(map(str, keys))} = {shown}"
            words = {kind: COMMANDS[kind]}
            yield Item(f"yaml {kind}", name, _changed(kind, _put(*path)), words, "")


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, (*path, i))


STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 10**30, 1e400, -1e400, float("nan"), 1e-320, 1e308),
    *("", "text", "x" * 10_000, ".", "/", "~", "*", "none", "é\u202e"),
    *([], {}, [[]], {"kind": "x"}, {"kind": ["x"]}, [None], {"": ""}),
)  # fmt: skip


def _mutated(kind: str, number: int, good: Good, folder: Path) -> Path:
    """One value of a good configuration replaced by a strange one."""
    config = good.config(kind)
    rng = random.Random(f"{kind}/{number}")
    path = rng.choice([path for path in _leaves(config) if path])
    _put(*path, rng.choice(STRANGE))(config)
    return write_yaml(folder / "bad.yaml", config)


def _fuzz(scale: str) -> Iterator[Item]:
    for kind, words in COMMANDS.items():
        for number in range(MUTATIONS[scale]):
            make = partial(_mutated, kind, number)
            taken = {"check": _check} if kind == "study" else {kind: words}
            item = Item(f"yaml {kind}", f"mutation {number:03d}", make, taken, may_pass=True)
            # A learning rate of 1 or of 1e308 is a number like another, until it diverges.
            yield item.but(codes=(2, 3, 4))


def _takers(scale: str, number: int, name: str) -> dict[str, Words]:
    """All commands read YAML by the same code: in turn, two of them stand for all."""
    if name in _SLOW:
        return {"pretrain": _pretrain}
    names = list(COMMANDS)
    chosen = names if scale == "full" else [names[number % 6], names[(number + 2) % 6]]
    return {name: COMMANDS[name] for name in chosen}


def items(scale: str) -> list[Item]:
    """All bad configurations."""
    found = [
        Item("yaml", name, make, _takers(scale, number, name), says, codes=(2,))
        for number, (name, make, says) in enumerate((*_syntax(), *_files()))
    ]
    return [*found, *_keys(), *_values(), *_fuzz(scale)]
