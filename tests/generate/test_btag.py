from __future__ import annotations

import numpy as np
import pytest

from transferline.generate.btag import draw_discriminant, survival_at
from transferline.generate.card import load_card

CARD = load_card("cms").btag


@pytest.mark.parametrize("flavour", [0, 4, 5])
@pytest.mark.parametrize("pt", [25.0, 90.0, 400.0, 3000.0])
def test_cutting_at_a_working_point_gives_its_efficiency(flavour, pt):
    n = 40_000
    columns = np.full(n, flavour), np.full(n, pt), np.zeros(n)
    score = draw_discriminant(CARD, *columns, np.random.default_rng(1))
    expected = survival_at(CARD, *(column[:1] for column in columns))[0]
    assert ((score > 0.0) & (score < 1.0)).all()
    for cut, efficiency in zip(CARD.scores, expected, strict=True):
        error = np.sqrt(efficiency * (1.0 - efficiency) / n)
        assert (score > cut).mean() == pytest.approx(efficiency, abs=4.5 * error)


def test_forward_jets_are_not_tagged():
    n = 5000
    score = draw_discriminant(
        CARD, np.full(n, 5), np.full(n, 60.0), np.full(n, 3.0), np.random.default_rng(2)
    )
    assert (score > 0.2489).mean() < 0.02
