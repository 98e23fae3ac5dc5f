"""The tokenizers of a study: each made once, before the pre-trainings that ask for their codes."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from pathlib import Path

import torch

from transferline.data.readers.shards import ShardSet
from transferline.executors import InlineExecutor, each, one_at_a_time, result_of
from transferline.files import json_hash
from transferline.learning.study_config import StudyConfig
from transferline.learning.study_digests import is_current
from transferline.learning.tokenizing import PROTOCOL, TokenizeConfig, tokenize
from transferline.progress import progress


def prepare_tokenizers(
    config: StudyConfig, places: Mapping[str, Path], out: Path, workers: Executor
) -> dict[str, Path]:
    """Return the directory of every tokenizer, below `out`, making what is missing.

    An interrupted one goes on where it stopped.

    Raises:
        DataError: a directory holds the tokenizer of other settings or data.
    """
    made: dict[str, TokenizeConfig] = {}
    for name, wanted in config.tokenizers.items():
        out.mkdir(parents=True, exist_ok=True)
        data = ShardSet([places[sample] for sample in wanted.samples]).content_hash
        made_of = wanted.config({sample: Path(sample) for sample in wanted.samples}).to_dict()
        if not is_current(out, name, json_hash({**made_of, "protocol": PROTOCOL, "data": data})):
            made[name] = wanted.config(places)
    _run_all(made, out, workers)
    return {name: out / name for name in config.tokenizers}


def _run_all(made: Mapping[str, TokenizeConfig], out: Path, workers: Executor) -> None:
    if isinstance(workers, InlineExecutor):
        for name, config in made.items():
            tokenize(config, out / name, resume=True, label=f"tokenize {name}")
    elif made:
        # The longest first: those that are trained step by step.
        names = sorted(made, key=lambda name: made[name].optim is None)
        calls = [(made[name], out / name) for name in names]
        with progress(len(names), f"tokenize {', '.join(names)}") as ticker:

            def finished(_: int, future: Future[Path]) -> None:
                result_of(future)
                ticker.advance()

            each(workers, _tokenize, calls, finished)


@one_at_a_time
def _tokenize(config: TokenizeConfig, out: Path) -> Path:
    torch.set_num_threads(1)
    return tokenize(config, out, resume=True, label=None)
