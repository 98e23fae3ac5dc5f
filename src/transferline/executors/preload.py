"""What the process does that worker processes are copies of: it imports, and outlives signals.

It is imported as the preload of multiprocessing's `forkserver`, for its effects, by nobody else.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from contextlib import suppress

VARIABLE = "TRANSFERLINE_PRELOAD"
"""Environment: JSON of the `path` to import from and the names of the `modules` to import."""


def _import_all(text: str) -> None:
    # Signals for a whole session are for the workers, which save what they have: were this process
    # to end before them, they would count as dead. It ends when the one that started it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    told = json.loads(text)
    sys.path[:] = told["path"]
    for name in told["modules"]:
        with suppress(Exception):  # a worker that needs it will say what is wrong
            importlib.import_module(name)


if VARIABLE in os.environ:
    _import_all(os.environ[VARIABLE])
