"""JEPA: predict what a slower copy of the encoder makes of the masked particles.

Sources: arXiv:2301.08243 (I-JEPA), arXiv:2502.03933 (HEP-JEPA) and arXiv:2412.05333 (J-JEPA): the
encoder sees the others alone, the teacher the whole jet, and the loss compares embeddings, not
particles. The teacher is an exponential moving average of the encoder and gets no gradient; that
it sees more than the encoder keeps both from giving the same answer to everything.
"""

from __future__ import annotations

import copy
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.errors import ConfigError
from transferline.learning.objectives.base import Loss, Objective, ObjectiveRecipe
from transferline.learning.objectives.masked_readers import SetHead
from transferline.learning.objectives.masking import masked_share, pt_rank, without_hidden
from transferline.learning.set_means import mean_over_sets
from transferline.models.augment import Augment
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import PARTICLE_FEATURES
from transferline.models.model import Model

_CONTENT = ("pt", "eta", "phi", "mass", "species", "charge", "btag", "d0", "d0err", "dz", "dzerr")


class Jepa(ObjectiveRecipe):
    """Tell the teacher's embeddings of masked particles from the other particles.

    Attributes:
        fraction: of the particles of a jet that are masked.
        masking: `chance`, or `neighbourhood`: one particle and those nearest to it.
        told: what the predictor knows of a masked particle: its `direction` relative to the jet,
            as in HEP-JEPA, or its `rank` by pT among the masked ones, as in MPMv2.
        momentum: of the average: each step keeps this share of the teacher.
        predictor: transformer that predicts; it is thrown away.
        places: ranks that have a vector of their own; later ones share the last.
        augment: symmetries that are drawn from, the same for encoder and teacher.
    """

    kind: Literal["jepa"] = "jepa"
    fraction: float = Field(0.4, gt=0, lt=1)
    masking: Literal["chance", "neighbourhood"] = "chance"
    told: Literal["direction", "rank"] = "direction"
    momentum: float = Field(0.996, ge=0, lt=1)
    predictor: Transformer = Transformer(width=256, depth=2, heads=8)
    places: int = Field(128, gt=0, le=65_536)
    augment: Augment = Augment()

    @classmethod
    def example(cls) -> Self:
        """Return a small instance."""
        return cls(predictor=Transformer(width=16, depth=1, heads=2), momentum=0.9)

    @property
    def revision(self) -> int:
        """See `ObjectiveRecipe.revision`: 2 has mirrored directions."""
        return 2

    def build(self, model: Model) -> JepaObjective:
        """Return the module with predictor and teacher.

        Raises:
            ConfigError: the backbone has `positions`.
        """
        if model.backbone.ordered:
            raise ConfigError(
                "jepa: the backbone has `positions`, and those that masked particles leave have "
                "another place than in the whole sets of the teacher: leave them out."
            )
        return JepaObjective(model, self)


class JepaObjective(Objective):
    """The module of `Jepa`.

    Features are shared with the teacher: their constants are fitted after this is built.
    """

    conceals = frozenset(_CONTENT)
    chosen_by = None  # the teacher moves, so losses of different steps compare nothing

    def __init__(self, model: Model, recipe: Jepa) -> None:
        super().__init__(model)
        self.recipe = recipe
        width = model.backbone.width
        places = recipe.places if recipe.told == "rank" else None
        self.predictor = SetHead(width, recipe.predictor, places, null=True)
        self.direction = None
        if recipe.told == "direction":
            self.direction = nn.Linear(2, recipe.predictor.width)
        self.readout = nn.Linear(recipe.predictor.width, width)
        self.teacher = copy.deepcopy(model.backbone).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> JepaObjective:
        """The teacher stays in evaluation: without dropout its answer is one."""
        super().train(mode)
        self.teacher.eval()
        return self

    def hidden(self, batch: Batch) -> Tensor:
        """Draw the masked particles."""
        return masked_share(batch, self.recipe.fraction, self.recipe.masking)

    def forward(self, batch: Batch) -> Loss:
        """Return the loss, and the spread of the teacher's embeddings: near 0 they collapsed."""
        if self.training:
            batch = self.recipe.augment(batch)
        hidden = self.hidden(batch)
        guess = self._predicted(batch, hidden)[hidden].float()
        answer = self._taught(batch)[hidden]
        target = F.layer_norm(answer, answer.shape[-1:])
        losses = F.smooth_l1_loss(guess, target, reduction="none").mean(-1)
        spread = answer.std(0, correction=0).mean() if len(answer) else answer.new_zeros(())
        return Loss(mean_over_sets(losses, hidden), {"spread": spread.detach()})

    def _predicted(self, batch: Batch, hidden: Tensor) -> Tensor:
        """Embeddings of all places from the shown particles, `[n, p, d]`."""
        backbone, shown = self.model.backbone, batch.is_real & ~hidden
        inputs = without_hidden(self.model.features(batch), shown)
        tokens = backbone.encode(backbone.embed(inputs), shown, backbone.pairs(inputs)).tokens
        told = None if self.direction is None else self.direction(directions(batch))
        rank = pt_rank(batch, hidden)
        read = self.predictor(tokens, batch.is_real, rank, hidden, told)
        predicted: Tensor = self.readout(read)
        return predicted

    @torch.no_grad()
    def _taught(self, batch: Batch) -> Tensor:
        """The teacher's embeddings of the whole jet, `[n, p, d]`."""
        out: Tensor = self.teacher(self.model.features(batch)).tokens.float()
        return out

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the teacher towards the encoder; what is no parameter is copied.

        BatchNorm averages its statistics itself: averaged again they would lag by two windows.
        """
        ours = self.model.backbone.state_dict()
        learnt = {name for name, _ in self.teacher.named_parameters(remove_duplicate=False)}
        for name, theirs in self.teacher.state_dict().items():
            if name in learnt:
                theirs.lerp_(ours[name].to(theirs), 1 - self.recipe.momentum)
            else:
                theirs.copy_(ours[name])


def directions(batch: Batch) -> Tensor:
    """Eta and phi of every particle relative to its jet, `[n, p, 2]`.

    As the features of these names are, mirrored for jets at negative eta: the encoder could not
    tell the mirror image otherwise.
    """
    return torch.stack([PARTICLE_FEATURES[name](batch) for name in ("delta_eta", "delta_phi")], -1)
