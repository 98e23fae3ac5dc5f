"""What every backbone promises."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from transferline.models.backbones.base import Backbone, BackboneRecipe, Latent
from transferline.models.checkpoint import Checkpoint
from transferline.models.features import FeatureExtractor, Features, Inputs
from transferline.models.model import Model, ModelRecipe, weight_hash
from transferline.testing.batches import empty_set_batch, toy_batch
from transferline.testing.expectation import expect, expect_close, expect_equal


def check_backbone(recipe: BackboneRecipe, features: Features = Features()) -> None:  # noqa: B008
    """Check one architecture on toy events.

    Shapes; zero where no particle is; deterministic in evaluation; `embed` per particle;
    permutation-equivariant where declared; independent of the amount and the content of
    padding; causal and pair bias where declared; a gradient on every parameter; finite on an
    empty set and on one particle; exact after saving and loading.

    Raises:
        ConformanceError: names the broken promise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        extractor = features.build()
        extractor.fit([toy_batch()])
        backbone = recipe.build(extractor.spec)
        inputs = extractor(toy_batch())
        backbone.eval()
        with torch.no_grad():
            _check_shapes(backbone, inputs)
            _check_embedding(backbone, inputs)
            _check_permutation(backbone, inputs)
            _check_padding(backbone, inputs)
            _check_causal(backbone, inputs)
            _check_pairs(backbone, inputs)
        _check_gradients(backbone, inputs)
        _check_small_sets(backbone, extractor)
        _check_saving(recipe, features, Model(extractor, backbone))


def _check_shapes(backbone: Backbone, inputs: Inputs) -> None:
    n, p = inputs.is_real.shape
    latent = backbone(inputs)
    tokens = backbone.embed(inputs)
    expect(tokens.shape == (n, p, backbone.token_width), "embed gives [n, p, token_width]")
    expect(latent.tokens.shape == (n, p, backbone.width), "tokens are [n, p, width]")
    expect(latent.pooled.shape == (n, backbone.width), "pooled is [n, width]")
    expect_equal(latent.is_real, inputs.is_real, "Latent.is_real is that of the inputs")
    expect(not latent.tokens[~inputs.is_real].any(), "tokens are zero where no particle is")
    again = backbone(inputs)
    expect_equal(again.tokens, latent.tokens, "evaluation is deterministic")


def _check_embedding(backbone: Backbone, inputs: Inputs) -> None:
    """Masking stands between embed and encode, so embed must not mix particles."""
    changed = replace(inputs, x=inputs.x.clone())
    changed.x[:, 0] += 1.0
    before, after = backbone.embed(inputs), backbone.embed(changed)
    expect_close(after[:, 1:], before[:, 1:], "embed treats each particle by itself")


def _check_permutation(backbone: Backbone, inputs: Inputs) -> None:
    if not backbone.permutation_equivariant:
        return
    order = torch.randperm(inputs.is_real.shape[1])
    shuffled = Inputs(
        x=inputs.x[:, order], p4=inputs.p4[:, order], is_real=inputs.is_real[:, order]
    )
    latent, moved = backbone(inputs), backbone(shuffled)
    expect_close(moved.tokens, latent.tokens[:, order], "permuting particles permutes tokens")
    expect_close(moved.pooled, latent.pooled, "pooled does not depend on the order of particles")


def _check_padding(backbone: Backbone, inputs: Inputs) -> None:
    p = inputs.is_real.shape[1]
    latent, longer = backbone(inputs), backbone(_padded(inputs, 5))
    expect_close(longer.tokens[:, :p], latent.tokens, "more padding leaves the tokens alone")
    expect_close(longer.pooled, latent.pooled, "more padding leaves pooled alone")
    hollow = ~inputs.is_real.unsqueeze(-1)
    filled = replace(inputs, x=inputs.x + 7.0 * hollow, p4=inputs.p4 + 7.0 * hollow)
    other = backbone(filled)
    expect_close(other.tokens, latent.tokens, "what stands in the padding does not matter")
    expect_close(other.pooled, latent.pooled, "what stands in the padding does not enter pooled")


