"""Tag-weighted unweighting: keep an event with the probability of its tags, then draw them.

Jets are tagged independently, jet j with probability p_j, so an event has at least one tag with
probability P = 1 - prod_j (1 - p_j). To draw the tags and keep events that have one, is the same
as to keep an event with probability P and to draw its tags on the condition that there is one:
the first tagged jet is jet j with probability p_j prod_{i<j} (1 - p_i) / P; jets before it are
not tagged, jets after it are tagged with p_j as ever. An event that stands for k others which were
not simulated is kept with probability k P. Where that exceeds 1 it becomes the event's weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferline.generate.btag import discriminant, tag_probability
from transferline.generate.card import BTag
from transferline.generate.compiled import Array
from transferline.generate.tables import Collection, EventTable

_ISOLATED = 0.25  # relative isolation of a muon, loose


@dataclass(frozen=True)
class TagCut:
    """An isolated lepton, and jets beside it of which at least one is tagged; momenta in GeV.

    An event passes if any one of its leptons leaves so many jets farther away than
    `overlap_dr`, and jets that any lepton leaves may be the tagged one. A selection that asks for
    the same or more of leptons and jets finds all its events among those, whichever of the leptons
    it takes.

    Attributes:
        score: a tagged jet has its discriminant above it; DeepJet, medium, 2016 post-VFP.
        jets, pt, eta: number of jets, their transverse momentum, largest |eta|.
        lepton_pt: of an electron or muon that is loosely identified and isolated.
        overlap_dr: a jet nearer to a lepton is that lepton.
    """

    score: float = 0.2489
    jets: int = 2
    pt: float = 30.0
    eta: float = 2.4
    lepton_pt: float = 24.0
    overlap_dr: float = 0.39


@dataclass(frozen=True)
class Tagged:
    """Events that were kept, `m` of `n`.

    `rows` `[m]` are their numbers in the old table; `factor` `[m]`, in general 1, is what their
    weights were multiplied with.
    """

    table: EventTable
    rows: Array
    factor: Array


def keep_tagged(
    table: EventTable, one_in: Array, card: BTag, cut: TagCut, rng: np.random.Generator
) -> Tagged:
    """Keep events that pass `cut` but for the tags by the probability of at least one tag.

    Args:
        table: reconstructed events, `n`.
        one_in: `[n]`, what each event was thinned by before: it stands for so many.
        card: efficiencies of the tag.
        cut: what an event needs.
        rng: draws events and tags.
    """
    passes, counts = _apply(table, cut)
    tags = _Tags.of(table.collections["Jet"], counts, card, cut.score)
    wanted = one_in * tags.at_least_one
    rows = np.flatnonzero(passes & (rng.random(table.n) < wanted))
    chosen = table.take(rows)
    _, counts = _apply(chosen, cut)
    jets = _Tags.of(chosen.collections["Jet"], counts, card, cut.score).drawn(card, rng)
    factor = np.maximum(wanted[rows], 1.0)
    scalars = {**chosen.scalars, "genWeight": chosen.scalars["genWeight"] * factor}
    return Tagged(EventTable(scalars, {**chosen.collections, "Jet": jets}), rows, factor)


def _apply(table: EventTable, cut: TagCut) -> tuple[Array, Array]:
    """Tell which events pass, tags aside, and which jets may be the tagged one."""
    jets = table.collections["Jet"]
    within = (jets["pt"] > cut.pt) & (np.abs(jets["eta"]) < cut.eta)
    passes, counts = np.zeros(table.n, bool), np.zeros(len(jets), bool)
    electrons, muons = table.collections["Electron"], table.collections["Muon"]
    for leptons, loose in (
        (electrons, electrons["loose_isolated"]),
        (muons, muons["loose"] & (muons["isolation"] < _ISOLATED)),
    ):
        good = loose & (leptons["pt"] > cut.lepton_pt)
        for slot in range(int(leptons.slot[good].max(initial=-1)) + 1):
            beside = within & _far(
                jets, leptons, np.flatnonzero(good & (leptons.slot == slot)), cut
            )
            passes |= np.bincount(jets.event, beside, minlength=table.n) >= cut.jets
            counts |= beside
    return passes, counts


def _far(jets: Collection, leptons: Collection, index: Array, cut: TagCut) -> Array:
    """Tell which jets are far from the lepton of their event; `index` has one of an event at most.

    Jets of events without one are not.
    """
    eta, phi = np.full((2, len(jets.counts)), np.nan)
    event = leptons.event[index]
    eta[event], phi[event] = leptons["eta"][index], leptons["phi"][index]
    turn = np.abs(jets["phi"] - phi[jets.event])
    away = np.hypot(jets["eta"] - eta[jets.event], np.minimum(turn, 2.0 * np.pi - turn))
    return np.asarray(away > cut.overlap_dr)


@dataclass(frozen=True)
class _Tags:
    """Probabilities of jets: to be tagged, and of a tag among them and those before in the event.

    Jets that do not count (`counts`) have probability 0.
    """

    jets: Collection
    counts: Array
    p: Array
    passed: Array

    @classmethod
    def of(cls, jets: Collection, counts: Array, card: BTag, score: float) -> _Tags:
        flavour, pt, eta = (jets[name] for name in ("hadronFlavour", "pt", "eta"))
        p = np.where(counts, tag_probability(card, score, flavour, pt, eta), 0.0)
        total = np.concatenate([[0.0], np.cumsum(np.log1p(-p))])
        before = np.repeat(total[jets.offsets[:-1]], jets.counts)
        return cls(jets, counts, p, -np.expm1(total[1:] - before))

    @property
    def at_least_one(self) -> Array:
        """The probability of each event."""
        result = np.zeros(len(self.jets.counts))
        some = self.jets.counts > 0
        result[some] = self.passed[self.jets.offsets[1:][some] - 1]
        return result

    def drawn(self, card: BTag, rng: np.random.Generator) -> Collection:
        """Return jets with new discriminants where they count, at least one tagged per event."""
        jets, p = self.jets, self.p
        at = (rng.random(len(jets.counts)) * self.at_least_one)[jets.event]
        before = np.where(jets.slot > 0, np.roll(self.passed, 1), 0.0)
        u = rng.random(len(p))
        # The discriminant falls with u, and is above the score where u is below p.
        u = np.where(self.passed <= at, p + (1.0 - p) * u, np.where(before <= at, p * u, u))
        drawn = discriminant(card, jets["hadronFlavour"], jets["pt"], jets["eta"], u)
        return jets.add(btagDeepFlavB=np.where(self.counts, drawn, jets["btagDeepFlavB"]))
