r"""Events weighted by the probability of their b tags, in place of tags that were drawn once.

Of events that seldom have a tag a sample holds few that have one, and many that could have had
one. Each of these stands in with the probability $P = 1 - \prod_j (1 - p_j)$ of at least one tag
among its selected jets, $p_j$ being that of the detector card, and its tags are drawn until there
is one. What is expected of every spectrum is the same; the statistical error is smaller.

This shares the card's $p_j$ with the filter `tagged_jets`, and nothing else: objects are those of
the selection, and tags are drawn by rejection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import Events
from transferline.data.jagged import flat_columns
from transferline.data.readers.base import Source
from transferline.data.selections import Selection, apply
from transferline.data.selections import objects as pick
from transferline.data.selections.flat import Flat
from transferline.errors import ConfigError, DataError
from transferline.files import json_hash
from transferline.generate.btag import tag_probability
from transferline.generate.card import BTag, load_card
from transferline.validation.statistics import Floats

_ROW = "row"


@dataclass(frozen=True)
class ExpectedTags:
    """Puts expected tags into events that are to pass `recipe`, by the efficiencies of `card`."""

    recipe: Selection
    card: BTag
    seed: int = 1

    @classmethod
    def of(cls, source: Source, recipe: Selection) -> ExpectedTags:
        """Return what a generated file needs.

        Raises:
            ConfigError: the selection does not ask for one b tag or more.
            DataError: the file was not generated here without a b tag, or with another card.
        """
        if recipe.cuts.bjets_min != 1:
            raise ConfigError(f"The selection {recipe.name} must ask for one b tag or more.")
        found = source.provenance or {}
        card = load_card(str(found.get("detector", "cms")))
        if found.get("card_hash") != json_hash(card.model_dump(mode="json")):
            raise DataError(f"{source.path}: was not generated with a detector card that is here.")
        if "tag" in found.get("filter", {}):
            raise DataError(f"{source.path}: its events were selected by their tags already.")
        return cls(recipe, card.btag)

    def put_in(self, events: Events, start: int, *, is_simulation: bool) -> Events:
        """Return the events that could pass, weighted with P, each with at least one tag.

        `events` have the columns of the selection and jets their `hadron_flavour`; `start` is the
        number of the first one in its file. Random numbers come from the seed and from it.
        """
        cuts = self.recipe.cuts.model_copy(update={"bjets_min": 0})
        untagged = self.recipe.model_copy(update={"cuts": cuts})
        events = events[apply(untagged, events, is_simulation=is_simulation).passed]
        tagger = self.recipe.jets.btag.tagger
        offsets, columns = flat_columns(events.particles["jet"])
        jets = self._selected(events, np.arange(offsets[-1]))
        p = tag_probability(
            self.card,
            self.recipe.btag_cut,
            jets["hadron_flavour"],
            jets["pt"].astype(float),
            jets["eta"].astype(float),
        )
        none = np.bincount(jets.event, np.log1p(-p), minlength=len(events))
        score = np.array(columns[tagger], float)
        drawn = draw_until_one(p, jets.event, np.random.default_rng([self.seed, start]))
        score[jets[_ROW]] = drawn
        counts = np.diff(offsets)
        with_tags = ak.with_field(events.particles["jet"], ak.unflatten(score, counts), tagger)
        return replace(
            events,
            particles={**events.particles, "jet": with_tags},
            weight=events.weight * -np.expm1(none),
        )

    def _selected(self, events: Events, rows: NDArray[np.intp]) -> Flat:
        """Return the jets that the selection counts, with their place among all."""
        recipe, particles = self.recipe, events.particles
        jets = Flat.of(particles["jet"])
        jets = replace(jets, columns={**jets.columns, _ROW: rows})
        others = [
            pick.electrons(Flat.of(particles["electron"]), recipe.electrons),
            pick.muons(Flat.of(particles["muon"]), recipe.muons),
        ]
        if recipe.taus is not None:
            others.append(pick.taus(Flat.of(particles["tau"]), recipe.taus, others[:2]))
        return pick.jets(jets, recipe.jets, recipe.era, others)


def draw_until_one(p: Floats, event: NDArray[Any], rng: np.random.Generator) -> Floats:
    """Return 1 for tagged jets and 0 for others: drawn again for events that have none.

    `p` are the probabilities of the jets, above 0, and `event` the numbers of their events, both
    `[m]`, events ascending.
    """
    result = np.zeros(len(p))
    left = np.arange(len(p))
    while left.size:
        result[left] = rng.random(left.size) < p[left]
        tagged = np.unique(event[left][result[left] > 0.0])
        left = left[~np.isin(event[left], tagged)]
    return result
