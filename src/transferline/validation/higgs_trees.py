"""Trees trained on our events and judged on the benchmark's: is it the same problem?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.evaluation.roc import roc_curve
from transferline.learning.baselines import Trees
from transferline.reporting.table import Table
from transferline.validation.cascade_masses import MASSES
from transferline.validation.check import Check, Explanation
from transferline.validation.finding import Finding
from transferline.validation.higgs_comparison import HiggsEvidence
from transferline.validation.higgs_file import KINDS, Kind
from transferline.validation.higgs_widths import IMPURE
from transferline.validation.statistics import Floats, bootstrap

_LEAVES, _ROUNDS = 8, 60
_TOLERANCE = 0.03
_OURS, _THEIRS, _LOOSE = "our events", "the benchmark's events", "our events with loose b-tags"


class _Set:
    """Masses `[n, 7]` and class of events, both classes equal, halved for training and test."""

    def __init__(self, columns: Mapping[Kind, Mapping[str, Floats]], seed: int) -> None:
        rng = np.random.default_rng(seed)
        tables = [np.stack([columns[kind][m] for m in MASSES], axis=1) for kind in KINDS]
        n = min(map(len, tables)) // 2 * 2
        rows = [rng.permutation(len(table))[:n] for table in tables]
        self.x = np.stack([t[r] for t, r in zip(tables, rows, strict=True)], axis=1)
        self.y = np.tile([1, 0], (n, 1))

    @property
    def half(self) -> int:
        """Events of either class for training."""
        return len(self.x) // 2

    def train(self, n: int) -> tuple[Floats, Floats]:
        """Return the first `n` events of either class."""
        return self.x[:n].reshape(-1, len(MASSES)), self.y[:n].ravel()

    def test(self) -> tuple[Floats, Floats]:
        """Return the second half."""
        return self.x[self.half :].reshape(-1, len(MASSES)), self.y[self.half :].ravel()


def _auc(train: _Set, test: _Set, n: int) -> Measurement:
    """Return the area under the ROC curve, with the error of the test events."""
    trees = Trees().build(_LEAVES, _ROUNDS, seed=0)
    trees.fit(*train.train(n))
    x, y = test.test()
    pairs = np.stack([trees.decision_function(x), y], axis=1)

    def area(values: Floats, weight: Floats) -> float:
        return roc_curve(values[:, 0], values[:, 1], weight).auc()

    return bootstrap(area, pairs, np.ones(len(pairs)))


def find(evidence: HiggsEvidence) -> Finding:
    """Train on either side with equally many events, and judge on either side."""
    sources = {
        _OURS: evidence.columns,
        _LOOSE: evidence.loose_columns,
        _THEIRS: {kind: evidence.file.columns(kind) for kind in KINDS},
    }
    sets = {name: _Set(columns, evidence.seed) for name, columns in sources.items()}
    n = min(one.half for one in sets.values())
    auc = {(a, b): _auc(sets[a], sets[b], n) for a in sets for b in sets}
    checks = [
        Check(
            f"AUC on {b} after training on {a}", auc[a, b], auc[b, b], _TOLERANCE, f"trained on {b}"
        )
        for a, b in ((_OURS, _THEIRS), (_THEIRS, _OURS), (_LOOSE, _THEIRS), (_THEIRS, _LOOSE))
    ]
    own = Check(
        f"AUC on {_OURS} after training on them",
        auc[_OURS, _OURS],
        auc[_THEIRS, _THEIRS],
        _TOLERANCE,
        _THEIRS,
        Explanation(IMPURE, auc[_LOOSE, _LOOSE]),
    )
    rows = tuple((a, *(str(auc[a, b]) for b in sets)) for a in sets)
    return Finding(
        "separation",
        "How well the masses separate",
        f"Boosted trees ({_ROUNDS} of {_LEAVES} leaves) on the seven masses, trained on "
        f"{2 * n:,} events, both classes together. If ours were another problem, trees would "
        "lose when they change sides; where ours is easier, the cause is shown.",
        (*checks, own),
        (Table("AUC", ("Trained on", *(f"judged on {b}" for b in sets)), rows),),
    )
