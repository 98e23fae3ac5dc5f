"""Replaced object: one object of the event is replaced by a dummy; tell which type it was.

Source: Kishimoto, "A study of foundation models for event classification in collider physics"
(ISGC 2025, PoS 488, 001): five answers, lepton, b-jet, light jet, missing momentum, or no
dummy. What the authors left open is a named switch here: how the object to be replaced is
drawn, how often none is, what stands in its place, and what is known of the types of the others.

A trap: where all other types are known, the answer can be counted, and the task teaches nothing
more. Every validation therefore logs what counting gets: `counting_types`, the best guess from the
numbers of objects of each type that can be told of what is left, and `counting_objects`, the one
from their number alone. An object whose type is hidden is a lepton where it has charge, and missing
momentum where its eta is exactly 0; the rest are jets of either kind. A dummy that can be seen is
counted too: whether there is one is no secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.config import added
from transferline.data.batch import Batch
from transferline.data.events import SPECIES
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.learning.objectives.counting import Counting
from transferline.learning.objectives.masked_type import check_events, hide
from transferline.models.augment import Augment
from transferline.models.model import Model

NONE, LEPTON, BJET, JET, MET, TAU = range(6)
CLASSES = ("none", "lepton", "bjet", "jet", "met", "tau")

# The deck lists tau as replaceable but gives it no class of its own.
_TAU = {"lepton": LEPTON, "own": TAU, "never": -1}
_CLASS_OF_SPECIES = {
    "electron": LEPTON,
    "muon": LEPTON,
    "bjet": BJET,
    "jet": JET,
    "met": MET,
}


class ReplacedObject(ObjectiveRecipe):
    """Predict the type of the replaced object, or that none was replaced.

    Attributes:
        probability: chance that an event has an object replaced.
        draw: `type` draws a class among those present first, `object` draws any object.
        dummy: `token`, a learned vector in the object's place; `removed`, its place becomes
            padding, so that "none" must be told from the kinematics of the rest. What padding
            is, nothing or an empty place that the others see, is the backbone's choice.
        types: `visible`, as the features have them; `hidden` from all objects, and the b-tag score
            with them; `partly`, of each object so hidden with the probability `hide`. Charge and
            mass stay, and tell much.
        hide: see `types`.
        tau: counts as a `lepton`, as a class of its `own`, or is `never` replaced.
        head: hidden size of the classifier on the pooled embedding, 0 for a linear one.
    """

    kind: Literal["replaced_object"] = "replaced_object"
    probability: float = Field(0.8, ge=0, le=1)
    draw: Literal["type", "object"] = "type"
    dummy: Literal["token", "removed"] = "token"
    types: Literal["visible", "hidden", "partly"] = added("visible")
    hide: float = added(0.5, gt=0, lt=1)
    tau: Literal["lepton", "own", "never"] = added("lepton")
    head: int = Field(0, ge=0)
    augment: Augment = Augment()

    def build(self, model: Model) -> ReplacedObjectObjective:
        """Return the module with its dummy and its classifier of five (six with tau) answers."""
        return ReplacedObjectObjective(model, self)


class ReplacedObjectObjective(Objective):
    """The module of `ReplacedObject`."""

    class_of_species: Tensor
    conceals = frozenset({"pt", "eta", "phi", "mass", "species", "charge", "btag"})

    def __init__(self, model: Model, recipe: ReplacedObject) -> None:
        super().__init__(model)
        self.recipe = recipe
        width = model.backbone.width
        self.dummy: nn.Parameter | None = None
        if recipe.dummy == "token":
            self.dummy = nn.Parameter(0.02 * torch.randn(model.backbone.token_width))
        answers = len(CLASSES) - (recipe.tau != "own")
        self.classifier = _classifier(width, recipe.head, answers)
        table = torch.full((len(SPECIES),), -1)
        for name, index in {**_CLASS_OF_SPECIES, "tau": _TAU[recipe.tau]}.items():
            table[SPECIES[name]] = index
        self.register_buffer("class_of_species", table)
        # The last counts are those of objects that could be either kind of jet, and of dummies,
        # which is always zero where the object is removed.
        dummies = int(self.dummy is not None)
        most = [1 if kind == MET else 7 for kind in range(1, answers + 1)]
        self.counting_types = Counting([*most, dummies], answers)
        self.counting_objects = Counting([63, dummies], answers)

    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Take none, but see that these are events."""
        check_events(draw(), self.recipe.kind)

    def forward(self, batch: Batch) -> Loss:
        """Return the cross-entropy and the accuracy; in evaluation also what counting gets."""
        if self.training:
            batch = self.recipe.augment(batch)
        classes = self._classes(batch)
        chosen = self.hidden(batch)
        replaced = chosen.any(1)
        picked = (classes * chosen).sum(1)
        target = torch.where(replaced, picked, torch.full_like(picked, NONE))
        shown = self._shown(batch)
        logits = self.classifier(self._pooled(shown, chosen)).float()
        parts = {"accuracy": (logits.argmax(-1) == target).float().mean()}
        left = self._told(shown, classes).masked_fill(chosen, -1)
        counted = self._counting(left, replaced.long(), target)
        return Loss(F.cross_entropy(logits, target), parts | counted)

    def _counting(self, left: Tensor, dummies: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Add to the tables, in evaluation read them: classes `[n, p]`, dummies and targets `[n]`.

        The count of dummies is clamped to zero where there are none to be seen.
        """
        answers = self.counting_types.table.shape[1]
        kinds = torch.arange(1, answers + 1, device=left.device)
        counts, seen = (left.unsqueeze(-1) == kinds).sum(1), dummies.unsqueeze(1)
        pairs = {
            "types": torch.cat((counts, seen), 1),
            "objects": torch.cat((counts.sum(1, keepdim=True), seen), 1),
        }
        tables = {"types": self.counting_types, "objects": self.counting_objects}
        if self.training:
            for name, table in tables.items():
                table.learn(pairs[name], target)
            return {}
        return {f"counting_{n}": table.accuracy(pairs[n], target) for n, table in tables.items()}

    def _shown(self, batch: Batch) -> Batch:
        """The batch with as much of the types as the network may see."""
        if self.recipe.types == "visible":
            return batch
        hidden = batch.is_real
        if self.recipe.types == "partly":
            hidden = hidden & (torch.rand(hidden.shape, device=hidden.device) < self.recipe.hide)
        return hide(batch, hidden, hide_mass=False, leaking=("btag",))

    def _classes(self, batch: Batch) -> Tensor:
        """The class of every object, `[n, p]`; -1 where nothing can be replaced."""
        classes = self.class_of_species[batch.columns["species"]]
        return classes.masked_fill(~batch.is_real, -1)

    def _told(self, shown: Batch, classes: Tensor) -> Tensor:
        """What can be told of every object's class, `[n, p]`; one beyond all: a jet or b jet."""
        told = self._classes(shown)
        secret = shown.is_real & (shown.columns["species"] == 0)
        charged = shown.columns["charge"] != 0 if "charge" in shown.columns else secret & False
        jets = torch.full_like(told, self.counting_types.table.shape[1])
        guess = torch.where(classes == MET, MET, torch.where(charged, LEPTON, jets))
        return torch.where(secret, guess, told)

    def hidden(self, batch: Batch) -> Tensor:
        """Draw at most one object per event."""
        classes = self._classes(batch)
        key = torch.rand(classes.shape, device=classes.device)
        key = key.masked_fill(classes < 0, -1.0)
        if self.recipe.draw == "type":
            answers = self.counting_types.table.shape[1]
            drawn = _draw_class(classes, answers)
            key = key.masked_fill(classes != drawn.unsqueeze(1), -1.0)
        best, place = key.max(dim=1)
        take = torch.rand(len(classes), device=classes.device) < self.recipe.probability
        take = take & (best >= 0)
        chosen = F.one_hot(place, classes.shape[1]).bool()
        return chosen & take.unsqueeze(1)

    def _pooled(self, batch: Batch, chosen: Tensor) -> Tensor:
        """Embed, put the dummy in, encode; the replaced object never reaches the encoder."""
        backbone, shown = self.model.backbone, batch.is_real & ~chosen
        # Shares of a sum and places by pT are those of the objects that are left.
        inputs = self.model.features(batch.replace(is_real=shown))
        tokens, pairs = backbone.embed(inputs), backbone.pairs(inputs)
        if self.dummy is not None:
            dummy = self.dummy.to(tokens.dtype)
            tokens = torch.where(chosen.unsqueeze(-1), dummy, tokens)
            return backbone.encode(tokens, batch.is_real, pairs).pooled
        return backbone.encode(tokens, shown, pairs).pooled


def _classifier(width: int, hidden: int, answers: int) -> nn.Module:
    if not hidden:
        return nn.Linear(width, answers)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, answers))


def _draw_class(classes: Tensor, answers: int) -> Tensor:
    """Draw one class uniformly among those present in each event, `[n]`; -1 if there is none."""
    kinds = torch.arange(1, answers, device=classes.device)
    present = (classes.unsqueeze(-1) == kinds).any(1)
    key = torch.rand(present.shape, device=classes.device).masked_fill(~present, -1.0)
    best, place = key.max(dim=1)
    return torch.where(best >= 0, kinds[place], torch.full_like(place, -1))
