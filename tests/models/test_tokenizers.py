from __future__ import annotations

import pytest
import torch

from transferline.errors import DataError
from transferline.models.backbones.transformer import Transformer
from transferline.models.checkpoint import Checkpoint
from transferline.models.features import Features
from transferline.models.model import ModelRecipe
from transferline.models.tokenizer_checkpoint import StoredTokenizer, TokenizerCheckpoint
from transferline.models.tokenizers.codebook import Codebook, CodebookSettings
from transferline.models.tokenizers.kmeans import KMeans
from transferline.models.tokenizers.nearest import nearest
from transferline.models.tokenizers.physical import physical
from transferline.models.tokenizers.vqvae import VQVAE

from .jets import random_jets

JETS = Features(particles=("log_pt", "delta_eta", "delta_phi"), species="hidden")
TINY = Transformer(width=16, depth=1, heads=2, hidden=16)
COUNTS = [5, 9, 1, 7, 12, 0]


def extractor(features=JETS):
    made = features.build()
    made.fit([random_jets([20] * 20)])
    return made


def vqvae(**settings):
    torch.manual_seed(0)
    tokenizer = VQVAE(codes=32, latent=4, encoder=TINY, decoder=TINY, **settings).build(extractor())
    batch = random_jets([30] * 20)
    tokenizer.reconstruct(tokenizer.features(batch))  # the codes start from its encodings
    return tokenizer.eval()


def kmeans(codes=16, seed=0):
    tokenizer = KMeans(codes=codes, batch_size=256, passes=5).build(extractor())
    batch = random_jets([20] * 40, seed=3)
    tokenizer.fit_particles(tokenizer.features(batch).x[batch.is_real], seed)
    return tokenizer.eval()


MAKERS = pytest.mark.parametrize("make", [vqvae, kmeans])


def plain_codebook(codes=6, **settings):
    torch.manual_seed(1)
    given = {"affine": 0.0, "synchrony": 0.0, "replace_after": 0, **settings}
    return Codebook(codes, 3, CodebookSettings(**given))


def test_nearest_is_the_nearest():
    torch.manual_seed(0)
    x, points = torch.randn(300, 5), torch.randn(40, 5)
    assert torch.equal(nearest(x, points), torch.cdist(x, points).argmin(1))


def test_the_gradient_goes_straight_through_and_commits_both_sides_as_written():
    book = plain_codebook(beta=0.9).eval()
    z = torch.randn(10, 3, requires_grad=True)
    found = book(z)
    code = book.vectors[found.codes]
    torch.testing.assert_close(found.z, code)
    (3 * found.z).sum().backward()
    assert torch.equal(z.grad, torch.full_like(z, 3.0))
    assert book.vectors.grad is None or not book.vectors.grad.any()
    z.grad = None
    book(z).commitment.backward()
    difference = (z - code).detach() / z.numel()
    torch.testing.assert_close(z.grad, 2 * 0.1 * difference)
    wanted = torch.zeros(6, 3).index_add_(0, found.codes, -2 * 0.9 * difference)
    torch.testing.assert_close(book.vectors.grad, wanted)


def test_synchrony_lets_the_reconstruction_move_the_codes():
    book = plain_codebook(synchrony=2.0).eval()
    z = torch.randn(10, 3)
    found = book(z)
    torch.testing.assert_close(found.z, book.vectors[found.codes])
    found.z.sum().backward()
    count = torch.bincount(found.codes, minlength=6).float()
    torch.testing.assert_close(book.vectors.grad, 2 * count.unsqueeze(1).expand(-1, 3))


def test_codes_start_as_means_of_the_first_batch():
    book = plain_codebook(codes=3).train()
    centres = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 0, 5]])
    z = centres.repeat(100, 1) + 0.1 * torch.randn(300, 3)
    book(z)
    assert torch.cdist(centres, book.vectors).min(1).values.max() < 0.1


@pytest.mark.parametrize("affine", [0.0, 2.0])
def test_a_dead_code_is_put_onto_an_encoding(affine):
    book = plain_codebook(codes=4, replace_after=3, affine=affine).train()
    z = torch.randn(50, 3)
    book(z)
    if book.affine is not None:
        torch.nn.init.uniform_(book.affine)
    with torch.no_grad():
        book.vectors[2] = 1e3
    for _ in range(2):
        book(z)
    assert book.codes()[2].abs().max() > 100
    book(z)
    assert torch.cdist(book.codes()[2:3], z).min() < 1e-4


def test_the_text_commits_every_few_steps_and_evaluation_changes_nothing():
    book = plain_codebook(commit_every=4).train()
    z = torch.randn(50, 3)
    commits = [bool(book(z).commitment > 0) for _ in range(8)]
    assert commits == [False, False, False, True] * 2
    before = {name: value.clone() for name, value in book.state_dict().items()}
    book.eval()(torch.randn(50, 3))
    assert all(torch.equal(before[name], value) for name, value in book.state_dict().items())


