"""What is generated for a sample: by which generator, kept under which name, read by what."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transferline.data.readers import Reader
from transferline.data.readers.hbb import Hbb
from transferline.data.readers.jetclass import JetClass
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections.jet_events import JetEventSelection
from transferline.data.selections.jets import JetSelection
from transferline.data.selections.recipe import Selection
from transferline.errors import ConfigError
from transferline.files import file_hash, json_hash, resolved
from transferline.provenance import package_versions
from transferline.runtime import cache_directory

if TYPE_CHECKING:
    from transferline.data.selections.kinds import AnySelection
    from transferline.generate.catalogue import Process
    from transferline.samples import Sample

_MADE_BY = ("pythia8mc", "fastjet", "numpy", "transferline")
_NO_PART = (
    *("reader", "shards", "mix", "cross_sections", "label", "generator"),
    *("selection", "triggers", "veto_triggers", "golden_json"),
)
"""Settings of a sample of a process that the generator does not see, or that are told otherwise."""


_KINDS: dict[type, tuple[str, str]] = {
    Selection: ("events", "pretraining"),
    JetSelection: ("jets", "jets"),
    JetEventSelection: ("events of jets", "jet_events"),
}
"""Kind of selections -> what they are of, and one of the package."""


def made_name(sample: Sample) -> str | None:
    """Name of what is generated, if it is."""
    if sample.hh4b is not None:
        return sample.hh4b.request().name
    return sample.process or sample.jets


def check_kind(sample: Sample, chosen: AnySelection) -> None:
    """See that a selection is one of what a sample holds, which its files would tell too late.

    Raises:
        ConfigError: it is of something else; says which ones fit.
    """
    what, kinds = _held(sample)
    if isinstance(chosen, kinds):
        return
    name = sample.label or made_name(sample) or "mixture"
    fitting = [f"{of} (such as `{such}`)" for kind, (of, such) in _KINDS.items() if kind in kinds]
    raise ConfigError(
        f"sample '{name}': the selection '{chosen.name}' is one of {_KINDS[type(chosen)][0]}, and "
        f"{what}: choose one of {' or of '.join(fitting)}."
    )


def _held(sample: Sample) -> tuple[str, tuple[type, ...]]:
    """Say what a sample holds, and return the kinds of selections that it may have."""
    if sample.mix is not None:
        return "events of jets are not mixed", (Selection, JetSelection)
    if sample.process is not None:
        return "`process` gives events", (Selection,)
    if sample.hh4b is not None:
        return "`hh4b` gives large jets", (JetSelection, JetEventSelection)
    if sample.jets is None:
        return "files may hold anything", tuple(_KINDS)
    if sample.replicas > 1:
        return "replicas of jets are jets or events of them", (JetSelection, JetEventSelection)
    return "without `replicas: 2` or more `jets` gives single jets", (JetSelection,)


def reader_of(sample: Sample, files: list[str], chosen: AnySelection) -> Reader:
    """Return the reader of what `generated_file` wrote, of the sets that the selection takes."""
    sets: Literal["jets", "events"] = "jets" if isinstance(chosen, JetSelection) else "events"
    if sample.hh4b is not None:
        return Hbb(files=files, sets=sets)
    if sample.jets is None:
        return NanoAOD(files=files)
    return JetClass(files=files, sets=sets if sample.replicas > 1 else "jets")


def generated_file(
    sample: Sample,
    cache: Path | None = None,
    *,
    jobs: int = 1,
    executor: Executor | None = None,
) -> Path:
    """Return the ROOT file of a generated sample, before any selection; made if it is not there.

    Raises:
        ConfigError: the sample is of files, or a name of the recipe is unknown.
    """
    file = generated_place(sample, cache or cache_directory())
    _generator_of(sample, file)(
        file,
        n=sample.n,
        seed=sample.seed,
        jobs=jobs,
        executor=executor,
        mpi=sample.mpi,
        detector=sample.detector,
        tune=sample.tune,
    )
    return file


def generated_place(sample: Sample, cache: Path) -> Path:
    """Return where `generated_file` puts it.

    Raises:
        ConfigError: as there.
    """
    what = made_name(sample)
    if what is None or sample.n is None:
        raise ConfigError("Only samples of a process or of jets are generated.")
    name = place_name(what, f"s{sample.seed}-n{sample.n}", json_hash(generation(sample)))
    return cache / "generated" / f"{name}.root"


def check_generator(sample: Sample) -> None:
    """See that the generator of a sample is installed.

    Raises:
        ConfigError: it is not; says how to get it.
    """
    from transferline.generate import generators  # noqa: PLC0415  # an extra
    from transferline.generate.catalogue import process  # noqa: PLC0415

    if sample.process is not None:
        name = generators.chosen_generator(process(sample.process), sample.generator)
    else:
        name = generators.PYTHIA if sample.jets is None else _generator_of_jets(sample)
    generators.generator_version(name)


def _generator_of(sample: Sample, file: Path) -> Callable[..., object]:
    """Return the generator for `file`, given all that is this kind of sample's own."""
    from transferline.generate.events import generate_events  # noqa: PLC0415  # an extra
    from transferline.generate.large_jets.hh4b import generate_hh4b  # noqa: PLC0415
    from transferline.generate.large_jets.sample import generate_jets  # noqa: PLC0415

    if sample.hh4b is not None:
        return partial(generate_hh4b, mass=sample.hh4b.mass, qcd=sample.hh4b.qcd)
    if sample.jets is not None:
        return partial(
            generate_jets,
            sample.jets,
            generator=_generator_of_jets(sample),
            replicas=sample.replicas,
        )
    assert sample.process is not None  # it is the last kind that is generated
    return partial(
        generate_events,
        sample.process,
        filter=sample.filter,
        lhe=Path(sample.lhe) if sample.lhe else None,
        generator=sample.generator,
        smaller=_other_sizes(file, sample),
    )


