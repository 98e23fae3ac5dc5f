"""Bad records, studies on disk, Les Houches files and golden JSON."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .items import Item, Make, Words
from .material import SELECTION, Good


def _page(_good: Good, bad: Path, out: Path) -> Sequence[object]:
    return ["report", bad, "--markdown", out / "page.md"]


def _append(good: Good, bad: Path, _out: Path) -> Sequence[object]:
    """Add a record to a bad file: `bad` is `<run>/records.jsonl`."""
    words = ["transfer", "none", good.folder / "transfer.yaml", "--mode", "trees", "--n-train", 40]
    return [*words, "--out", bad.parent]


def _report(_good: Good, bad: Path, out: Path) -> Sequence[object]:
    return ["report", bad, "--out", out / "report"]


def _again(good: Good, bad: Path, _out: Path) -> Sequence[object]:
    """Go on with a study in a bad directory."""
    return ["study", good.folder / "study.yaml", "--out", bad]


def _shower(_good: Good, bad: Path, out: Path) -> Sequence[object]:
    words = ["generate", "events", "external", "--lhe", bad, "--no-mpi", "-n", 3]
    return [*words, "--out", out / "x.root"]


def _certify(good: Good, bad: Path, out: Path) -> Sequence[object]:
    words = ["prepare", good.root, "--selection", SELECTION, "--golden-json", bad]
    return [*words, "--out", out / "shards"]


def _lines(change: Callable[[list[str]], list[str] | str]) -> Make:
    """The good records, changed line by line."""

    def make(good: Good, folder: Path) -> Path:
        changed = change(good.records.read_text().splitlines())
        text = changed if isinstance(changed, str) else "".join(f"{line}\n" for line in changed)
        (folder / "run").mkdir()
        (folder / "run" / "records.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
        return folder / "run" / "records.jsonl"

    return make


def _first(change: Callable[[dict[str, Any]], Any]) -> Make:
    def apply(lines: list[str]) -> list[str]:
        record = json.loads(lines[0])
        change(record)
        return [json.dumps(record), *lines[1:]]

    return _lines(apply)


def _contradicting(lines: list[str]) -> list[str]:
    """First a network's record whose backbone did not start from what it says it loaded."""
    record = next(r for r in map(json.loads, lines) if r["mode"] == "finetuned")
    record["hashes"]["start"] = "0" * 64
    return [json.dumps(record), *lines]


