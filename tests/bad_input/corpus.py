"""The corpus of bad input: everything that goes wrong before it goes right.

    python -m tests.bad_input.corpus DIR [--campaign full]

writes the good material to DIR/good, every bad input to DIR/bad/NUMBER/, and DIR/corpus.txt with
one line per command. The same seeds give the same files. The campaign over it is

    pytest tests/bad_input                    (in `make test`)
    pytest tests/bad_input --campaign full    (thousands of changed bytes and values)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from . import checkpoints, command_lines, root_files, shard_dirs, text_files, yaml_files
from .items import Item
from .material import make_good

SCALES = ("quick", "full")
_FAMILIES = (root_files, shard_dirs, yaml_files, checkpoints, text_files, command_lines)


def corpus(scale: str = "quick") -> list[Item]:
    """Return every item, in a fixed order."""
    return [item for family in _FAMILIES for item in family.items(scale)]


def cases(scale: str = "quick") -> dict[str, tuple[Item, str]]:
    """Return name of the test -> (item, name of the command)."""
    found: dict[str, tuple[Item, str]] = {}
    for item in corpus(scale):
        for command in item.commands:
            name = "/".join(part for part in (item.category, item.name, command) if part)
            name = name.encode("ascii", "backslashreplace").decode()
            assert name not in found, f"two items are called {name}"
            found[name] = (item, command)
    return found


def main() -> None:
    """Write the corpus to a directory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--campaign", choices=SCALES, default="quick")
    options = parser.parse_args()
    good = make_good(options.directory / "good")
    rows = []
    for number, item in enumerate(corpus(options.campaign)):
        folder = options.directory / "bad" / f"{number:05d}"
        folder.mkdir(parents=True)
        bad = item.make(good, folder)
        for name, words in item.commands.items():
            with tempfile.TemporaryDirectory() as out:
                line = " ".join(str(word)[:80] for word in words(good, bad, Path(out) / "out"))
            rows.append(f"{item.category}/{item.name}/{name}: transferline {line!r}")
    (options.directory / "corpus.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    sys.stdout.write(f"wrote {len(rows)} commands on bad input: {options.directory}\n")


if __name__ == "__main__":
    main()