def _padded(inputs: Inputs, more: int) -> Inputs:
    wide = (0, 0, 0, more)
    return Inputs(
        x=F.pad(inputs.x, wide),
        p4=F.pad(inputs.p4, wide),
        is_real=F.pad(inputs.is_real, (0, more)),
    )


def _check_causal(backbone: Backbone, inputs: Inputs) -> None:
    if not backbone.takes_causal:
        return
    whole = replace(inputs, is_real=torch.ones_like(inputs.is_real))
    tokens = backbone.embed(whole)
    changed = tokens.clone()
    changed[:, -1] += 1.0
    before = backbone.encode(tokens, whole.is_real, causal=True).tokens
    after = backbone.encode(changed, whole.is_real, causal=True).tokens
    expect_close(after[:, :-1], before[:, :-1], "causal: a later particle changes no earlier token")
    expect((after[:, -1] != before[:, -1]).any(), "causal: a particle changes its own token")


def _check_pairs(backbone: Backbone, inputs: Inputs) -> None:
    if not backbone.takes_pairs:
        return
    n, p = inputs.is_real.shape
    pairs = torch.randn(n, 1, p, p)
    hidden = ~(inputs.is_real.unsqueeze(1) & inputs.is_real.unsqueeze(2)).unsqueeze(1)
    tokens = backbone.embed(inputs)

    def encode(bias: Tensor) -> Latent:
        return backbone.encode(tokens, inputs.is_real, pairs=bias, causal=backbone.causal)

    expect((encode(pairs).tokens != encode(0 * pairs).tokens).any(), "pairs change the tokens")
    expect_close(
        encode(pairs + 7.0 * hidden).tokens,
        encode(pairs).tokens,
        "pairs with padding in them do not matter",
    )


def _check_gradients(backbone: Backbone, inputs: Inputs) -> None:
    backbone.zero_grad()
    latent = backbone(inputs)
    tokens, pooled = (
        (part * torch.randn_like(part)).sum() for part in (latent.tokens, latent.pooled)
    )
    (tokens + pooled).backward()  # a class token is read by the pooled embedding alone
    _read_gradients(backbone)


def _read_gradients(backbone: Backbone) -> None:
    for name, parameter in backbone.named_parameters():
        gradient = parameter.grad
        expect(gradient is not None, f"the parameter {name} gets a gradient")
        if gradient is not None:
            expect(gradient.isfinite().all(), f"the gradient of {name} is finite")
            expect(gradient.any(), f"the gradient of {name} is not zero everywhere")
    backbone.zero_grad()


def _check_small_sets(backbone: Backbone, features: FeatureExtractor) -> None:
    latent = backbone(features(empty_set_batch()))
    expect(latent.tokens.isfinite().all(), "tokens are finite for sets of 0 and 1 particles")
    expect(latent.pooled.isfinite().all(), "pooled is finite for sets of 0 and 1 particles")
    latent.pooled.square().sum().backward()
    for name, parameter in backbone.named_parameters():
        if parameter.grad is not None:
            expect(
                parameter.grad.isfinite().all(),
                f"the gradient of {name} is finite for sets of 0 and 1 particles",
            )
    backbone.zero_grad()


def _check_saving(recipe: BackboneRecipe, features: Features, model: Model) -> None:
    whole = ModelRecipe(features=features, backbone=recipe)
    with tempfile.TemporaryDirectory() as folder:
        Checkpoint.of(model, whole).save(Path(folder) / "checkpoint")
        loaded = Checkpoint.load(Path(folder) / "checkpoint").model()
    expect(
        weight_hash(loaded) == weight_hash(model), "a saved and loaded model has the same weights"
    )
    loaded.eval()
    batch = toy_batch(seed=1)
    with torch.no_grad():
        expect_equal(
            loaded.latent(batch).pooled,
            model.latent(batch).pooled,
            "a saved and loaded model gives the same embeddings",
        )
