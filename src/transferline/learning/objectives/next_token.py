r"""Next token: tell the code of each particle from those before it; the result generates jets.

Source: arXiv:2403.05618 (OmniJet-alpha), after GPT. The particles of a jet stand in the order of
falling pT, a start token in front. Each place sees itself and earlier ones alone and gives
probabilities of the next code, of which one more means that the jet ends:
$L = -\sum_i \log p(c_{i+1} | x_1 \ldots x_i)$, as a mean over places.

The source feeds codes and asks for codes. Here the backbone must read particles as every task
feeds them, so inputs are features (as in arXiv:2512.04149) or, with `inputs: tokens`, the features
that the codes stand for, which is what the source does in another spelling and what generated
jets are made of. Features are relative to the whole jet, as published: its axis is known.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.errors import ConfigError
from transferline.learning.objectives.base import Loss, Objective, TokenRecipe
from transferline.learning.objectives.identity import KINDS, identity
from transferline.models.augment import Augment
from transferline.models.backbones.positions import order_by_pt, taken
from transferline.models.features import FeatureExtractor, Inputs
from transferline.models.model import Model
from transferline.models.tokenizer_checkpoint import TokenizerCheckpoint
from transferline.models.tokenizers.base import Tokenizer


class NextToken(TokenRecipe):
    """Tell the next particle's code; `transferline tokenize sample` generates jets with it.

    Attributes:
        tokenizer: directory of a trained tokenizer (`transferline tokenize`), or the name of one
            among those of the study. Without one the code is species and sign of the charge, of
            which no jet can be made.
        inputs: `features` of the particles, or of their `tokens`.
        augment: symmetries that are drawn from.
    """

    kind: Literal["next_token"] = "next_token"
    inputs: Literal["features", "tokens"] = "features"
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.inputs == "tokens" and self.tokenizer is None:
            raise ValueError("inputs: tokens needs `tokenizer`.")
        return self

    @property
    def generative(self) -> bool:
        """Whether jets can be drawn from what is learnt."""
        return self.tokenizer is not None

    def build(self, model: Model) -> NextTokenObjective:
        """Return the module.

        Raises:
            ConfigError: see `build_with`.
            DataError: the tokenizer does not load.
        """
        if self.tokenizer is None:
            return self.build_with(model, None)
        return self.build_with(model, TokenizerCheckpoint.load(Path(self.tokenizer)).tokenizer())

    def build_with(self, model: Model, tokenizer: Tokenizer | None) -> NextTokenObjective:
        """Return the module with this tokenizer.

        Raises:
            ConfigError: the backbone cannot hide what comes later, or codes cannot be inputs.
        """
        if not model.backbone.takes_causal:
            raise ConfigError("next_token: this backbone cannot hide later particles.")
        if self.inputs == "tokens":
            assert tokenizer is not None  # _check
            if tokenizer.contextual:
                raise ConfigError(
                    "next_token: inputs: tokens needs codes that stand for particles one by one "
                    "(kmeans); what those of a vqvae mean depends on later particles."
                )
            check_features(tokenizer.features, model.features)
        return NextTokenObjective(model, self, tokenizer)


class NextTokenObjective(Objective):
    """The module of `NextToken`."""

    def __init__(self, model: Model, recipe: NextToken, tokenizer: Tokenizer | None) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.tokenizer = None if tokenizer is None else tokenizer.requires_grad_(False)
        self.stop = KINDS if tokenizer is None else tokenizer.n_codes
        self.start = nn.Parameter(0.02 * torch.randn(model.backbone.token_width))
        self.classifier = nn.Linear(model.backbone.width, self.stop + 1)

    def train(self, mode: bool = True) -> NextTokenObjective:
        """The tokenizer stays in evaluation: its codes must not depend on the step."""
        super().train(mode)
        if self.tokenizer is not None:
            self.tokenizer.eval()
        return self

    def forward(self, batch: Batch) -> Loss:
        """Return the loss, and how often the most probable code is right."""
        batch = by_falling_pt(self.recipe.augment(batch) if self.training else batch)
        codes, real = self._codes(batch), batch.is_real
        wanted = F.pad(codes, (0, 1)).scatter(1, real.sum(1, keepdim=True), self.stop)
        asked = F.pad(real, (1, 0), value=True)
        logits = self.logits(self._inputs(batch, codes), asked)
        loss = F.cross_entropy(logits, wanted[asked])
        right = (logits.argmax(-1) == wanted[asked]).float().mean()
        return Loss(loss, {"accuracy": right})

    def logits(self, inputs: Inputs, asked: Tensor) -> Tensor:
        """Of the code behind the start and behind each particle, where asked: `[t, K + 1]`.

        Args:
            inputs: particles `[n, p]`.
            asked: `[n, 1 + p]` bool; the start is the first.
        """
        backbone = self.model.backbone
        tokens = backbone.embed(inputs)
        start = self.start.to(tokens.dtype).expand(len(tokens), 1, -1)
        is_real = F.pad(inputs.is_real, (1, 0), value=True)
        latent = backbone.encode(torch.cat((start, tokens), dim=1), is_real, causal=True)
        out: Tensor = self.classifier(latent.tokens[asked])
        return out.float()

    def _codes(self, batch: Batch) -> Tensor:
        codes = identity(batch) if self.tokenizer is None else self.tokenizer(batch)
        return torch.where(batch.is_real, codes, torch.zeros_like(codes))

    @torch.no_grad()
    def _inputs(self, batch: Batch, codes: Tensor) -> Inputs:
        inputs: Inputs = self.model.features(batch)
        if self.recipe.inputs == "features":
            return inputs
        return replace(inputs, x=self.standing_for(codes, batch.is_real))

    def standing_for(self, codes: Tensor, is_real: Tensor) -> Tensor:
        """The model's features `[n, p, f]` that the codes `[n, p]` stand for."""
        assert self.tokenizer is not None
        theirs, ours = self.tokenizer.features, self.model.features
        x = self.tokenizer.decode(codes, is_real) * theirs.scale + theirs.mean
        places = [theirs.recipe.particles.index(name) for name in ours.recipe.particles]
        x = (x[..., places] - ours.mean) / ours.scale
        if ours.cut is not None:
            x = torch.maximum(torch.minimum(x, ours.cut), -ours.cut)
        return torch.where(is_real.unsqueeze(-1), x, torch.zeros_like(x))


def by_falling_pt(batch: Batch) -> Batch:
    """Return the sets with their particles in the order of falling pT, padding behind them."""
    order = order_by_pt(batch.p4, batch.is_real)
    return batch.replace(
        p4=taken(batch.p4, order),
        columns={name: values.gather(1, order) for name, values in batch.columns.items()},
        is_real=batch.is_real.gather(1, order),
    )


def check_features(tokenizer: FeatureExtractor, model: FeatureExtractor) -> None:
    """Raise ConfigError unless codes tell all that a model reads of a particle."""
    more = [n for n in model.recipe.particles if n not in tokenizer.recipe.particles]
    if more or model.recipe.species != "hidden" or tokenizer.recipe.species != "hidden":
        what = ", ".join(more) or "the species"
        raise ConfigError(
            f"next_token: the tokens tell nothing of {what}, which the model reads. Give model and "
            "tokenizer the same features, with species: hidden."
        )
