"""examine(): all looks, guarded, and without the names of people and machines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from transferline.doctor import computing, installation, machine, packages, places, plugins
from transferline.doctor.discreet import discreet
from transferline.doctor.look import Looks, raising, seen

Facts = dict[str, str]

_SECTIONS: dict[str, Callable[[], Looks]] = {
    "transferline": installation.looks,
    "machine": machine.looks,
    "computing": computing.looks,
    "places": places.looks,
    "packages": packages.core_looks,
    "extras": packages.extra_looks,
    "plug-ins": plugins.looks,
}


def examine() -> dict[str, Facts]:
    """Return title -> name -> fact; under `problems` once more those that hinder work.

    Nothing is left out because something else is broken. Home directories are written `~`;
    names of users and of the machine do not occur.
    """
    found: dict[str, Facts] = {}
    problems: Facts = {}
    for title in _SECTIONS:
        found[title] = {}
        for name, look in _looks(title).items():
            fact, is_problem = seen(look)
            found[title][name] = discreet(fact)
            if is_problem:
                problems[f"{title}: {name}"] = discreet(fact)
    return {**found, "problems": problems}


def _looks(title: str) -> Looks:
    try:
        return _SECTIONS[title]()
    except Exception as error:
        return {"all": partial(raising, error)}
