"""Masked particles: hide a share of the particles of a jet, tell what they were from the others.

Sources: arXiv:2401.13537 (v1: BERT, tokens, order) and arXiv:2409.12589 (v2: MAE, identities,
flows). Text and code of the papers differ in places; each difference is a setting here, and
docs/masked_particles.md says which values are whose.

A trap: a particle's place in a list that is sorted by pT tells its momentum. Where `order` is
`backbone` the encoder gets it for masked particles too, so their pT is no longer concealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from transferline.data.batch import Batch
from transferline.errors import ConfigError
from transferline.learning.objectives.base import Loss, Objective, TokenRecipe
from transferline.learning.objectives.coupling_flow import FlowSettings
from transferline.learning.objectives.masked_readers import (
    MaskToken,
    ParticleHead,
    SetHead,
)
from transferline.learning.objectives.masked_targets import (
    FlowTarget,
    IdentityTarget,
    Masked,
    RegressionTarget,
    Target,
    TokenTarget,
    asked_features,
)
from transferline.learning.objectives.masking import masked_share, pt_rank, without_hidden
from transferline.learning.set_means import mean_over_sets
from transferline.models.augment import Augment
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Inputs
from transferline.models.model import Model
from transferline.models.tokenizer_checkpoint import TokenizerCheckpoint

_TOKENS = ("vqvae", "kmeans")
_CONTENT = ("eta", "phi", "mass", "species", "charge", "btag", "d0", "d0err", "dz", "dzerr")


class MaskedParticles(TokenRecipe):
    r"""Tell masked particles by a token, by their features, or by a density of these.

    Attributes:
        target: `vqvae` or `kmeans`, the code of a `tokenizer`; `regression` of the features;
            `flow`, their density.
        tokenizer: directory of a trained tokenizer (`transferline tokenize`), or the name of one
            among those of the study; it stays as it is.
        targets: features that `regression` and `flow` ask for, each with mean 0 and spread 1; all
            continuous inputs unless given, of `flow` without energies, shares and distances, which
            others determine. Of neutral particles no track is asked for.
        distance: of `regression`: `l2` (v1) or `l1` (v2), summed over features.
        flow: sizes of the flow.
        identity: weight of the cross-entropy with the particle's species and charge (v2: 0.3).
        decoder: `bert`, a learned token in the place of each masked particle; or `mae`: the encoder
            sees the others alone, and a transformer decoder gets null tokens for the masked ones.
        order: what tells masked particles apart: `none`; `backbone`, the vectors for each rank by
            pT of a backbone that has them (transformer, `positions`), and keeps them when it is
            transferred; `head`, such vectors added behind it only.
        ranks: among which particles the rank counts: of `all` (v1) or of the `masked` alone (v2);
            as published for the decoder unless given. With `all`, MAE gets too easy.
        fraction: of the particles of a jet that are masked; v1 0.3, v2 0.4.
        masking: `chance`, or `neighbourhood`: one particle and those nearest to it.
        frame: `jet`, angles and shares relative to the whole jet, as published: its axis and
            momentum are known, although masked particles make a part of them; or `visible`,
            relative to what is left.
        mask: BERT stands for a masked particle by a `token` of the embedding, or by learned values
            of its `input` columns, as in the code of v1.
        head: of BERT: `mlp`, each particle by itself (text of v1), or `transformer` (its code).
        reader: size of the `transformer` head or of the decoder.
        places: ranks that have a vector of their own in the head; later ones share the last.
        average: over the particles of each `jet`, then over jets; or over all `particle`s.
        label_smoothing: of tokens.
        identity_smoothing: of identities.
    """

    kind: Literal["masked_particles"] = "masked_particles"
    target: Literal["vqvae", "kmeans", "regression", "flow"] = "regression"
    targets: tuple[str, ...] = ()
    distance: Literal["l1", "l2"] = "l2"
    flow: FlowSettings = FlowSettings()
    identity: float = Field(0.0, ge=0)
    decoder: Literal["bert", "mae"] = "mae"
    order: Literal["none", "backbone", "head"] = "head"
    ranks: Literal["all", "masked"] | None = None
    fraction: float = Field(0.3, gt=0, lt=1)
    masking: Literal["chance", "neighbourhood"] = "chance"
    frame: Literal["jet", "visible"] = "jet"
    mask: Literal["token", "input"] = "token"
    head: Literal["mlp", "transformer"] = "transformer"
    reader: Transformer = Transformer(width=256, depth=2, heads=8)
    places: int = Field(128, gt=0, le=65_536)
    average: Literal["jet", "particle"] = "jet"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    identity_smoothing: float = Field(0.0, ge=0, lt=1)
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.target in _TOKENS) != (self.tokenizer is not None):
            raise ValueError(
                "target: vqvae or kmeans and tokenizer: DIRECTORY belong together; "
                "`transferline tokenize train` makes one."
            )
        if self.order == "backbone" and self.decoder == "mae":
            raise ValueError("order: backbone has no meaning with decoder: mae; take head or none.")
        if self.order == "backbone" and self.ranks == "masked":
            raise ValueError("order: backbone counts ranks among all; leave `ranks` out.")
        self._check_used()
        return self

    def _check_used(self) -> None:
        """Refuse what would change nothing: whoever wrote it takes it for a part of the result.

        Defaults may stand, as resolved configurations spell all of them out; so may `targets`,
        `distance`, `places`, `ranks` and `reader`, which studies give once, to all their variants.
        """
        unused = {
            "head": (self.decoder == "mae", "decoder: bert"),
            "mask": (self.decoder == "mae", "decoder: bert"),
            "flow": (self.target != "flow", "target: flow"),
            "label_smoothing": (self.target not in _TOKENS, "target: vqvae or kmeans"),
            "identity_smoothing": (not self.identity, "identity: 0.3 or another weight"),
        }
        for name, (no_use, wanted) in unused.items():
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if no_use and getattr(self, name) != default:
                raise ValueError(f"{name}: has a use only with {wanted}; leave it out.")

    @property
    def revision(self) -> int:
        """See `ObjectiveRecipe.revision`: 2 asks no density of what others determine."""
        return 2 if self.target == "flow" and not self.targets else 1

    @classmethod
    def example(cls) -> Self:
        """Return a small instance that needs no tokenizer."""
        return cls(reader=Transformer(width=16, depth=1, heads=2), identity=0.3)

    @property
    def rank_among(self) -> str:
        """`ranks`, or what is published for the decoder."""
        return self.ranks or ("masked" if self.decoder == "mae" else "all")

    def stored_tokenizer(self) -> TokenizerCheckpoint | None:
        """Load the tokenizer, if there is one.

        Raises:
            ConfigError: it is of another kind than `target`.
            DataError: it does not load.
        """
        if self.tokenizer is None:
            return None
        found = TokenizerCheckpoint.load(Path(self.tokenizer))
        kind = found.recipe.tokenizer.kind
        if kind != self.target:
            raise ConfigError(f"{self.tokenizer}: is a tokenizer {kind}, not {self.target}.")
        return found

    def build(self, model: Model) -> MaskedParticlesObjective:
        """Return the module with its reader and its target.

        Raises:
            ConfigError: the backbone does not know the order and should, or the reverse.
        """
        ordered = model.backbone.ordered
        if self.order == "backbone" and not ordered:
            raise ConfigError(
                "masked_particles: order: backbone needs a backbone that knows the order: "
                "{kind: transformer, positions: 128}."
            )
        if ordered and self.order != "backbone":
            raise ConfigError(
                "masked_particles: the backbone has `positions`, so that masked particles have a "
                "place in it, and those that MAE leaves have another one than in whole sets: give "
                "order: backbone (decoder: bert), or leave them out."
            )
        return MaskedParticlesObjective(model, self)


class MaskedParticlesObjective(Objective):
    """The module of `MaskedParticles`."""

    def __init__(self, model: Model, recipe: MaskedParticles) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.conceals = frozenset(_CONTENT if recipe.order == "backbone" else ("pt", *_CONTENT))
        width = model.backbone.width
        places = recipe.places if recipe.order == "head" else None
        self.mask: MaskToken | None = None
        self.reader: ParticleHead | SetHead
        if recipe.decoder == "bert":
            self.mask = MaskToken(model.backbone, model.features.spec.n_features, recipe.mask)
        if recipe.decoder == "bert" and recipe.head == "mlp":
            self.reader = ParticleHead(width, places)
        else:
            self.reader = SetHead(width, recipe.reader, places, null=recipe.decoder == "mae")
        self.target = _target(recipe, model, self.reader.width)
        self.identity: IdentityTarget | None = None
        if recipe.identity:
            self.identity = IdentityTarget(self.reader.width, recipe.identity_smoothing)

    def fit_constants(self, draw: Callable[[], Iterable[Batch]]) -> None:
        """Let targets take theirs."""
        self.target.fit(draw())
        if self.identity is not None:
            self.identity.fit(draw())

    def hidden(self, batch: Batch) -> Tensor:
        """Draw the masked particles."""
        return masked_share(batch, self.recipe.fraction, self.recipe.masking)

    def forward(self, batch: Batch) -> Loss:
        """Return the loss of the target, and of the identity if it is asked for."""
        if self.training:
            batch = self.recipe.augment(batch)
        hidden = self.hidden(batch)
        rows = self._read(batch, hidden)[hidden]
        masked = Masked(batch, hidden)
        asked = self.target(rows, masked)
        total, parts = self._mean(asked.losses, hidden), dict(asked.parts)
        if self.identity is not None:
            kind = self.identity(rows, masked)
            loss = self._mean(kind.losses, hidden)
            parts |= {"content_loss": total.detach(), "identity_loss": loss.detach()}
            parts |= {f"identity_{name}": value for name, value in kind.parts.items()}
            total = total + self.recipe.identity * loss
        return Loss(total, parts)

    def _mean(self, losses: Tensor, hidden: Tensor) -> Tensor:
        if self.recipe.average == "jet":
            return mean_over_sets(losses, hidden)
        return losses.sum() / max(len(losses), 1)

    def _read(self, batch: Batch, hidden: Tensor) -> Tensor:
        """Embed, mask, encode and read off, `[n, p, w]`; only masked places have a meaning."""
        backbone, shown = self.model.backbone, batch.is_real & ~hidden
        inputs = self._shown(batch, shown)
        pairs = backbone.pairs(inputs)
        rank = pt_rank(batch, hidden if self.recipe.rank_among == "masked" else batch.is_real)
        if self.mask is None:
            tokens = backbone.encode(backbone.embed(inputs), shown, pairs).tokens
            decoded: Tensor = self.reader(tokens, batch.is_real, rank, hidden)
            return decoded
        tokens = self.mask.embed(backbone, replace(inputs, rank=rank), hidden)
        latent = backbone.encode(tokens, batch.is_real, pairs)
        read: Tensor = self.reader(latent.tokens, batch.is_real, rank)
        return read

    def _shown(self, batch: Batch, shown: Tensor) -> Inputs:
        """The inputs without the masked particles."""
        if self.recipe.frame == "visible":
            batch = batch.replace(is_real=shown)
        inputs: Inputs = self.model.features(batch)
        return without_hidden(inputs, shown)


def _target(recipe: MaskedParticles, model: Model, width: int) -> Target:
    stored = recipe.stored_tokenizer()
    if stored is not None:
        return TokenTarget(stored.tokenizer(), width, recipe.label_smoothing)
    asked = asked_features(model.features, recipe.targets, density=recipe.target == "flow")
    if recipe.target == "flow":
        return FlowTarget(asked, width, recipe.flow)
    return RegressionTarget(asked, width, recipe.distance)
