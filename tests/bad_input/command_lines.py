"""Bad command lines: numbers, names and places."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from .items import Item, Words
from .material import SELECTION, Good

Place = Callable[[Good, Path], Path]


def _nothing(_good: Good, folder: Path) -> Path:
    return folder


def _line(name: str, words: Words, says: str, codes: tuple[int, ...] = (2,)) -> Item:
    return Item("command line", name, _nothing, {"": words}, says, codes=codes)


def _fixed(text: str) -> Words:
    return lambda _good, _bad, _out: text.split()


def _generate(*more: object) -> Words:
    def words(_good: Good, _bad: Path, out: Path) -> Sequence[object]:
        return ["generate", "events", "ttbar_1l", "--no-mpi", "--out", out / "x.root", *more]

    return words


def _prepare(*more: object) -> Words:
    def words(good: Good, _bad: Path, out: Path) -> Sequence[object]:
        return ["prepare", good.root, "--selection", SELECTION, "--out", out / "s", *more]

    return words


def _transfer(*more: object) -> Words:
    def words(good: Good, _bad: Path, out: Path) -> Sequence[object]:
        words = ["transfer", good.checkpoint, good.folder / "transfer.yaml", "--out", out / "run"]
        return [*words, "--mode", "finetuned", "--n-train", 40, *more]

    return words


def _pretrain(*more: object) -> Words:
    def words(good: Good, _bad: Path, out: Path) -> Sequence[object]:
        return ["pretrain", good.folder / "pretrain.yaml", "--out", out / "pre", *more]

    return words


def _study(*more: object) -> Words:
    def words(good: Good, _bad: Path, out: Path) -> Sequence[object]:
        return ["study", good.folder / "study.yaml", "--out", out / "study", *more]

    return words


HUGE = 10**30


def _words() -> list[Item]:
    """What a newcomer types wrong."""
    rows: list[tuple[str, Words, str]] = [
        ("wrong command", _fixed("prepar"), "Did you mean 'prepare'"),
        ("wrong subcommand", _fixed("generate evnts"), "Did you mean 'events'"),
        ("wrong option", _fixed("prepare --selecton x"), "--selection"),
        ("wrong family", _fixed("list proceses"), "Did you mean 'processes'"),
        ("no argument", _fixed("inspect"), "FILE"),
        ("an argument too many", _fixed("list readers writers"), "writers"),
        ("no value", _fixed("prepare a.root --out"), "--out"),
        ("no selection", _fixed("prepare a.root --out x"), "--selection"),
        ("no mode", _fixed("transfer a b --n-train 4 --out x"), "--mode"),
        ("study without out", lambda good, _, out: ["study", good.folder / "study.yaml"], "--out"),
        ("report of two studies", _fixed("report a b"), "--markdown"),
        ("a word of a megabyte", lambda *_: ["list", "x" * 100_000], "cannot be listed"),
    ]
    return [_line(name, words, says) for name, words, says in rows]


def _numbers() -> list[Item]:
    rows: list[tuple[str, Words, str]] = []
    for n in (0, -5, "many", "1.5", "", HUGE):
        rows.append((f"generate -n {n}", _generate("-n", n), "-n"))
        rows.append((f"transfer --n-train {n}", _transfer("--n-train", n), "n.train"))
    for seed in (-1, "x", HUGE):
        rows.append((f"generate --seed {seed}", _generate("--seed", seed, "-n", 1), "seed"))
        rows.append((f"transfer --seed {seed}", _transfer("--seed", seed), "seed"))
    for jobs in (0, -1, "all", 10**6):
        rows.append((f"generate --jobs {jobs}", _generate("-n", 1, "--jobs", jobs), "jobs"))
        rows.append((f"prepare --jobs {jobs}", _prepare("--jobs", jobs), "jobs"))
        rows.append((f"study --jobs {jobs}", _study("--jobs", jobs), "jobs"))
    for pb in ("nan", "inf", "-3", "0", "much", "1e400"):
        rows.append((f"cross section {pb}", _prepare("--cross-section", pb), "cross.section"))
    for label in (
        "signal",
        "=1",
        "signal=",
        "signal=x",
        "signal=nan",
        "signal=1e400",
        "a b=1",
        "signal=1e39",
    ):
        rows.append((f"label {label}", _prepare("--label", label), "label"))
    rows.append(("label twice", _prepare("--label", "a=1", "--label", "a=2"), "label"))
    for change in (
        "optim.lr=1e400",
        "optim.lr=.nan",
        "optim.lr",
        "=1",
        "optim..lr=1",
        "optim.lr=[",
        "optim.lr=1}, seed: {a: 1",
        "x" * 100_000,
        "x=" + "[" * 100_000,
        "optim=1",
        "seed.more=1",
        "optim.lr=\0",
        "data.files.0=x",
    ):
        rows.append((f"--set {change[:30]}", _pretrain("--set", change), "optim|--set|seed|files"))
    return [_line(name, words, says, (2, 3)) for name, words, says in rows]  # fmt: skip


def _names() -> list[Item]:
    rows: list[tuple[str, Words, str]] = [
        ("process", lambda _g, _b, out: ["generate", "events", "ttH_b_1l", "-o", out / "x.root"],
            "Did you mean 'ttH_bb_1l'"),
        ("mass of a process", lambda _g, _b, out: ["generate", "events", "Hplus_tb_nan", "-o",
            out / "x.root"], "Hplus_tb"),
        ("huge mass", lambda _g, _b, out: ["generate", "events", "Hplus_tb_1e30", "-o",
            out / "x.root"], "Hplus_tb"),
        ("process that needs a file", lambda _g, _b, out: ["generate", "events", "external", "-o",
            out / "x.root"], "--lhe"),
        ("detector", _generate("--detector", "cmss"), "Did you mean 'cms'"),
        ("tune", _generate("--tune", "monsh"), "Did you mean 'monash'"),
        ("filter", _generate("--filter", "leptn"), "lepton"),
        ("selection", _prepare("--selection", "l1_j4"), "Did you mean 'l1_j4_b"),
        ("reader", _prepare("--reader", "nanoad"), "Did you mean 'nanoaod'"),
        ("mode", _transfer("--mode", "finetune"), "finetuned"),
        ("mode without settings", _transfer("--mode", "frozen"), "frozen"),
        ("none for a network", lambda good, _b, out: ["transfer", "none", good.folder /
            "transfer.yaml", "--mode", "finetuned", "--n-train", 40, "--out", out], "checkpoint"),
        ("shipped of another name", lambda good, _b, out: ["transfer", "shipped/evnts", good.folder /
            "transfer.yaml", "--mode", "finetuned", "--n-train", 40, "--out", out], "Did you mean 'events'"),
        ("cluster", _prepare("--dask", "nowhere"), "dask"),
        ("export elsewhere", lambda good, _b, out: ["export", "onnx", good.trained, "-o", out / "x.txt"],
            "onnx"),
        ("opset", lambda good, _b, out: ["export", "onnx", good.trained, "-o", out / "x.onnx",
            "--opset", -3], "opset"),
        ("predict without a head", lambda good, _b, out: ["predict", good.checkpoint, good.root, "-o",
            out / "x.root"], "head|pretrain|pre-train|task"),
        ("format of predictions", lambda good, _b, out: ["predict", good.trained, good.root, "-o",
            out / "dir", "--format", "csv"], "parquet"),
        ("device", lambda good, _b, out: ["predict", good.trained, good.root, "-o", out / "x.root",
            "--device", "tpu"], "tpu"),
    ]  # fmt: skip
    return [_line(f"unknown {name}", words, says, (2, 3)) for name, words, says in rows]


def _places() -> list[Item]:
    """Output onto something that is there; `bad` is what is in the way."""

    def file(_good: Good, folder: Path) -> Path:
        (folder / "there").write_text("mine\n")
        return folder / "there"

    def directory(_good: Good, folder: Path) -> Path:
        (folder / "there").mkdir()
        (folder / "there" / "thesis.tex").write_text("mine\n")
        return folder / "there"

    def below_file(good: Good, folder: Path) -> Path:
        return file(good, folder) / "deeper" / "x"

    def long(_good: Good, folder: Path) -> Path:
        return folder / ("x" * 300)

    def loop(_good: Good, folder: Path) -> Path:
        (folder / "there").symlink_to(folder / "there")
        return folder / "there"

    def device(_good: Good, _folder: Path) -> Path:
        return Path("/proc/nothing/x")

    def root(good: Good, folder: Path) -> Path:
        return Path(shutil.copy(good.root, folder / "there.root"))

    def records(good: Good, folder: Path) -> Path:
        return Path(shutil.copy(good.records, folder / "there.jsonl"))

    def shards(good: Good, folder: Path) -> Path:
        return Path(shutil.copytree(good.other_shards, folder / "there"))

    commands: dict[str, Words] = {
        "generate": lambda _g, bad, _o: ["generate", "events", "ttbar_1l", "-n", 1, "-o", bad],
        "prepare": lambda g, bad, _o: ["prepare", g.root, "--selection", SELECTION, "-o", bad],
        "pretrain": lambda g, bad, _o: ["pretrain", g.folder / "pretrain.yaml", "-o", bad],
        "transfer": lambda g, bad, _o: ["transfer", g.checkpoint, g.folder / "transfer.yaml",
            "--mode", "finetuned", "--n-train", 40, "-o", bad],
        "study": lambda g, bad, _o: ["study", g.folder / "study.yaml", "-o", bad],
        "report": lambda g, bad, _o: ["report", g.study, "-o", bad],
        "page": lambda g, bad, _o: ["report", g.records, "--markdown", bad],
        "predict": lambda g, bad, _o: ["predict", g.trained, g.root, "-o", bad],
        "export": lambda g, bad, _o: ["export", "onnx", g.trained, "-o", f"{bad}.onnx"],
    }  # fmt: skip

    def only(*names: str) -> dict[str, Words]:
        return {name: commands[name] for name in names}

    to_directory = only("prepare", "pretrain", "transfer", "study", "report")
    every = {name: words for name, words in commands.items() if name != "export"}
    rows: list[tuple[str, Place, dict[str, Words], str]] = [
        ("a file for a directory", file, to_directory, "there"),
        ("a directory for a file", directory, only("generate", "page"), "there"),
        ("a directory with other files", directory, only("prepare"), "there"),
        ("below a file", below_file, every, "there"),
        ("a name too long", long, every, "xxx"),
        (
            "a symlink loop",
            loop,
            only("prepare", "pretrain", "transfer", "study", "report"),
            "there",
        ),
        ("where nothing can be made", device, every, "/proc/nothing"),
        ("onto a file of another kind", file, only("generate"), "there"),
        ("onto other shards", shards, only("prepare"), "there"),
    ]
    items = [Item("output", name, make, words, says) for name, make, words, says in rows]
    same: list[tuple[str, Place, Words]] = [
        ("prepare into its input", root,
            lambda _g, bad, _o: ["prepare", bad, "--selection", SELECTION, "-o", bad]),
        ("generate onto its input", records,
            lambda _g, bad, _o: ["generate", "events", "external", "--lhe", bad, "-o", bad]),
        ("page onto its records", records, lambda _g, bad, _o: ["report", bad, "--markdown", bad]),
        ("page onto its claims", records,
            lambda g, bad, _o: ["report", bad, "--markdown", g.folder / "claims.yaml", "--claims",
                                g.folder / "claims.yaml"]),
        ("predict onto its input", root,
            lambda g, bad, _o: ["predict", g.trained, bad, "-o", bad, "--overwrite"]),
        ("prepare shards into themselves", shards,
            lambda _g, bad, _o: ["prepare", bad, "--reader", "shards", "--selection", SELECTION,
                                 "-o", bad, "--overwrite"]),
    ]  # fmt: skip
    items += [Item("output", name, make, {"": words}, "") for name, make, words in same]
    if os.geteuid() != 0:

        def locked(_good: Good, folder: Path) -> Path:
            (folder / "there").mkdir(mode=0o500)
            return folder / "there" / "x"

        items.append(Item("output", "unwritable", locked, every, "ermission"))
    return items


def items(_scale: str) -> list[Item]:
    """All bad command lines."""
    return [*_words(), *_numbers(), *_names(), *_places()]
