"""A report is pasted into public issues: no home directories, no names of users or machines."""

from __future__ import annotations

import getpass
import os
import re
import socket
from functools import cache
from pathlib import Path

_NOBODY = {"root", "user", "admin", "ubuntu", "runner", "jovyan", "localhost"}


def discreet(text: str) -> str:
    """Return `text` with home directories as `~`, users as `<user>`, this machine as `<host>`.

    A user's name is replaced where it is a part of a path or an address, so that somebody who is
    called like a library leaves its name readable.
    """
    for home in _homes():
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    for user in _users():
        text = re.sub(
            rf"(?<=/){re.escape(user)}(?![\w.-])|\b{re.escape(user)}(?=@)", "<user>", text
        )
    for host in _hosts():
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "<host>", text)
    return text


@cache
def _homes() -> list[str]:
    """Longest first: one may lie in another."""
    try:
        homes = {str(Path.home()), str(Path.home().resolve())}
    except RuntimeError:  # neither HOME nor an entry for this user, as in some containers
        return []
    return sorted((home for home in homes if len(home) > 1), key=len, reverse=True)


@cache
def _users() -> list[str]:
    names = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME")}
    names |= {Path(home).name for home in _homes()}
    try:
        names.add(getpass.getuser())
    except (OSError, KeyError):  # no entry for this number, as in some containers
        names.discard("")
    return sorted(name for name in names if len(name) > 1 and name not in _NOBODY)


@cache
def _hosts() -> list[str]:
    name = socket.gethostname()
    names = {name, name.partition(".")[0]}
    return sorted((n for n in names if len(n) > 2 and n not in _NOBODY), key=len, reverse=True)
