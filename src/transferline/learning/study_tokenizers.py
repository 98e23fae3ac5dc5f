"""The tokenizers of a study: each made once, before the pre-trainings that ask for their codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transferline.data.readers.shards import ShardSet
from transferline.files import json_hash
from transferline.learning.study_config import StudyConfig
from transferline.learning.study_digests import is_current
from transferline.learning.tokenizing import tokenize


def prepare_tokenizers(
    config: StudyConfig, places: Mapping[str, Path], out: Path
) -> dict[str, Path]:
    """Return the directory of every tokenizer, below `out`, making what is missing.

    An interrupted one goes on where it stopped.

    Raises:
        DataError: a directory holds the tokenizer of other settings or data.
    """
    for name, wanted in config.tokenizers.items():
        out.mkdir(parents=True, exist_ok=True)
        data = ShardSet([places[sample] for sample in wanted.samples]).content_hash
        made_of = wanted.config({sample: Path(sample) for sample in wanted.samples}).to_dict()
        if not is_current(out, name, json_hash({**made_of, "data": data})):
            tokenize(wanted.config(places), out / name, resume=True, label=f"tokenize {name}")
    return {name: out / name for name in config.tokenizers}