@MAKERS
def test_codes_do_not_depend_on_order_or_padding(make):
    tokenizer, batch = make(), random_jets(COUNTS, seed=5)
    codes = tokenizer(batch)
    assert codes.dtype == torch.int64
    assert not codes[~batch.is_real].any()
    wide = random_jets(COUNTS, seed=5, p=batch.is_real.shape[1])
    order = torch.randperm(wide.is_real.shape[1])
    moved = wide.replace(
        p4=wide.p4[:, order],
        is_real=wide.is_real[:, order],
        columns={name: values[:, order] for name, values in wide.columns.items()},
    )
    assert torch.equal(tokenizer(moved), codes[:, order])
    decoded = tokenizer.decode(codes, batch.is_real)
    torch.testing.assert_close(
        tokenizer.decode(codes[:, order], batch.is_real[:, order]), decoded[:, order]
    )
    assert not decoded[~batch.is_real].any()


def test_a_code_of_a_vqvae_depends_on_the_rest_of_the_jet_that_of_kmeans_does_not():
    batch = random_jets([12] * 50, seed=6)
    for make, contextual in ((vqvae, True), (kmeans, False)):
        tokenizer = make()
        inputs = tokenizer.features(batch)
        x = inputs.x.clone()
        x[:, 1:] = x[:, 1:].flip(0)
        codes = tokenizer.encode(inputs)
        other = tokenizer.encode(type(inputs)(x=x, p4=inputs.p4, is_real=inputs.is_real))
        assert tokenizer.contextual is contextual
        assert bool((codes[:, 0] != other[:, 0]).any()) is contextual


def test_kmeans_decodes_to_the_nearest_centre_and_more_codes_lose_less():
    batch = random_jets([20] * 20, seed=7)
    losses = []
    for codes in (4, 64):
        tokenizer = kmeans(codes)
        inputs = tokenizer.features(batch)
        back = tokenizer.decode(tokenizer(batch), batch.is_real)
        assert torch.equal(tokenizer.encode(inputs), nearest_codes(inputs.x, tokenizer.centres))
        losses.append(float((back - inputs.x).square().mean()))
    assert losses[1] < 0.5 * losses[0]


def nearest_codes(x, centres):
    return torch.cdist(x, centres).argmin(-1)


def test_kmeans_of_too_few_particles_says_so():
    tokenizer = KMeans(codes=50).build(extractor())
    with pytest.raises(DataError, match="30 different particles make no 50 codes"):
        tokenizer.fit_particles(torch.randn(30, 3), 0)


@pytest.mark.parametrize(
    "particles",
    [
        ("log_pt", "delta_eta", "delta_phi"),
        ("log_pt_share", "eta", "sin_phi", "cos_phi", "log_mass"),
    ],
)
def test_features_are_turned_back_into_momenta(particles):
    made = extractor(Features(particles=particles, species="hidden"))
    batch = random_jets(COUNTS, seed=8)
    back = physical(made, batch, made(batch).x)
    torch.testing.assert_close(back.p4, batch.p4, rtol=1e-3, atol=1e-3)


def test_features_without_an_angle_cannot_be_turned_back():
    made = extractor(Features(particles=("log_pt", "eta"), species="hidden"))
    batch = random_jets(COUNTS)
    with pytest.raises(DataError, match="do not tell phi"):
        physical(made, batch, made(batch).x)


def stored(tokenizer, recipe):
    return TokenizerCheckpoint.of(tokenizer, StoredTokenizer(features=JETS, tokenizer=recipe))


@MAKERS
def test_a_saved_tokenizer_gives_the_same_codes_and_nothing_of_it_trains(make, tmp_path):
    tokenizer = make()
    recipe = (
        VQVAE(codes=32, latent=4, encoder=TINY, decoder=TINY)
        if make is vqvae
        else KMeans(codes=16, batch_size=256, passes=5)
    )
    stored(tokenizer, recipe).save(tmp_path / "t")
    loaded = TokenizerCheckpoint.load(tmp_path / "t").tokenizer()
    batch = random_jets(COUNTS, seed=9)
    assert torch.equal(loaded(batch), tokenizer(batch))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_tokenizer_loads_exactly_or_raises(tmp_path):
    whole = stored(kmeans(), KMeans(codes=16))
    whole.save(tmp_path / "t")
    with (tmp_path / "t" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(DataError, match="its bytes are not those that were saved"):
        TokenizerCheckpoint.load(tmp_path / "t")
    short = {name: t for name, t in whole.tensors.items() if name != "centres"}
    TokenizerCheckpoint(recipe=whole.recipe, tensors=short).save(tmp_path / "short")
    with pytest.raises(DataError, match="missing: centres"):
        TokenizerCheckpoint.load(tmp_path / "short").tokenizer()


def test_a_backbone_is_no_tokenizer_and_the_other_way_round(tmp_path):
    recipe = ModelRecipe(features=JETS, backbone=TINY)
    Checkpoint.of(recipe.build(), recipe).save(tmp_path / "backbone")
    stored(kmeans(), KMeans(codes=16)).save(tmp_path / "tokenizer")
    with pytest.raises(DataError, match="the model recipe is not usable"):
        TokenizerCheckpoint.load(tmp_path / "backbone")
    with pytest.raises(DataError, match="the model recipe is not usable"):
        Checkpoint.load(tmp_path / "tokenizer")