def _other_sizes(file: Path, sample: Sample) -> list[Path]:
    """Samples of the cache with the same name and seed; whether they are made alike, is checked."""
    beginning = file.name.rpartition(f"-n{sample.n}-")[0]
    return sorted(other for other in file.parent.glob(f"{beginning}-n*.root") if other != file)


def _generator_of_jets(sample: Sample) -> str:
    return sample.generator or "pythia"  # which makes every class


def drawn_with(sample: Sample) -> tuple[Any, ...]:
    """What two generated samples of the same collisions agree in."""
    if sample.hh4b is not None:
        return "hh4b", sample.hh4b.request(), sample.seed
    if sample.jets is not None:
        return "jets", sample.jets, sample.seed, _generator_of_jets(sample)
    if sample.lhe is not None:  # its hard events are the same with every seed and process
        return "lhe", str(resolved(sample.lhe))
    return _collisions(sample)


def _collisions(sample: Sample) -> tuple[Any, ...]:
    """The same of samples of a process."""
    from transferline.generate.catalogue import process  # noqa: PLC0415
    from transferline.generate.generators import chosen_generator  # noqa: PLC0415

    assert sample.process is not None  # the caller asks
    try:
        entry = process(sample.process)
    except ConfigError:  # a process of another version: said when it is to be made
        return sample.process, sample.seed, sample.generator
    return entry.full_name, sample.seed, chosen_generator(entry, sample.generator)


def generation(sample: Sample) -> dict[str, Any]:
    """Return everything that decides what the generator writes."""
    from transferline.generate.blocks import REVISION  # noqa: PLC0415
    from transferline.generate.card import load_card  # noqa: PLC0415
    from transferline.generate.catalogue import process  # noqa: PLC0415
    from transferline.generate.hard_filter import hard_filter  # noqa: PLC0415

    if sample.jets is not None:
        return _jets(sample)
    if sample.hh4b is not None:
        return _hh4b(sample)
    assert sample.process is not None  # Sample._check
    recipe = sample.to_dict()
    for name in _NO_PART:
        del recipe[name]
    entry = process(sample.process)
    return {
        **recipe,
        **_generator(sample, entry),
        "revision": REVISION,
        "entry": entry.model_dump(mode="json", exclude={"purpose"}),
        "rule": asdict(hard_filter(sample.filter or entry.filter)),
        "card": load_card(sample.detector).model_dump(mode="json"),
        "lhe": file_hash(Path(sample.lhe)) if sample.lhe else None,
        "versions": package_versions(_MADE_BY),
    }


def _jets(sample: Sample) -> dict[str, Any]:
    """Everything that decides what jets are written."""
    from transferline.generate.large_jets.settings import made_of  # noqa: PLC0415

    assert sample.jets is not None  # _generation
    names = ("mpi", "tune", "detector")
    how = {name: getattr(sample, name) for name in names}
    return {
        **{name: getattr(sample, name) for name in ("jets", "n", "seed", *names)},
        **made_of(
            sample.jets, **how, generator=_generator_of_jets(sample), replicas=sample.replicas
        ),
        "versions": package_versions(_MADE_BY),
    }


def _hh4b(sample: Sample) -> dict[str, Any]:
    """Everything that decides what events of large jets are written."""
    from transferline.generate.large_jets.hh4b_request import made_of  # noqa: PLC0415

    assert sample.hh4b is not None  # _generation
    how: dict[str, Any] = {name: getattr(sample, name) for name in ("mpi", "tune", "detector")}
    return {
        **how,
        **made_of(sample.hh4b.request(), **how),
        "n": sample.n,
        "seed": sample.seed,
        "versions": package_versions(_MADE_BY),
    }


def _generator(sample: Sample, entry: Process) -> dict[str, Any]:
    """Another generator than Pythia, its run card and version; Pythia's settings are `entry`'s."""
    from transferline.generate import generators  # noqa: PLC0415

    name = generators.chosen_generator(entry, sample.generator)
    if name == generators.PYTHIA:
        return {}
    external = sample.lhe is not None
    cards = generators.generator_settings(
        entry, name, mpi=sample.mpi, tune=sample.tune, external=external
    )
    return {"generator": name, "cards": cards, "made_by": generators.wanted_version(name)}


def cross_section(sample: Sample) -> float | None:
    """Return the catalogue's, in pb; None for files, whose own provenance may tell it."""
    if sample.process is None or sample.lhe is not None:
        return None
    from transferline.generate.catalogue import process  # noqa: PLC0415

    return process(sample.process).cross_section.pb


def place_name(what: str, how: str, digest: str) -> str:
    """Return a name of a directory or file in the cache that people can read."""
    readable = re.sub(r"[^A-Za-z0-9_+-]+", "-", f"{what}-{how}").strip("-")
    return f"{readable}-{digest[:12]}"