def _records() -> list[Item]:
    page: dict[str, Words] = {"page": _page}
    line = r"records\.jsonl:1: is not a record"
    rows: list[tuple[str, Make, str]] = [
        ("no file", lambda _, folder: folder / "none.jsonl", "none.jsonl"),
        ("a directory without any", lambda _, folder: folder, "records"),
        ("empty", _lines(lambda _: ""), "no records"),
        ("only a cut line", _lines(lambda lines: lines[0][:500]), "no records"),
        ("garbage first", _lines(lambda lines: ["garbage", *lines]), line),
        ("a cut line in the middle", _lines(lambda lines: [lines[0][:500], lines[1]]), line),
        ("not UTF-8", _lines(lambda lines: ["\udcff\udcfe", *lines]), r"records\.jsonl:1"),
        ("a line of a megabyte", _lines(lambda lines: ["x" * 1_000_000, *lines]), line),
        ("nested deep", _lines(lambda lines: ["[" * 100_000, *lines]), line),
        ("another schema", _lines(lambda _: ['{"auc": 0.9}']), line),
        ("a list", _lines(lambda lines: [f"[{lines[0]}]"]), line),
        ("an unknown key", _first(lambda r: r.update(more=1)), f"{line}.*more"),
        (
            "5,000 unknown keys",
            _first(lambda r: r.update({f"k{i}": 1 for i in range(5_000)})),
            line,
        ),
        ("a key of a megabyte", _first(lambda r: r.update({"k" * 1_000_000: 1})), line),
        ("n_train 0", _first(lambda r: r.update(n_train=0)), f"{line}.*n_train"),
        ("n_train text", _first(lambda r: r.update(n_train="many")), f"{line}.*n_train"),
        ("hashes that contradict", _lines(_contradicting), line),
        ("a measurement without error", _first(lambda r: r["metrics"]["auc"].pop("error")), line),
        ("a name of a megabyte", _first(lambda r: r.update(task="x" * 1_000_000)), f"{line}.*task"),
        ("n_train 10^30", _first(lambda r: r.update(n_train=10**30)), f"{line}.*n_train"),
        (
            "a ROOT file",
            lambda good, folder: shutil.copy(good.root, folder / "x.jsonl"),
            r"x\.jsonl",
        ),
    ]
    may: list[tuple[str, Make]] = [
        ("a cut last line", _lines(lambda lines: lines[0] + "\n" + lines[1][:300])),
        ("a last line without its end", _lines("\n".join)),
        ("empty lines, and each line twice", _lines(lambda lines: ["", *lines, "", *lines, ""])),
        ("a metric that is NaN", _first(lambda r: r["metrics"]["auc"].update(value=float("nan")))),
        ("a metric that is infinite", _first(lambda r: r["metrics"]["auc"].update(value=1e999))),
        ("an error below 0", _first(lambda r: r["metrics"]["auc"].update(error=-1.0))),
        ("no metric", _first(lambda r: r.update(metrics={}, replicas=None))),
        ("replicas of other lengths", _first(lambda r: r["replicas"]["values"].update(auc=[0.5]))),
        ("a seed of 2^60", _first(lambda r: r.update(seed=2**60))),
        (
            "a name that leads away, in markup",
            _first(lambda r: r.update(task="../../<script>$x_{$|`")),
        ),
        ("a mode of its own", _first(lambda r: r.update(mode="magic", hashes={"config": "x"}))),
    ]
    items = [Item("records", name, make, page, says) for name, make, says in rows]
    items += [Item("records", name, make, page, may_pass=True) for name, make in may]
    damaged = _lines(lambda lines: ["garbage", *lines])
    adding = Item("records", "adding to garbage", damaged, {"transfer": _append}, "records")
    items.append(adding.but(may_pass=True, in_place=True))
    items.append(adding.but(name="adding to a directory", make=_in_the_way, in_place=True))
    return items


def _in_the_way(_good: Good, folder: Path) -> Path:
    (folder / "run" / "records.jsonl").mkdir(parents=True)
    return folder / "run" / "records.jsonl"


def _study(change: Callable[[Path], Any]) -> Make:
    def make(good: Good, folder: Path) -> Path:
        shutil.copytree(good.study, folder / "study")
        change(folder / "study")
        return folder / "study"

    return make


def _other_study(study: Path) -> None:
    path = study / "study.json"
    path.write_text(path.read_text().replace('"small"', '"another"'))


def _studies() -> list[Item]:
    """Directories of studies. A report names what it cannot read, and shows the rest."""
    spoilt = ("study.json", "records.jsonl", "samples.json", "pretrain/given/config.json")
    contents = {
        "empty": b"",
        "garbage": b"garbage\n",
        "nested deep": b"[" * 100_000 + b"\n",
        "a number": b"5\n",
        "a list": b"[1]\n",
        "not UTF-8": b"\xff\n",
    }
    items = []
    for how, data in contents.items():
        every = _study(lambda study, data=data: [(study / n).write_bytes(data) for n in spoilt])
        items.append(Item("study", f"all files {how}", every, {"report": _report}, may_pass=True))
    samples = _study(lambda study: (study / "samples.json").write_text("[1, {}]"))
    items.append(Item("study", "samples of no shape", samples, {"report": _report}, may_pass=True))
    for name in ("study.json", "records.jsonl", "pretrain/given/config.json"):
        for how in ("garbage", "nested deep"):
            make = _study(lambda study, n=name, data=contents[how]: (study / n).write_bytes(data))
            item = Item("study", f"{name} {how}", make, {"study": _again}, may_pass=True)
            items.append(item.but(in_place=True))
    scores = _study(lambda study: [path.write_bytes(b"PK\x03\x04" + b"x" * 99)
                                   for path in study.glob("runs/*/scores.npz")])  # fmt: skip
    items.append(Item("study", "scores damaged", scores, {"report": _report}, may_pass=True))
    digests = _study(lambda study: (study / "pretrain" / "digests.json").write_text("{"))
    items.append(Item("study", "digests damaged", digests, {"study": _again}, r"digests\.json",
                      in_place=True))  # fmt: skip
    other = _study(_other_study)
    items.append(Item("study", "of another name", other, {"study": _again}, "another"))
    foreign = _study(lambda study: (study / "study.json").write_text('{"name": ["x"]}'))
    items.append(Item("study", "whose name is a list", foreign, {"study": _again}, "study"))
    return items


