"""Generated jets beside real ones: what chance does is between jets."""

from __future__ import annotations

import numpy as np
import pytest

from transferline.reporting.generated_jets import TITLES, _distances


def jets(count, seed):
    """Jets whose particles share a place: they differ from jet to jet, not within one."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(40, count)
    of_jet = dict.fromkeys(("multiplicity", "mass"), number.astype(np.float64))
    return {**dict.fromkeys(TITLES, np.repeat(rng.normal(size=count), number)), **of_jet}


@pytest.mark.parametrize("name", ["eta", "mass"])
def test_halves_are_as_far_apart_as_other_jets(name):
    found = [_distances(jets(1000, s), jets(500, s + 50), jets(500, s + 99), name)
             for s in range(10)]  # fmt: skip
    halves, generated = (
        np.mean([one[key] for one in found]) for key in ("w1_halves", "w1_generated")
    )
    # Two halves of 1,000 jets are 500 against 500, the others 1,000 against 500: root of 4 / 3.
    assert halves / generated == pytest.approx(np.sqrt(4 / 3), rel=0.25)
