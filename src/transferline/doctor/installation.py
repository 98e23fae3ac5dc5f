"""The package itself: version, what ships with it, and whether the generator runs."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from transferline import __version__
from transferline.doctor.look import Looks, TroubleError
from transferline.errors import ConfigError
from transferline.provenance import commit

_GENERATE = """
import sys
import pythia8mc
pythia = pythia8mc.Pythia("", False)
for line in ("Print:quiet = on", "Beams:eCM = 13000.", "Top:gg2ttbar = on", "PartonLevel:MPI = off",
             "Random:setSeed = on", "Random:seed = 1"):
    assert pythia.readString(line), line
assert pythia.init() and pythia.next(), "no event"
number, data = pythia.parm("Pythia:versionNumber"), pythia.settings.word("xmlPath")
sys.stdout.write(f"{number} {pythia.event.size()} {data}")
"""
_PATIENCE = 120  # seconds; it takes one


def looks() -> Looks:
    """Return the looks of this section."""
    return {
        "version": _version,
        "commit": lambda: commit() or "installed without sources",
        "checkpoints": _checkpoints,
        "samples": _samples,
        "pythia": pythia,
        "sherpa": sherpa,
    }


def _shipped() -> Path:
    return Path(str(resources.files("transferline")))


def _version() -> str:
    """Sources and metadata part company where an editable installation is old."""
    stated = version("transferline")
    if stated != __version__:
        raise TroubleError(f"{__version__} in {_shipped()}, installed as {stated}: install again")
    return f"{__version__} in {_shipped()}"


def _checkpoints() -> str:
    """Load them; that verifies the hash of the weights."""
    from transferline.models.checkpoint import Checkpoint  # noqa: PLC0415
    from transferline.models.shipped import (  # noqa: PLC0415
        shipped_checkpoint,
        shipped_checkpoints,
    )

    rows = []
    for name in shipped_checkpoints():
        model = Checkpoint.load(shipped_checkpoint(name)).model()
        numbers = sum(parameter.numel() for parameter in model.parameters())
        rows.append(f"{name} ({numbers:,} parameters, hash verified)")
    return ", ".join(rows) or "none shipped"


def _samples() -> str:
    """Compare the bytes of the shipped events with their cards."""
    from transferline.data.card import load_card  # noqa: PLC0415
    from transferline.files import file_hash  # noqa: PLC0415

    rows = []
    for file in sorted((_shipped() / "shipped" / "samples").glob("*/card.json")):
        card = load_card(file.parent)
        for part in card.parts:
            if file_hash(file.parent / part["file"]) != part["sha256"]:
                raise TroubleError(f"{file.parent / part['file']}: was changed; install again")
        rows.append(f"{file.parent.name} ({card.n_events:,} events, hash verified)")
    return ", ".join(rows) or "none shipped"


def sherpa() -> str:
    """Say where the second generator is; it is optional, but half of one is trouble."""
    from transferline.generate.sherpa.installation import find  # noqa: PLC0415

    try:
        found = find()
    except ConfigError:
        return "not installed: transferline generate install-sherpa"
    return f"{found.version} in {found.root}"


def pythia(program: str = _GENERATE) -> str:
    """Generate one event, in a process of its own: a broken library may take it down."""
    if find_spec("pythia8mc") is None:
        return "not installed: pip install 'transferline[generate]'"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise TroubleError(f"no event within {_PATIENCE} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise TroubleError(f"fails (code {done.returncode}): {' '.join(said)}")
    number, size, data = done.stdout.splitlines()[-1].split(maxsplit=2)
    return f"{number}, an event of {size} particles; data in {Path(data).resolve()}"
