"""Which generator makes the events, and what it is told."""

from __future__ import annotations

from importlib.metadata import version

from transferline.errors import ConfigError, did_you_mean
from transferline.generate.catalogue import Process
from transferline.generate.clustering import import_fastjet
from transferline.generate.pythia import import_pythia, tune_settings
from transferline.generate.sherpa.installation import VERSION, find
from transferline.generate.sherpa.run import find_sherpa
from transferline.generate.sherpa.run_card import sherpa_process, sherpa_processes

PYTHIA, SHERPA = "pythia", "sherpa"
GENERATORS = (PYTHIA, SHERPA)
DEFAULT_TUNE = "monash"


def chosen_generator(entry: Process, name: str | None) -> str:
    """Return the generator asked for; without a wish Pythia, and Sherpa for what Pythia lacks.

    Raises ConfigError with the nearest name if there is none of this name.
    """
    if name is None:
        return SHERPA if not entry.production and entry.name in sherpa_processes() else PYTHIA
    if name not in GENERATORS:
        raise ConfigError(f"Unknown generator '{name}'.{did_you_mean(name, GENERATORS)}")
    return name


def generator_settings(
    entry: Process, generator: str, *, mpi: bool, tune: str, external: bool
) -> tuple[tuple[str, ...], ...]:
    """Return for every alternative Pythia's settings, or the two parts of Sherpa's run card.

    Raises:
        ConfigError: the tune is unknown; or Sherpa does not know the process, has no tunes, or
            cannot read `external` events.
    """
    if generator == PYTHIA:
        return _pythia_settings(entry, mpi, tune, external)
    if external:
        raise ConfigError("Sherpa reads no LHE file: use --generator pythia.")
    if tune != DEFAULT_TUNE:
        raise ConfigError("Tunes are Pythia's: leave out --tune with --generator sherpa.")
    return sherpa_process(entry.name).cards(mpi=mpi)


def _pythia_settings(
    entry: Process, mpi: bool, tune: str, external: bool
) -> tuple[tuple[str, ...], ...]:
    switch = () if mpi else ("PartonLevel:MPI = off",)
    return tuple(
        (*tune_settings(tune), *entry.settings(part, external=external), *switch)
        for part in range(len(entry.alternatives))
    )


def wanted_version(generator: str) -> str:
    """Return the version that a sample would be made with, also where the generator is not here."""
    if generator == PYTHIA:
        return version("pythia8mc")
    try:
        return find().version
    except ConfigError:
        return VERSION


def generator_version(generator: str) -> tuple[str, str]:
    """Return name and version of the generator's package.

    Raises:
        ConfigError: it is not there; says how to get it.
    """
    if generator == SHERPA:
        import_fastjet()
        return find_sherpa()
    import_pythia()
    return "pythia8mc", version("pythia8mc")
