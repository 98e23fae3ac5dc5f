"""tokenize(): shards in, a tokenizer out, as a Checkpoint of its own."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from transferline.config import Recipe, Seed, one_of
from transferline.data.loader import Loader
from transferline.data.readers.shards import Shards, ShardSet
from transferline.files import alone_in, json_hash, write_json
from transferline.learning.optim import Optim
from transferline.learning.source_rows import FIT_ROWS, Rows, by_length, evenly, source_rows
from transferline.learning.tokenizer_objective import TokenizerObjective
from transferline.learning.tokenizer_quality import quality
from transferline.learning.training import FitResult, fit
from transferline.learning.training_place import (
    RESOLVED,
    TRAINING,
    check_place,
    forget_training,
    is_begun,
    is_finished,
)
from transferline.models.features import Features
from transferline.models.seen import Seen
from transferline.models.stored import MADE_OF
from transferline.models.tokenizer_checkpoint import StoredTokenizer, TokenizerCheckpoint
from transferline.models.tokenizers import TOKENIZERS
from transferline.models.tokenizers.base import GradientTokenizer, SampleTokenizer, Tokenizer
from transferline.provenance import run_facts

_JETS = Features(particles=("log_pt", "delta_eta", "delta_phi"), species="hidden")
_QUALITY_ROWS = 20_000  # events on which a finished tokenizer is measured


PROTOCOL = 2
"""Raised with every change that makes equal settings and jets give other codes."""


class TokenizeConfig(Recipe):
    """The making of a tokenizer: `transferline tokenize train config.yaml --out DIR`.

    Attributes:
        data: prepared shards.
        features: what of a particle is coded; the three of arXiv:2401.13537 unless given.
        tokenizer: k-means or VQ-VAE.
        optim: optimiser and budget of one that is trained step by step (`vqvae`).
        particles: sample that one is made from at once (`kmeans`).
        seed: of everything random.
        n_train: use only so many events; all unless given.
        valid_share: share of the events, by hash, that only validates.
    """

    data: Shards
    features: Features = _JETS
    tokenizer: one_of(TOKENIZERS)  # type: ignore[valid-type]  # a registry-driven field type
    optim: Optim | None = None
    particles: int = Field(1_000_000, gt=0)
    seed: Seed = 0
    n_train: int | None = Field(None, gt=0)
    valid_share: float = Field(0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tokenizer.stepwise and self.optim is None:
            raise ValueError(f"tokenizer {self.tokenizer.kind} is trained: give `optim:`.")
        if not self.tokenizer.stepwise and self.optim is not None:
            raise ValueError(f"tokenizer {self.tokenizer.kind} takes no `optim:`; leave it out.")
        return self

    def recipe(self) -> StoredTokenizer:
        """What is stored of the tokenizer beside its tensors."""
        return StoredTokenizer(features=self.features, tokenizer=self.tokenizer)


def tokenize(
    config: TokenizeConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    label: str | None = "tokenize",
) -> Path:
    """Make a tokenizer and write it into the directory `out`; return that.

    With `resume` a training that was stopped goes on, and one that is finished stays as it is;
    with `overwrite` it is made anew, with both what was stopped goes on. k-means that was stopped
    starts anew, with the same result: a matter of a minute.

    Raises:
        ConfigError: another process works in `out`, or something is there and neither `resume` nor
            `overwrite` was asked for.
        DataError: the shards are unusable or hold too few events.
        NumericalError, StopRequestedError: see `fit`.
    """
    with alone_in(Path(out), tidy=True):
        _tokenize(config, Path(out), resume=resume, overwrite=overwrite, label=label)
    return Path(out)


def _tokenize(
    config: TokenizeConfig, out: Path, *, resume: bool, overwrite: bool, label: str | None
) -> None:
    check_place(out, resume=resume, overwrite=overwrite)
    shards = config.data.open()
    shards.verify()
    train, valid = source_rows(
        shards,
        config.data.files,
        seed=config.seed,
        n_train=config.n_train,
        valid_share=config.valid_share,
    )
    digest = json_hash([PROTOCOL, config.digest(), shards.content_hash])
    told = label is not None
    if is_finished(out, TokenizerCheckpoint, digest, resume=resume, overwrite=overwrite, told=told):
        return
    if not resume:
        forget_training(out)
    (out / TRAINING).mkdir(parents=True, exist_ok=True)
    if not is_begun(out):  # that of a state stays until it is seen to be of these settings
        write_json(out / TRAINING / RESOLVED, config.to_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        tokenizer = config.recipe().build()
    started = time.process_time()
    tokenizer.features.fit(Loader(shards, evenly(train, FIT_ROWS), 1024, shuffle=False).batches(0))
    if isinstance(tokenizer, GradientTokenizer):
        _start(config, tokenizer, shards, train)
        batches = _batches(config, shards, train, valid)
        result = _train(config, tokenizer, batches, out, digest=digest, resume=resume, label=label)
        cost = {"examples_seen": result.examples_seen, "cpu_seconds": result.cpu_seconds}
    elif isinstance(tokenizer, SampleTokenizer):
        particles, read = _sample(config, tokenizer, shards, train)
        tokenizer.fit_particles(particles, config.seed)
        cost = {"examples_seen": read, "cpu_seconds": time.process_time() - started}
    measured = evenly(valid if len(valid) else train, _QUALITY_ROWS)
    provenance = _provenance(config, shards, tokenizer.cpu().eval(), measured)
    TokenizerCheckpoint.of(
        tokenizer,
        config.recipe(),
        provenance=provenance | {"n_train": len(train), "result": cost, MADE_OF: digest},
        card=_card(provenance),
        seen=Seen.of("pretraining", shards, np.concatenate((train, valid))),
    ).save(out)
    # Only now: a kill at any earlier moment leaves a state to resume from.
    write_json(out / RESOLVED, config.to_dict())
    shutil.rmtree(out / TRAINING, ignore_errors=True)


def _start(
    config: TokenizeConfig, tokenizer: GradientTokenizer, shards: ShardSet, rows: Rows
) -> None:
    """Take the first codes from events of all lengths: a batch of the training holds one length."""
    assert config.optim is not None
    some = evenly(rows, config.optim.batch_size)
    batch = next(Loader(shards, some, len(some), shuffle=False).batches(0))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(config.seed)
        tokenizer.train().reconstruct(tokenizer.features(batch))


def _train(
    config: TokenizeConfig,
    tokenizer: GradientTokenizer,
    batches: tuple[Loader, Loader | None],
    out: Path,
    *,
    digest: str,
    resume: bool,
    label: str | None,
) -> FitResult:
    assert config.optim is not None
    result = fit(
        TokenizerObjective(tokenizer, config.tokenizer.alpha, config.tokenizer.distance),
        *batches,
        config.optim,
        out / TRAINING,
        seed=config.seed,
        resume=resume,
        label=label,
        digest=digest,
        settings=config.to_dict(),
    )
    for name in ("metrics.jsonl", "metrics.csv"):
        shutil.copyfile(out / TRAINING / name, out / name)
    return result


def _batches(
    config: TokenizeConfig, shards: ShardSet, train: Rows, valid: Rows
) -> tuple[Loader, Loader | None]:
    assert config.optim is not None
    size = config.optim.batch_size
    order = by_length(shards, valid)
    judged = Loader(shards, order, 2 * size, shuffle=False) if len(valid) else None
    return Loader(shards, train, size, seed=config.seed), judged


def _sample(
    config: TokenizeConfig, tokenizer: Tokenizer, shards: ShardSet, rows: Rows
) -> tuple[Tensor, int]:
    """Standardised particles `[t, f]` of events that lie evenly in all, and how many these are."""
    mean = max(float(shards.n_particles[rows].mean()), 1.0)
    some = evenly(rows, max(1, round(config.particles / mean)))
    loader = Loader(shards, some, 1024, shuffle=False)
    with torch.no_grad():
        found = [(tokenizer.features(batch).x)[batch.is_real] for batch in loader.batches(0)]
    return torch.cat(found), len(some)


def _provenance(
    config: TokenizeConfig, shards: ShardSet, tokenizer: Tokenizer, rows: Rows
) -> dict[str, Any]:
    return {
        **run_facts(),
        "config": config.to_dict(),
        "config_sha256": config.digest(),
        "data": [card.summary() for card in shards.cards],
        "quality": quality(tokenizer, Loader(shards, rows, 512, shuffle=False).batches(0)),
    }


def _card(provenance: dict[str, Any]) -> str:
    config, found = provenance["config"], provenance["quality"]
    samples = ", ".join(str(item["sample"]) for item in provenance["data"])
    return f"""# A tokenizer

- kind: `{config["tokenizer"]["kind"]}`, {config["tokenizer"]["codes"]} codes
- codes of: {", ".join(config["features"]["particles"])}
- made from: {samples}
- of the codes {100 * found["usage"]:.1f} % are used, their perplexity is {found["perplexity"]:.1f};
  mean absolute difference of a standardised feature: {found["l1"]:.4f}
- seed {config["seed"]}, transferline {provenance["versions"].get("transferline", "")},
  commit `{provenance["commit"] or "unknown"}`
- command: `{provenance["command"]}`

`seen.safetensors` lists the events that it was made from; what is pre-trained with it counts them
as its own.
"""
