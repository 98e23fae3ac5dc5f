"""Samples: generated or given files, prepared once and kept by the hash of what made them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict
from fnmatch import fnmatch
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from transferline.config import Recipe, Seed, added, one_of
from transferline.data.card import load_card
from transferline.data.file_ledger import read_ledger, usable_again
from transferline.data.layouts.shards import CARD
from transferline.data.prepare import prepare
from transferline.data.readers import READERS, Reader
from transferline.data.readers.file_list import named_files
from transferline.data.readers.jetclass import JetClass
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import Selection
from transferline.data.selections.kinds import AnySelection, load_selection
from transferline.data.survey import file_stamps
from transferline.errors import ConfigError, DataError, did_you_mean
from transferline.files import file_hash, json_hash
from transferline.mixtures import hand_down, mixed
from transferline.provenance import package_versions
from transferline.runtime import cache_directory

GENERATION = 1
"""Raised when the same recipe would be generated or prepared differently."""

if TYPE_CHECKING:
    from transferline.generate.catalogue import Process

_OVERRIDES = ("triggers", "veto_triggers", "golden_json")
_INHERITED = ("selection", *_OVERRIDES)
_GENERATED = ("mpi", "detector", "filter", "tune", "lhe", "generator")
_MADE = ("process", "jets")
_NOT_OF_JETS = ("filter", "lhe")
_MADE_BY = ("pythia8mc", "fastjet", "numpy", "transferline")


class Sample(Recipe):
    """Prepared events: of a generated process, of files, of shards that exist, or a mixture.

    Attributes:
        process: name in the catalogue of processes; generated with `n`, `seed`, `mpi`,
            `detector`, `filter`, `tune`, `lhe`, `generator` as `generate_events` describes.
        jets: class of jets of JetClass, instead of a process; generated with `n`, `seed`, `mpi`,
            `detector`, `tune` and `generator` as `generate_jets` describes.
        n: events (or jets) to generate, counted after the process-level filter and before the
            selection.
        reader: files in one format, instead of what is generated.
        shards: directory of prepared shards, instead of files.
        mix: name -> sample, instead of all: their events in the proportions of cross section x
            efficiency, without labels, see `transferline.data.mix.mix`. They inherit the
            selection. `n` events are drawn with `seed`, without `n` as many as the scarcest member
            allows.
        cross_sections: member of `mix` -> pb, where its card has none or another one is meant.
        selection: name of a selection in the package, or path of a YAML file.
        triggers, veto_triggers: in place of the selection's; a primary data set takes the events
            of its own triggers that no earlier data set took already.
        golden_json: certified luminosity blocks of collision data, in place of the selection's.
        label: for plots.
    """

    process: str | None = None
    jets: str | None = added(None)
    n: int | None = Field(None, gt=0, le=10**9)
    seed: Seed = 1
    mpi: bool = True
    detector: str = "cms"
    filter: str | None = None
    tune: str = "monash"
    lhe: str | None = None
    generator: Literal["pythia", "sherpa"] | None = None
    reader: one_of(READERS) | None = None  # type: ignore[valid-type]  # registry-driven
    shards: str | None = None
    mix: Annotated[dict[str, Sample], Field(min_length=1)] | None = None
    cross_sections: dict[str, Annotated[float, Field(gt=0)]] | None = None
    selection: str | None = None
    triggers: tuple[str, ...] | None = None
    veto_triggers: tuple[str, ...] | None = None
    golden_json: str | None = None
    label: str = ""

    @model_validator(mode="before")
    @classmethod
    def _hand_down(cls, value: Any) -> Any:
        """Members of a mixture are whole samples: with its selection."""
        return hand_down(value, _INHERITED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = ("process", "jets", "reader", "shards", "mix")
        sources = [name for name in kinds if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(f"needs exactly one of {', '.join(kinds)}.")
        members = [self] if self.mix is None else list(self.mix.values())
        if (self.selection is None) != all(m.shards is not None for m in members):
            raise ValueError(f"{sources[0]} needs a selection; shards have theirs already.")
        if self.mix is None and (self.n is None) == (sources[0] in _MADE):
            raise ValueError("process (or jets) and n belong together.")
        for name in _NOT_OF_JETS if self.jets is not None else ():
            if getattr(self, name) is not None:
                raise ValueError(f"jets have no {name}.")
        self._check_mixture()
        return self

    def _check_mixture(self) -> None:
        members = self.mix or {}
        for name in self.cross_sections or {}:
            if name not in members:
                hint = did_you_mean(name, members)
                raise ValueError(f"cross_sections: '{name}' is no member of a `mix`.{hint}")
        for name in _GENERATED if members else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is for each member of the `mix` to say, not beside it.")
        for name, member in members.items():
            if member.mix is not None:
                raise ValueError(f"mix.{name}: is a mixture itself; name its members in its place.")
            own = [what for what in _INHERITED if getattr(member, what) != getattr(self, what)]
            if member.shards is None and own:
                raise ValueError(f"mix.{name}: has a {own[0]} of its own; the mixture has one.")
        for one, other in combinations(members, 2):
            if members[one].shares_events_with(members[other]):
                raise ValueError(
                    f"mix: '{one}' and '{other}' hold the same events; generate one of them with "
                    "another seed, or take other files."
                )

    def shares_events_with(self, other: Sample) -> bool:
        """Tell whether the two surely hold the same collisions, selections aside.

        Random numbers belong to (generator, process, seed, block): other filters, detectors or
        numbers of events do not make them other events. A mixture holds those of its members.
        """
        if self.mix is not None:
            return any(member.shares_events_with(other) for member in self.mix.values())
        if other.mix is not None:
            return other.shares_events_with(self)
        if self.process is not None:
            return other.process is not None and _collisions(self) == _collisions(other)
        if self.jets is not None:
            return other.jets is not None and _same_jets(self) == _same_jets(other)
        if self.reader is not None and other.reader is not None:
            pairs = product(named_files(self.reader.files), named_files(other.reader.files))
            # Names alone: a study must be readable where its files are not.
            return any(fnmatch(a, b) or fnmatch(b, a) for a, b in pairs)
        return self.shards is not None and self.shards == other.shards


def materialise(
    sample: Sample,
    cache: Path | None = None,
    *,
    jobs: int = 1,
    executor: Executor | None = None,
) -> Path:
    """Return the shard directory of a sample: generate, prepare and mix what is not there.

    What is in the cache is found again by the hash of everything that made it: the recipe, the
    catalogue's entry, the detector card, the selection and the versions of the generator.
    Interrupted, both steps go on where they stopped. A sample without files that were out of
    reach when it was prepared (`skip_bad`) is prepared again once they are there.

    Args:
        sample: the recipe.
        cache: where samples are kept; `cache_directory()` unless given.
        jobs: processes on this machine, if no `executor` is given.
        executor: does the work instead; it must see `cache`.

    Raises:
        ConfigError: a name of the recipe is unknown.
        DataError: files are missing or damaged, or no event passes the selection.
    """
    if sample.shards is not None:
        place = Path(sample.shards)
        if not (place / CARD).is_file():
            raise DataError(f"{place}: is no directory of prepared shards ({CARD} is missing).")
        return place
    cache = cache or cache_directory()
    if sample.mix is not None:
        members = {
            name: materialise(member, cache, jobs=jobs, executor=executor)
            for name, member in sample.mix.items()
        }
        return _mixture(sample, members, cache)
    chosen = chosen_selection(sample)
    source = _generation(sample) if sample.reader is None else _files(sample.reader)
    made_of = {
        "protocol": GENERATION,
        "selection": chosen.to_dict(),
        "source": source,
        "transferline": package_versions(("transferline",)),
    }
    if isinstance(chosen, Selection) and chosen.golden_json is not None:
        made_of["certified"] = _content(Path(chosen.golden_json))
    name = sample.process or sample.jets or sample.label or "files"
    place = cache / "prepared" / _name(name, chosen.name, json_hash(made_of))
    if not _is_ready(place, sample.reader, source):
        reader: Reader | None = sample.reader
        if reader is None:
            made = [str(generated_file(sample, cache, jobs=jobs, executor=executor))]
            reader = NanoAOD(files=made) if sample.jets is None else JetClass(files=made)
        prepare(
            reader,
            chosen,
            place,
            jobs=jobs,
            executor=executor,
            sample=sample.label or name,
            cross_section_pb=_cross_section(sample),
            # Only then: what another process has just finished is taken as it is.
            overwrite=(place / CARD).is_file(),
        )
    return place


def _mixture(sample: Sample, members: Mapping[str, Path], cache: Path) -> Path:
    name = sample.label or "mixture"
    cuts = "" if sample.selection is None else chosen_selection(sample).name
    return mixed(
        members,
        cache / "prepared",
        named=partial(_name, name, cuts),
        sample=name,
        n=sample.n,
        seed=sample.seed,
        cross_sections=sample.cross_sections,
    )


def _is_ready(place: Path, reader: Reader | None, source: Mapping[str, Any]) -> bool:
    """Tell whether a place holds shards, of all files that `skip_bad` need not leave out now."""
    if not (place / CARD).is_file():
        return False
    if reader is None or not reader.skip_bad:
        return True
    return not usable_again(read_ledger(place, load_card(place)), source["stamps"])


def chosen_selection(sample: Sample) -> AnySelection:
    """Return the sample's selection, with what the sample puts in place of its parts.

    Raises:
        ConfigError: there is no such selection, or it is one of jets, which has no such parts.
    """
    chosen = load_selection(sample.selection or "")
    given = {name: getattr(sample, name) for name in _OVERRIDES}
    update = {name: value for name, value in given.items() if value is not None}
    for name in update:
        if name not in type(chosen).model_fields:
            raise ConfigError(f"The selection '{chosen.name}' has no {name}.")
    return chosen.model_copy(update=update)


def _content(file: Path) -> str:
    if not file.is_file():
        raise DataError(f"{file}: no such file of certified luminosity blocks.")
    return file_hash(file)


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
    from transferline.generate.events import generate_events  # noqa: PLC0415  # an extra
    from transferline.generate.large_jets.sample import generate_jets  # noqa: PLC0415

    what = sample.process or sample.jets
    if what is None or sample.n is None:
        raise ConfigError("Only samples of a process or of jets are generated.")
    cache = cache or cache_directory()
    name = _name(what, f"s{sample.seed}-n{sample.n}", json_hash(_generation(sample)))
    file = cache / "generated" / f"{name}.root"
    generate: Callable[..., object] = partial(generate_jets, generator=_generator_of_jets(sample))
    if sample.process is not None:
        generate = partial(
            generate_events,
            filter=sample.filter,
            lhe=Path(sample.lhe) if sample.lhe else None,
            generator=sample.generator,
        )
    generate(
        what,
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


def _generator_of_jets(sample: Sample) -> str:
    return sample.generator or "pythia"  # which makes every class


def _same_jets(sample: Sample) -> tuple[Any, ...]:
    """What two samples of the same jets agree in."""
    return sample.jets, sample.seed, _generator_of_jets(sample)


def _collisions(sample: Sample) -> tuple[Any, ...]:
    """What two samples of the same collisions agree in."""
    from transferline.generate.catalogue import process  # noqa: PLC0415
    from transferline.generate.generators import chosen_generator  # noqa: PLC0415

    assert sample.process is not None  # the caller asks
    try:
        entry = process(sample.process)
    except ConfigError:  # a process of another version: said when it is to be made
        return sample.process, sample.seed, sample.lhe, sample.generator
    generator = chosen_generator(entry, sample.generator)
    return entry.full_name, sample.seed, sample.lhe, generator


def _generation(sample: Sample) -> dict[str, Any]:
    """Everything that decides what the generator writes."""
    from transferline.generate.blocks import REVISION  # noqa: PLC0415
    from transferline.generate.card import load_card  # noqa: PLC0415
    from transferline.generate.catalogue import process  # noqa: PLC0415
    from transferline.generate.hard_filter import hard_filter  # noqa: PLC0415

    if sample.jets is not None:
        return _jets(sample)
    assert sample.process is not None  # Sample._check
    recipe = sample.to_dict()
    other = ("reader", "shards", "mix", "cross_sections", "label", "generator")
    for name in (*other, *_INHERITED):
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
        **made_of(sample.jets, **how, generator=_generator_of_jets(sample)),
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


def _cross_section(sample: Sample) -> float | None:
    """The catalogue's, in pb; None for files, whose own provenance may tell it."""
    if sample.process is None:
        return None
    from transferline.generate.catalogue import process  # noqa: PLC0415

    return process(sample.process).cross_section.pb


def _files(reader: Reader) -> dict[str, Any]:
    """A reader's recipe, and size and time of its files: a file that changed is another one."""
    return {"reader": reader.content(), "stamps": file_stamps(reader)}


def _name(what: str, how: str, digest: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_+-]+", "-", f"{what}-{how}").strip("-")
    return f"{readable}-{digest[:12]}"
