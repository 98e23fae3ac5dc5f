"""URLs of remote files: what of them may be stored, and which cannot be used."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from transferline.errors import ConfigError


def is_url(path: str) -> bool:
    """Tell an address from a local path."""
    return "://" in path


def public_name(path: str) -> str:
    """Return a path as it may be stored and shown: a URL without its query and its user.

    Signed links carry a key in the query that opens the file to everybody who reads it.

    >>> public_name("https://me:secret@host/a.root?X-Amz-Signature=1f2e")
    'https://host/a.root'
    >>> public_name("what?.root")
    'what?.root'
    """
    if not is_url(path):
        return path
    return re.sub(r"://[^/]*@", "://", path.partition("?")[0])


def public_names(paths: Sequence[str]) -> dict[str, str]:
    """Return path -> the name it is stored by; different files get different names.

    Where two URLs differ in nothing but the query, a hash of the query stands in its place.
    """
    found = {path: public_name(path) for path in paths}
    taken = Counter(found.values())
    return {
        path: name if taken[name] == 1 else f"{name}?{_digest(path)}"
        for path, name in found.items()
    }


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:8]


def without_secrets(text: str, path: str) -> str:
    """Remove from a message of another library what `public_name` removes from `path`."""
    text = text.replace(path, public_name(path))
    query = path.partition("?")[2] if is_url(path) else ""
    return text.replace(query, "...") if query else text


def check_url(path: str) -> None:
    """Refuse a URL with a wildcard.

    Raises:
        ConfigError: no protocol can list the files that match.
    """
    if glob.has_magic(urlsplit(path).path):
        raise ConfigError(
            f"{public_name(path)}: wildcards work for local files only. Name the files one by one, "
            "or in a text file with one per line: @files.txt."
        )