def _bytes(change: Callable[[bytes], bytes], name: str = "bad.lhe") -> Make:
    def make(good: Good, folder: Path) -> Path:
        (folder / name).write_bytes(change(good.lhe.read_bytes()))
        return folder / name

    return make


def _events() -> list[Item]:
    def packed(change: Callable[[bytes], bytes]) -> Make:
        return _bytes(lambda data: change(gzip.compress(data, mtime=0)), "bad.lhe.gz")

    rows: list[tuple[str, Make]] = [
        ("no file", lambda _, folder: folder / "bad.lhe"),
        ("a directory", lambda _, folder: Path(shutil.copytree(folder, folder / "bad.lhe"))),
        ("empty", _bytes(lambda _: b"")),
        ("text", _bytes(lambda _: b"hello\n")),
        ("no event", _bytes(lambda data: data[: data.index(b"<event>")])),
        ("cut in an event", _bytes(lambda data: data[: data.rindex(b"</event>") - 20])),
        ("cut in the header", _bytes(lambda data: data[:40])),
        ("no header", _bytes(lambda data: data[data.index(b"<event>") :])),
        ("numbers that are words", _bytes(lambda data: data.replace(b"501", b"five"))),
        ("a beam of nothing", _bytes(lambda data: data.replace(b"6.5e+03", b"0.0e+00"))),
        ("numbers that are NaN", _bytes(lambda data: data.replace(b"2.000000e+00", b"nan"))),
        ("not gzip", _bytes(lambda data: data, "bad.lhe.gz")),
        ("gzip cut", packed(lambda data: data[: len(data) // 2])),
        ("gzip changed", packed(lambda data: data[:60] + bytes([data[60] ^ 255]) + data[61:])),
        ("gzip without its end", packed(lambda data: data[:-4])),
        ("gzip empty", _bytes(lambda _: b"", "bad.lhe.gz")),
    ]
    shower: dict[str, Words] = {"generate": _shower}
    return [Item("lhe", name, make, shower, r"bad\.lhe") for name, make in rows]


def _golden() -> list[Item]:
    def text(content: str | bytes) -> Make:
        def make(_good: Good, folder: Path) -> Path:
            data = content.encode() if isinstance(content, str) else content
            (folder / "golden.json").write_bytes(data)
            return folder / "golden.json"

        return make

    rows: list[tuple[str, Make]] = [
        ("no file", lambda _, folder: folder / "golden.json"),
        ("a directory", lambda _, folder: Path(shutil.copytree(folder, folder / "golden.json"))),
        ("empty", text("")),
        ("cut", text('{"1": [[1, 2]')),
        ("not UTF-8", text(b"\xff\xfe")),
        ("nested deep", text("[" * 100_000)),
        ("a list", text("[1]")),
        ("a run that is a word", text('{"one": [[1, 2]]}')),
        ("a run that is negative", text('{"-1": [[1, 2]]}')),
        ("a run beyond 32 bits", text('{"99999999999": [[1, 2]]}')),
        ("a run of 5,000 digits", text(f'{{"{"9" * 5000}": [[1, 2]]}}')),
        ("an interval of three", text('{"1": [[1, 2, 3]]}')),
        ("an interval that is a number", text('{"1": [5]}')),
        ("an interval that is text", text('{"1": ["ab"]}')),
        ("an interval that is infinite", text('{"1": [[1, Infinity]]}')),
        ("an interval with null", text('{"1": [[1, null]]}')),
        ("an interval turned round", text('{"1": [[9, 2]]}')),
    ]
    certify: dict[str, Words] = {"prepare": _certify}
    return [Item("golden JSON", name, make, certify, r"golden\.json") for name, make in rows]


def items(_scale: str) -> list[Item]:
    """All of them."""
    found = [*_records(), *_studies(), *_events(), *_golden()]
    if os.geteuid() != 0:
        path = "records.jsonl"

        def locked(good: Good, folder: Path) -> Path:
            shutil.copy(good.records, folder / path)
            (folder / path).chmod(0)
            return folder / path

        found.append(Item("records", "unreadable", locked, {"page": _page}, "ermission"))
    return found
