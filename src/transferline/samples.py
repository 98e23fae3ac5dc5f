"""Samples: generated or given files, prepared once and kept by the hash of what made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor
from fnmatch import fnmatch
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from transferline.config import Recipe, Seed, added, one_of
from transferline.data.card import load_card, lost_part
from transferline.data.file_ledger import read_ledger, usable_again
from transferline.data.layouts.shards import CARD
from transferline.data.prepare import LAYOUT, prepare
from transferline.data.readers import READERS, Reader
from transferline.data.readers.file_list import named_files
from transferline.data.selections.jets import JetSelection
from transferline.data.selections.kinds import AnySelection, load_selection
from transferline.data.survey import file_stamps
from transferline.errors import ConfigError, DataError, did_you_mean
from transferline.files import file_hash, json_hash
from transferline.mixtures import hand_down, mixed
from transferline.provenance import package_versions
from transferline.runtime import cache_directory
from transferline.sample_generation import (
    check_generator,
    check_kind,
    cross_section,
    drawn_with,
    generated_file,
    generated_place,
    generation,
    made_name,
    place_name,
    reader_of,
)

GENERATION = 1
"""Raised when the same recipe would be generated or prepared differently."""

if TYPE_CHECKING:
    from transferline.generate.large_jets.hh4b_request import Request

_OVERRIDES = ("triggers", "veto_triggers", "golden_json")
_INHERITED = ("selection", *_OVERRIDES)
_GENERATED = ("mpi", "detector", "filter", "tune", "lhe", "generator", "replicas")
_MADE = ("process", "jets", "hh4b")
_NOT_OF = {"jets": ("filter", "lhe"), "hh4b": ("filter", "lhe", "generator")}


class HH4b(Recipe):
    """Events of large jets: X -> HH -> 4b of one mass, or multijets of one bin of pT-hat.

    Attributes:
        mass: of X in GeV.
        qcd: instead of it `LOW-HIGH` in GeV, such as `300-470`; `3200-` is open.
    """

    mass: float | None = None
    qcd: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            self.request()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def request(self) -> Request:
        """Return what the generator is asked for."""
        from transferline.generate.large_jets.hh4b_request import Request  # noqa: PLC0415

        return Request.parse(self.mass, self.qcd)


class Sample(Recipe):
    """Prepared events: of a generated process, of files, of shards that exist, or a mixture.

    Attributes:
        process: name in the catalogue of processes; generated with `n`, `seed`, `mpi`,
            `detector`, `filter`, `tune`, `lhe`, `generator` as `generate_events` describes.
        jets: class of jets of JetClass, instead of a process; generated with `n`, `seed`, `mpi`,
            `detector`, `tune`, `generator` and `replicas` as `generate_jets` describes.
        hh4b: events of large jets, instead of a process; generated with `n`, `seed`, `mpi`,
            `detector` and `tune` as `generate_hh4b` describes. Cross section times the share of
            events with two jets is that of the generator.
        replicas: of each jet, which are events of jets to a selection of those (`replicas`), and
            to one of jets (`jets`) are jets by themselves; `n` counts each once.
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
    hh4b: HH4b | None = added(None)
    n: int | None = Field(None, gt=0, le=10**9)
    seed: Seed = 1
    mpi: bool = True
    detector: str = "cms"
    filter: str | None = None
    tune: str = "monash"
    lhe: str | None = None
    generator: Literal["pythia", "sherpa"] | None = None
    replicas: int = added(1, ge=1, le=100)
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
        kinds = ("process", "jets", "hh4b", "reader", "shards", "mix")
        sources = [name for name in kinds if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(f"needs exactly one of {', '.join(kinds)}.")
        members = [self] if self.mix is None else list(self.mix.values())
        if (self.selection is None) != all(m.shards is not None for m in members):
            raise ValueError(f"{sources[0]} needs a selection; shards have theirs already.")
        if self.mix is None and (self.n is None) == (sources[0] in _MADE):
            raise ValueError("process (or jets, hh4b) and n belong together.")
        for name in _NOT_OF.get(sources[0], ()):
            if getattr(self, name) is not None:
                raise ValueError(f"{sources[0]} have no {name}.")
        if self.replicas != 1 and sources[0] not in {"jets", "mix"}:
            raise ValueError("replicas are of generated jets: they belong to `jets: CLASS`.")
        self._check_used(sources[0], prepared=all(m.shards is not None for m in members))
        self._check_mixture()
        return self

    def _check_used(self, source: str, *, prepared: bool) -> None:
        """What nothing would come of must not look as if something did."""
        if source in {"reader", "shards"}:
            for name in ("seed", *_GENERATED):
                if self._states(name):
                    default = json.dumps(type(self).model_fields[name].default)
                    raise ValueError(
                        f"{name} is of what is generated; {source} has no use for it. Leave it "
                        f"out, or above a `base:` that has it say {name}: {default}."
                    )
        for name in _OVERRIDES if prepared else ():
            if self._states(name):
                raise ValueError(f"{name}: shards are selected already; prepare them with it.")

    def _states(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def _check_mixture(self) -> None:
        members = self.mix or {}
        for name in self.cross_sections or {}:
            if name not in members:
                hint = did_you_mean(name, members)
                raise ValueError(f"cross_sections: '{name}' is no member of a `mix`.{hint}")
        for name in _GENERATED if members else ():
            if self._states(name):
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
        if made_name(self) is not None:
            return made_name(other) is not None and drawn_with(self) == drawn_with(other)
        if self.reader is not None and other.reader is not None:
            pairs = product(named_files(self.reader.files), named_files(other.reader.files))
            # Names alone: a study must be readable where its files are not.
            return any(a == b or fnmatch(a, b) or fnmatch(b, a) for a, b in pairs)
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
        ConfigError: a name of the recipe is unknown, or its selection is of something else.
        DataError: files are missing or damaged, or no event passes the selection.
    """
    if sample.shards is not None:
        place = Path(sample.shards)
        if not (place / CARD).is_file():
            raise DataError(f"{place}: is no directory of prepared shards ({CARD} is missing).")
        return place
    cache = cache or cache_directory()
    _check_kinds(sample)
    if sample.mix is not None:
        members = {
            name: materialise(member, cache, jobs=jobs, executor=executor)
            for name, member in sample.mix.items()
        }
        return _mixture(sample, members, cache)
    chosen = chosen_selection(sample)
    source = generation(sample) if sample.reader is None else _files(sample.reader)
    name = made_name(sample) or sample.label or "files"
    place = _prepared(name, chosen, source, cache)
    if not _is_ready(place, sample.reader, source):
        reader: Reader | None = sample.reader
        if reader is None:
            made = [str(generated_file(sample, cache, jobs=jobs, executor=executor))]
            reader = reader_of(sample, made, chosen)
        try:
            prepare(
                reader,
                chosen,
                place,
                jobs=jobs,
                executor=executor,
                sample=sample.label or name,
                cross_section_pb=cross_section(sample),
                # Only then: what another process has just finished is taken as it is.
                overwrite=(place / CARD).is_file(),
            )
        except ConfigError:
            # By another label, too, which is no part of the place: it has been waited for.
            if not _is_ready(place, sample.reader, source):
                raise
    return place


def _prepared(name: str, chosen: AnySelection, source: Mapping[str, Any], cache: Path) -> Path:
    """Return where the events of `source` that pass a selection are kept."""
    made_of = {
        "protocol": GENERATION,
        "layout": LAYOUT,
        "selection": chosen.to_dict(),
        "source": source,
        "transferline": package_versions(("transferline",)),
    }
    if isinstance(chosen, JetSelection) and source.get("replicas", 1) > 1:
        made_of["weights"] = "shared by replicas"  # each had that of a jet once
    if source.get("lhe"):
        made_of["cross_section"] = None  # once the catalogue's was on the card
    if chosen.golden_json is not None:
        made_of["certified"] = _content(Path(chosen.golden_json))
    return cache / "prepared" / place_name(name, chosen.name, json_hash(made_of))


def require_generator(sample: Sample, cache: Path | None = None) -> None:
    """See, before hours of generation, that what a sample still needs to be generated is here.

    And that its selection is one of what it holds.

    Raises:
        ConfigError: it is not; says how to get it, or what to choose.
    """
    cache = cache or cache_directory()
    _check_kinds(sample)
    for member in (sample.mix or {}).values():
        require_generator(member, cache)
    if (name := made_name(sample)) is None or generated_place(sample, cache).exists():
        return
    chosen = chosen_selection(sample)
    if not (_prepared(name, chosen, generation(sample), cache) / CARD).is_file():
        check_generator(sample)


def _check_kinds(sample: Sample) -> None:
    """Look at the selections of a sample and of the members of a mixture before any is made."""
    for member in (sample.mix or {}).values():
        _check_kinds(member)
    if sample.selection is not None:
        check_kind(sample, chosen_selection(sample))


def _mixture(sample: Sample, members: Mapping[str, Path], cache: Path) -> Path:
    name = sample.label or "mixture"
    cuts = "" if sample.selection is None else chosen_selection(sample).name
    return mixed(
        members,
        cache / "prepared",
        named=partial(place_name, name, cuts),
        sample=name,
        n=sample.n,
        seed=sample.seed,
        cross_sections=sample.cross_sections,
    )


def _is_ready(place: Path, reader: Reader | None, source: Mapping[str, Any]) -> bool:
    """Tell whether a place holds shards, of all files that `skip_bad` need not leave out now."""
    if not (place / CARD).is_file():
        return False
    card = load_card(place)
    if lost_part(place, card) is not None:
        return False
    if reader is None or not reader.skip_bad:
        return True
    return not usable_again(read_ledger(place, card), source["stamps"])


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


def _files(reader: Reader) -> dict[str, Any]:
    """A reader's recipe, and size and time of its files: a file that changed is another one."""
    return {"reader": reader.content(), "stamps": file_stamps(reader)}
