"""How good a tokenizer is: how many codes it uses, how far what it gives back lies away."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from transferline.data.batch import Batch
from transferline.learning.tokenizer_objective import perplexity
from transferline.models.tokenizers.base import Tokenizer


@torch.no_grad()
def quality(tokenizer: Tokenizer, batches: Iterable[Batch]) -> dict[str, float]:
    """Measure a tokenizer on events.

    Returns:
        `usage`, the share of the codes that occur; `perplexity` of their frequencies; `l1` and
        `l2`, mean absolute and squared difference of a standardised feature; `particles`.
    """
    counts = torch.zeros(tokenizer.n_codes, dtype=torch.int64)
    absolute = square = 0.0
    values = 0
    for batch in batches:
        inputs, real = tokenizer.features(batch), batch.is_real
        codes = tokenizer.encode(inputs)
        counts += torch.bincount(codes[real], minlength=tokenizer.n_codes)
        difference = (tokenizer.decode(codes, real) - inputs.x)[real].double()
        absolute += float(difference.abs().sum())
        square += float(difference.square().sum())
        values += difference.numel()
    return {
        "usage": float((counts > 0).double().mean()),
        "perplexity": float(perplexity(counts)),
        "l1": absolute / max(values, 1),
        "l2": square / max(values, 1),
        "particles": int(counts.sum()),
    }
